import { recalls } from '../core/feed/page.ts';
import { pageMember } from '../core/feed/page-name.ts';
import { nextPlanMs, planFeed } from '../core/feed/plan.ts';
import { plannedLists, plannedWatch, type PlannedWatch } from '../core/feed/plan-input.ts';
import type { FeedRecord, StoredPlan } from '../core/feed/record.ts';
import type { Watch } from '../core/watch/watch.ts';
import type { ListFeedDependencies } from './list-feed.ts';

/** A page that was read this long ago says nothing any more, ms. */
const MARK_KEPT_MS = 600_000;

/** Pages take at most this share of a core, by what a byte and a run cost to take in, ms. */
const CORE_SHARE = 0.5;
const MS_PER_BYTE = 5e-6;
const MS_PER_PAGE = 3;

/**
 * Makes the plan of a source: which pages of which lists are read, and which runs singly. Enters its
 * pages into the schedule, and recalls the single polls of runs that no page covers.
 * @returns the plan, and when to make the next one, in ms; null for never, where fewer than two runs are watched
 */
export async function makePlan(
  deps: ListFeedDependencies,
): Promise<{ plan: StoredPlan; nextMs: number | null }> {
  const { source, store, schedule, now, random, minIntervalMs } = deps;
  const at = now();
  const watches = await plannedWatches(deps);
  const record = await store.read(source, at - MARK_KEPT_MS);
  // A list that is not trusted is not read.
  const lists = plannedLists(watches, (workflowId) => {
    const { trust = null, marks = [], size = null } = record.lists.get(workflowId) ?? {};
    if (trust !== null && trust.since > at) return null;
    const isInUse = record.plan?.lists.some((one) => one.workflowId === workflowId) ?? false;
    return size === null ? { marks, isInUse } : { marks, size, isInUse };
  });
  const { singles, ...planned } = planFeed(watches, lists, {
    requestsPerMs: deps.requestsPerMs,
    minIntervalMs,
    maxIntervalMs: deps.maxIntervalMs,
    pagesPerMs: pagesPerMs(record),
  });
  const plan = { ...planned, at, watches: watches.length };
  await store.putPlan(source, plan, record.oldMarks);
  await schedule.enterFeed('list', pagesOf(plan));
  const { costMultiplier } = plan;
  await schedule.defer(recalls({ singles, costMultiplier }, { minIntervalMs, now: now(), random }));
  return { plan, nextMs: watches.length < 2 ? null : nextPlanMs(watches) };
}

/** The pages of a plan by their names in the schedule, with their intervals. */
export function pagesOf({ lists }: StoredPlan): { member: string; withinMs: number }[] {
  return lists.flatMap(({ workflowId, pages }) =>
    pages.map(({ page, intervalMs }) => ({
      member: pageMember({ workflowId, page }),
      withinMs: intervalMs,
    })),
  );
}

/** The watches that are not left to event streams. */
async function plannedWatches(deps: ListFeedDependencies): Promise<PlannedWatch[]> {
  const { source, store, streams, memberOf, minIntervalMs } = deps;
  const found: PlannedWatch[] = [];
  const unstreamed: Watch[] = [];
  const survey = await streams.surveyed();
  for await (const chunk of store.active(source)) {
    const runIds = chunk.map(({ watch }) => watch.runId);
    const hints = await store.hints(source, runIds);
    for (const [at, { watch }] of chunk.entries()) {
      if (!survey.isStreamed(watch.runId)) unstreamed.push(watch);
      if (survey.isRelied(watch.runId)) continue;
      const seen = { member: memberOf(watch), hint: hints[at] ?? null };
      const longestMs = deps.longestMs(watch);
      found.push(plannedWatch(watch, seen, { minIntervalMs, longestMs, now: deps.now() }));
    }
  }
  streams.offerAll(unstreamed);
  return found;
}

/** How many pages a process can take in, each ms, by the bytes of those that it read. */
function pagesPerMs({ lists }: FeedRecord): number {
  const marks = [...lists.values()].flatMap((list) => list.marks);
  if (marks.length === 0) return Infinity;
  const bytes = marks.reduce((sum, mark) => sum + mark.bytes, 0) / marks.length;
  return CORE_SHARE / (MS_PER_PAGE + bytes * MS_PER_BYTE);
}
