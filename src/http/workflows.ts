import { setImmediate } from 'node:timers/promises';
import type { z } from 'zod';
import { sum } from '../core/arrays.ts';
import type { PollingDefaults } from '../core/cadence/cadence.ts';
import type { WorkflowStatistics } from '../core/cadence/hazard.ts';
import type { WorkflowKey } from '../core/cadence/phase.ts';
import {
  workflowPolling,
  type PollingPerRun,
  type WorkflowPolling,
} from '../core/cadence/workflow-polling.ts';
import { isoTime } from '../core/event/event.ts';
import type { Page } from '../core/page.ts';
import type { Complete } from '../core/records.ts';
import { momentOf } from '../core/time.ts';
import { failureRate, quantile } from '../core/watch/run-figures.ts';
import type { Profile } from '../core/watch/watch.ts';
import type { Daemon } from '../daemon.ts';
import type { WorkflowFigures } from '../redis/stores/run-figures-store.ts';
import { sourcesMeant } from './auth.ts';
import type { Acting } from './audit.ts';
import { acknowledgeFailures, withdrawFailures } from './failures.ts';
import { invalid, refusal } from './problem.ts';
import type { Requests, Slice } from './routing.ts';
import type { Routes } from './schemas/routes.ts';
import type { workflowPollingSchema } from './schemas/workflow.ts';
import { refuseUnknownSource } from './watches.ts';

/** How far back figures go where a request does not say. */
const USUAL_MS = 86_400_000;

/** How the runs of each workflow go. */
export class WorkflowService implements Slice<Routes['workflows']> {
  constructor(private readonly daemon: Daemon) {}

  async list({ query, token }: Requests<Routes['workflows']>['list']) {
    const { source, since = { agoMs: USUAL_MS }, ...rest } = query;
    rest satisfies Record<string, never>;
    const { sources } = sourcesMeant(token, source);
    const { now, stores } = this.daemon;
    const at = now();
    const found = await stores.runFigures.since(momentOf(since, at), at);
    const data = found.workflows
      .filter((one) => sources?.includes(one.source) ?? true)
      .map((one) => presentWorkflow(one, this.daemon.knownNames.nameOf(one)));
    if (data.length === 0) await refuseUnknownSource(this.daemon, source, token);
    return {
      since: isoTime(found.since),
      data: data.toSorted((one, other) => other.watched - one.watched),
    };
  }

  async acknowledge(request: Acting & Requests<Routes['workflows']>['acknowledge']) {
    const { source, workflow_id: workflowId } = request.params;
    return acknowledgeFailures(this.daemon, { source, workflowId }, request);
  }

  async withdraw(request: Acting & Requests<Routes['workflows']>['withdraw']) {
    const { source, workflow_id: workflowId } = request.params;
    await withdrawFailures(this.daemon, { source, workflowId }, request);
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
export class PollingService implements Slice<Routes['polling']> {
  constructor(private readonly daemon: Daemon) {}

  /** The latest to become known first. */
  async list({ query, token }: Requests<Routes['polling']>['list']) {
    const { workflow_id: workflowId, source, limit, cursor, ...rest } = query;
    rest satisfies Record<string, never>;
    const { sources } = sourcesMeant(token, source);
    if (workflowId === undefined && (sources?.length ?? 1) > 1) {
      throw invalid('query.source', 'name one of your sources');
    }
    const asked: Complete<PollingQuery> = { workflowId, sources, limit, cursor };
    const { items, nextCursor } = await this.find(asked);
    if (items.length === 0) await refuseUnknownSource(this.daemon, source, token);
    if (workflowId !== undefined && items.length === 0) {
      throw refusal('workflow_not_found', unknownWorkflow(workflowId, source));
    }
    // The profile of watches that name none.
    const { profile } = this.daemon.config.polling;
    return { data: items.map((one) => presentPolling(one, profile)), next_cursor: nextCursor };
  }

  async find(query: PollingQuery): Promise<Page<WorkflowPolling>> {
    const { config, stores } = this.daemon;
    const { profile, min_interval: minIntervalMs, max_interval: maxIntervalMs } = config.polling;
    const { items, nextCursor } = await this.keysOf(query);
    const found = await stores.statistics.read(items, { isUse: false });
    const known = found.flatMap((one) => (one === null || one === 'unchanged' ? [] : [one]));
    const defaults = { profile, minIntervalMs, maxIntervalMs };
    return { items: await describe(known, defaults), nextCursor };
  }

  /** A named workflow is read from each source. */
  private async keysOf(query: PollingQuery): Promise<Page<WorkflowKey>> {
    const { workflowId, sources, limit, cursor, ...rest } = query;
    rest satisfies Record<string, never>;
    const { config, stores } = this.daemon;
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

function presentWorkflow(
  { source, workflowId, figures, active }: WorkflowFigures,
  name: string | null,
) {
  const activeNow = total(active);
  const { ended, durations, delays, requests, polled } = figures;
  const [p50, p90] = [quantile(durations, 0.5), quantile(durations, 0.9)];
  const [delayP50, delayP95] = [quantile(delays, 0.5), quantile(delays, 0.95)];
  return {
    workflow_id: workflowId,
    source,
    name,
    watched: total(ended) + activeNow,
    active: activeNow,
    by_status: { ...ended, ...active },
    failure_rate: failureRate(ended),
    duration: p50 === null || p90 === null ? null : { p50_ms: p50, p90_ms: p90 },
    detection_delay:
      delayP50 === null || delayP95 === null ? null : { p50_ms: delayP50, p95_ms: delayP95 },
    requests_per_run: polled === 0 ? null : Math.round((requests / polled) * 100) / 100,
  };
}

function total(counts: Record<string, number>): number {
  return sum(Object.values(counts));
}

function unknownWorkflow(workflowId: string, source: string | undefined): string {
  const where = source === undefined ? '' : ` of source ${source}`;
  return `nothing is known of workflow ${workflowId}${where}: no run of it was watched to its end yet; GET /v1/watches?workflow_id= lists its watches, GET /v1/polling the workflows that are known`;
}

/** What is known of a workflow as the API shows it. */
function presentPolling(
  { source, workflowId, runs, states, duration, measured, expected }: WorkflowPolling,
  profile: Profile,
): z.output<typeof workflowPollingSchema> {
  return {
    source,
    workflow_id: workflowId,
    runs,
    states,
    duration: duration && {
      median_ms: milliseconds(duration.median),
      p90_ms: milliseconds(duration.p90),
    },
    measured: measured && presentPerRun(measured),
    expected: expected && { ...presentPerRun(expected), profile },
  };
}

function presentPerRun({ requests, delayS }: PollingPerRun) {
  return { requests: Math.round(requests * 100) / 100, delay_ms: milliseconds(delayS) };
}

function milliseconds(seconds: number): number {
  return Math.round(seconds * 1_000);
}
