import type { Redis } from 'ioredis';
import {
  activeCount,
  binOf,
  endedRun,
  NO_FIGURES,
  sumOf,
  type RunFigures,
} from '../../core/watch/run-figures.ts';
import type { WatchChange } from '../watch-change.ts';
import { parseWorkflowName, workflowName, type WorkflowKey } from '../../core/cadence/phase.ts';
import type { Keys, PlanKeys } from '../keys.ts';
import { replies } from '../connection.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Spans of time that have figures of their own, and for how long those are kept; the finest first. */
const SPANS = [
  { name: 'minutes', ms: 5 * MINUTE_MS, keptMs: 3 * HOUR_MS },
  { name: 'hours', ms: HOUR_MS, keptMs: 49 * HOUR_MS },
  { name: 'days', ms: DAY_MS, keptMs: 31 * DAY_MS },
] as const;

/** Workflows that one span of time has figures of. */
const MOST_WORKFLOWS = 1_000;

/** The most pairs of workflow and status with active watches that are read. */
const MOST_ACTIVE = 5_000;

/** Fields read by one command. */
const CHUNK = 500;

/** The runs of a workflow in a span of time. */
export interface WorkflowFigures extends WorkflowKey {
  figures: RunFigures;
  /** Active watches by the status of their runs. */
  active: Record<string, number>;
}

/**
 * `countRuns(plan)` counts an active watch at its workflow and status, or no more, and adds an ended run
 * to the figures of its workflow. Figures are JSON, in one hash for each span of time; spans expire, and
 * each has a bounded number of workflows.
 */
export const COUNT_RUNS = `
local function addRun(ended, figures)
  for kind, key in pairs(ended.adds) do
    figures[kind] = figures[kind] or {}
    figures[kind][key] = (figures[kind][key] or 0) + 1
  end
  if ended.requests then
    figures.requests = (figures.requests or 0) + ended.requests
    figures.polled = (figures.polled or 0) + 1
  end
  return cjson.encode(figures)
end

local function countRuns(plan)
  for _, one in ipairs(plan.counts) do
    if redis.call('HINCRBY', plan.activeRuns, one.field, one.by) <= 0 then
      redis.call('HDEL', plan.activeRuns, one.field)
    end
  end
  local ended = plan.ended
  for _, span in ipairs(ended and ended.spans or {}) do
    local text = redis.call('HGET', span.key, ended.name)
    if text or redis.call('HLEN', span.key) < ended.mostWorkflows then
      redis.call('HSET', span.key, ended.name, addRun(ended, text and cjson.decode(text) or {}))
      redis.call('EXPIRE', span.key, span.keptS)
    end
  end
end
`;

/** What a change counts by {@link COUNT_RUNS}; null where that is nothing. */
export function figuresPlan({ keys, declare }: PlanKeys, change: WatchChange) {
  const { before, after } = change;
  const counts = countsOf(change);
  const run = endedRun(change);
  if (counts.length === 0 && run === null) return null;
  const workflowId = after.run?.workflow_id ?? '';
  const endedAt = after.endedAt ?? before?.watch.registeredAt ?? 0;
  return {
    activeRuns: declare(keys.activeRuns),
    counts,
    ...(run !== null && {
      ended: {
        name: workflowName({ source: after.source, workflowId }),
        mostWorkflows: MOST_WORKFLOWS,
        adds: {
          ended: run.status,
          ...(run.durationMs !== null && { durations: String(binOf(run.durationMs)) }),
          ...(run.delayMs !== null && { delays: String(binOf(run.delayMs)) }),
        },
        ...(run.requests !== null && { requests: run.requests }),
        spans: SPANS.map(({ name, ms, keptMs }) => ({
          key: declare(keys.runFigures(name, Math.floor(endedAt / ms))),
          keptS: keptMs / 1_000,
        })),
      },
    }),
  };
}

function countsOf({ before, after }: WatchChange): { field: string; by: number }[] {
  const [was, is] = [activeCount(before?.watch), activeCount(after)].map((count) =>
    count === null
      ? null
      : `${workflowName({ source: after.source, workflowId: count.workflowId })} ${count.status}`,
  );
  if (was === is) return [];
  return [...(was ? [{ field: was, by: -1 }] : []), ...(is ? [{ field: is, by: 1 }] : [])];
}

/** Figures of the runs of workflows in Redis. Errors of the connection pass through. */
export class RunFiguresStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /**
   * The workflows of which runs are active, or have ended since a time.
   * @returns also since when: figures are of whole spans of time
   */
  async since(
    since: number,
    now: number,
  ): Promise<{ since: number; workflows: WorkflowFigures[] }> {
    const span = SPANS.find(({ ms, keptMs }) => since >= now - keptMs + ms) ?? SPANS[2];
    const first = Math.floor(Math.max(since, now - span.keptMs) / span.ms);
    const last = Math.floor(now / span.ms);
    const [ended, active] = await Promise.all([
      this.endedIn(span.name, { first, last }),
      this.activeRuns(),
    ]);
    const names = new Set([...ended.keys(), ...active.keys()]);
    const workflows = [...names].map((name) => {
      const { source, workflowId } = parseWorkflowName(name);
      const figures = sumOf(ended.get(name) ?? []);
      return { source, workflowId, figures, active: active.get(name) ?? {} };
    });
    return { since: first * span.ms, workflows };
  }

  private async endedIn(
    name: string,
    { first, last }: { first: number; last: number },
  ): Promise<Map<string, RunFigures[]>> {
    const pipeline = this.redis.pipeline();
    for (let at = first; at <= last; at += 1) pipeline.hgetall(this.keys.runFigures(name, at));
    const found = new Map<string, RunFigures[]>();
    for (const hash of await replies<Record<string, string>>(pipeline)) {
      for (const [workflow, text] of Object.entries(hash)) {
        const figures = { ...NO_FIGURES, ...(JSON.parse(text) as Partial<RunFigures>) };
        found.set(workflow, [...(found.get(workflow) ?? []), figures]);
      }
    }
    return found;
  }

  private async activeRuns(): Promise<Map<string, Record<string, number>>> {
    const found = new Map<string, Record<string, number>>();
    let [cursor, read] = ['0', 0];
    do {
      const [next, flat] = await this.redis.hscan(this.keys.activeRuns, cursor, 'COUNT', CHUNK);
      for (let at = 0; at < flat.length; at += 2) {
        const [, workflow = '', status = ''] = /^(.*) (\S+)$/.exec(flat[at] ?? '') ?? [];
        found.set(workflow, { ...found.get(workflow), [status]: Number(flat[at + 1]) });
      }
      [cursor, read] = [next, read + flat.length / 2];
    } while (cursor !== '0' && read < MOST_ACTIVE);
    return found;
  }
}
