import { setImmediate } from 'node:timers/promises';
import type { PollingDefaults } from '../core/cadence/cadence.ts';
import type { WorkflowStatistics } from '../core/cadence/hazard.ts';
import type { WorkflowKey } from '../core/cadence/phase.ts';
import { workflowPolling, type WorkflowPolling } from '../core/cadence/workflow-polling.ts';
import type { Page } from '../core/page.ts';
import { momentOf, type When } from '../core/time.ts';
import type { RunFigures } from '../core/watch/run-figures.ts';
import type { Profile } from '../core/watch/watch.ts';
import type { Process } from '../process.ts';

/** A workflow as users may see it. */
export interface WorkflowView {
  source: string;
  workflowId: string;
  name: string | null;
  figures: RunFigures;
  /** Active watches by the status of their runs. */
  active: Record<string, number>;
}

/** How far back figures go where a request does not say. */
const USUAL_MS = 86_400_000;

export interface WorkflowQuery {
  /** From when on; absent for the last day. */
  since?: When | undefined;
  /** Of these sources; absent, all. */
  sources?: readonly string[] | undefined;
}

/** How the runs of each workflow go. */
export class WorkflowService {
  constructor(private readonly process: Process) {}

  /** Workflows of which runs are active, or have ended since a time; that of the answer is earlier. */
  async list({
    since = { agoMs: USUAL_MS },
    sources,
    ...rest
  }: WorkflowQuery): Promise<{ since: number; workflows: WorkflowView[] }> {
    rest satisfies Record<string, never>;
    const now = this.process.now();
    const from = momentOf(since, now);
    const found = await this.process.stores.runFigures.since(from, now);
    const workflows = found.workflows
      .filter(({ source }) => sources?.includes(source) ?? true)
      .map((one) => Object.assign(one, { name: this.nameOf(one) }));
    return { since: found.since, workflows };
  }

  private nameOf({ source, workflowId }: WorkflowKey): string | null {
    const run = { id: '', workflow_id: workflowId, group_id: null };
    return this.process.linksOf({ source, runId: '', run }).workflowName;
  }
}

export interface PollingQuery {
  workflowId?: string | undefined;
  /** One, unless a workflow is named; absent, all. */
  sources?: readonly string[] | undefined;
  limit: number;
  cursor?: string | undefined;
}

/** The duration statistics of workflows, from the store that all processes write. */
export class PollingService {
  constructor(private readonly process: Process) {}

  /** The profile that expectations are for: that of watches which name none. */
  get profile(): Profile {
    return this.process.config.polling.profile;
  }

  /** The latest to become known first. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  async list(query: PollingQuery): Promise<Page<WorkflowPolling>> {
    const { config, stores } = this.process;
    const { profile, min_interval: minIntervalMs, max_interval: maxIntervalMs } = config.polling;
    const { items, nextCursor } = await this.find(query);
    const found = await stores.statistics.read(items, { isUse: false });
    const known = found.flatMap((one) => (one === null || one === 'unchanged' ? [] : [one]));
    const defaults = { profile, minIntervalMs, maxIntervalMs };
    return { items: await describe(known, defaults), nextCursor };
  }

  /** A named workflow is read from each source. */
  private async find(query: PollingQuery): Promise<Page<WorkflowKey>> {
    const { workflowId, sources, limit, cursor, ...rest } = query;
    rest satisfies Record<string, never>;
    const { config, stores } = this.process;
    if (workflowId === undefined) {
      const [source] = sources ?? [];
      return stores.statistics.list({ source }, { limit, cursor });
    }
    const asked = sources ?? Object.keys(config.sources);
    return { items: asked.map((source) => ({ source, workflowId })), nextCursor: null };
  }
}

/** Each takes some milliseconds: polls must not wait for a whole page. */
async function describe(
  workflows: readonly WorkflowStatistics[],
  defaults: PollingDefaults,
): Promise<WorkflowPolling[]> {
  const described: WorkflowPolling[] = [];
  for (const workflow of workflows) {
    described.push(workflowPolling(workflow, defaults));
    await setImmediate();
  }
  return described;
}
