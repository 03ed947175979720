import { setImmediate } from 'node:timers/promises';
import type { Config } from '../../config/schema.ts';
import type { PollingDefaults } from '../../core/cadence/cadence.ts';
import type { WorkflowKey } from '../../core/cadence/phase.ts';
import type { WorkflowStatistics } from '../../core/cadence/hazard.ts';
import { workflowPolling, type WorkflowPolling } from '../../core/cadence/workflow-polling.ts';
import type { Page } from '../../core/page.ts';
import type { LinksOf } from '../../core/run/links.ts';
import { momentOf } from '../../core/time.ts';
import type { PollingQuery, PollingService, WorkflowService } from '../../http/routes/workflows.ts';
import type { RunFiguresStore } from '../../redis/stores/run-figures-store.ts';
import type { StatisticsStore } from '../../redis/stores/statistics-store.ts';

interface PollingServiceDependencies {
  config: Pick<Config, 'sources' | 'polling'>;
  statistics: StatisticsStore;
}

/** The duration statistics of workflows, from the store that all processes write. */
export function createPollingService(deps: PollingServiceDependencies): PollingService {
  const { profile, min_interval: minIntervalMs, max_interval: maxIntervalMs } = deps.config.polling;
  const defaults = { profile, minIntervalMs, maxIntervalMs };
  return {
    profile,
    async list(query) {
      const { items, nextCursor } = await findWorkflows(deps, query);
      const found = await deps.statistics.read(items, { isUse: false });
      const known = found.flatMap((one) => (one === null || one === 'unchanged' ? [] : [one]));
      return { items: await describe(known, defaults), nextCursor };
    },
  };
}

/** A named workflow is read from each source. */
async function findWorkflows(
  { config, statistics }: PollingServiceDependencies,
  { workflowId, sources, limit, cursor }: PollingQuery,
): Promise<Page<WorkflowKey>> {
  if (workflowId === undefined) {
    const [source] = sources ?? [];
    return statistics.list({ source }, { limit, cursor });
  }
  const asked = sources ?? Object.keys(config.sources);
  return { items: asked.map((source) => ({ source, workflowId })), nextCursor: null };
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

/** How far back figures go where a request does not say. */
const USUAL_MS = 86_400_000;

interface WorkflowServiceDependencies {
  runFigures: Pick<RunFiguresStore, 'since'>;
  linksOf: LinksOf;
  now: () => number;
}

export function createWorkflowService(deps: WorkflowServiceDependencies): WorkflowService {
  const nameOf = (source: string, workflowId: string) =>
    deps.linksOf({ source, runId: '', run: { id: '', workflow_id: workflowId, group_id: null } })
      .workflowName;

  return {
    async list({ since = { agoMs: USUAL_MS }, sources }) {
      const now = deps.now();
      const from = momentOf(since, now);
      const found = await deps.runFigures.since(from, now);
      const workflows = found.workflows
        .filter(({ source }) => sources?.includes(source) ?? true)
        .map((one) => Object.assign(one, { name: nameOf(one.source, one.workflowId) }));
      return { since: found.since, workflows };
    },
  };
}
