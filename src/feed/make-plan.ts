import { setImmediate } from 'node:timers/promises';
import { recalledTo } from '../core/feed/page.ts';
import { pageMember, type PageName } from '../core/feed/page-name.ts';
import {
  backstopMs,
  firstReadsMs,
  pageInterval,
  planFeed,
  spendingAfter,
  unseenIntervalMs,
  type FeedPlan,
  type PlannedList,
  type PlannedWatch,
} from '../core/feed/plan.ts';
import type { FeedRecord, ListRecord, StoredMark, StoredPlan } from '../core/feed/record.ts';
import { MAX_PAGE_SIZE } from '../core/feed/run-list.ts';
import type { ListHint } from '../core/feed/list-trust.ts';
import type { StoredWatch, Watch } from '../core/watch/watch.ts';
import type { ListFeedDependencies } from './list-feed.ts';

type PlanDependencies = Omit<ListFeedDependencies, 'onBacklog' | 'vanished'>;

/** From one plan to the next, ms; longer where it takes long, or nothing is about to change. */
const EVERY_MS = { least: 1_000, most: 60_000 };

/** For each watch, so that planning takes a few hundredths of a process's time, ms. */
const EVERY_MS_PER_WATCH = 0.5;

/** The least time between two plans, ms. */
export function leastMsBetweenPlans(watches: number): number {
  return EVERY_MS_PER_WATCH * watches;
}

/** A page that was read this long ago says nothing any more, ms. */
const MARK_KEPT_MS = 600_000;

/** Pages take at most this share of a core, by what a byte and a run cost to take in, ms. */
const CORE_SHARE = 0.5;
const MS_PER_BYTE = 5e-6;
const MS_PER_PAGE = 3;

/**
 * Makes the plan of a source: which pages of which lists are read, and which runs singly. Enters its
 * pages into the schedule, and recalls the single polls of runs that no page covers.
 * @returns the plan, and when to make the next one, in ms; null where fewer than two runs are watched
 */
export async function makePlan(
  deps: PlanDependencies,
): Promise<{ plan: StoredPlan; nextMs: number } | null> {
  const { source, store, schedule, now } = deps;
  const startedAt = now();
  const watched = await watchedRuns(deps);
  const watches = [...watched.keys()];
  if (watches.length < 2) {
    await recall(deps, watched, { covered: new Set(), costMultiplier: 1 });
    await dropPlan(deps);
    return null;
  }
  const record = await store.read(source);
  const before = record.plan ?? { spending: 1, costMultiplier: 1 };
  const spending = spendingAfter(before, await deps.usedShare());
  const { covered, ...planned } = planFeed(watches, listsOf(watches, record, startedAt), {
    requestsPerMs: deps.requestsPerMs,
    minIntervalMs: deps.minIntervalMs,
    maxIntervalMs: deps.maxIntervalMs,
    pagesPerMs: pagesPerMs(record),
    spending,
  });
  const plan = {
    ...planned,
    spending,
    at: startedAt,
    watches: watches.length,
    firstReadsMs: firstReadsMs(watches, deps.requestsPerMs),
    backstopMs: backstopMs(watches.length, deps.requestsPerMs),
  };
  await store.putPlan(source, plan, forgotten(record, startedAt));
  const pages = plan.lists.flatMap(({ workflowId, pages: some }) =>
    some.map(({ page, intervalMs }) => ({
      member: pageMember({ workflowId, page }),
      withinMs: intervalMs,
    })),
  );
  await schedule.enterFeed('list', pages);
  await recall(deps, watched, { covered, costMultiplier: plan.costMultiplier });
  const soonest = Math.min(...watches.map(({ intervalMs }) => intervalMs));
  const usual = Math.min(Math.max(soonest, EVERY_MS.least), EVERY_MS.most);
  return { plan, nextMs: Math.max(usual, leastMsBetweenPlans(watches.length)) };
}

/** What a plan sees of watches, and their next polls. */
type Watched = Map<PlannedWatch, Pick<Watch, 'runId' | 'nextPollAt'>>;

async function watchedRuns(deps: PlanDependencies): Promise<Watched> {
  const found: Watched = new Map();
  const streams = await deps.streams.surveyed();
  const unstreamed: Watch[] = [];
  for await (const all of deps.store.active(deps.source)) {
    const chunk = all.filter(({ watch }) => !streams.isRelied(watch.runId));
    for (const { watch } of all) if (!streams.isStreamed(watch.runId)) unstreamed.push(watch);
    const unseen = chunk.filter(({ watch }) => watch.run === null);
    const hints = await deps.store.hints(
      deps.source,
      unseen.map(({ watch }) => watch.runId),
    );
    const hintOf = new Map(unseen.map((stored, at) => [stored, hints[at] ?? null]));
    for (const stored of chunk) {
      const hint = hintOf.get(stored);
      const { runId, nextPollAt } = stored.watch;
      found.set(hint === undefined ? plannedWatch(deps, stored) : unseenWatch(deps, stored, hint), {
        runId,
        nextPollAt,
      });
    }
    // Polls must not wait for a plan.
    await setImmediate();
  }
  deps.streams.offerAll(unstreamed);
  return found;
}

function plannedWatch(deps: PlanDependencies, stored: StoredWatch): PlannedWatch {
  const { watch } = stored;
  const member = deps.memberOf(stored);
  return {
    workflowId: watch.run?.workflow_id ?? null,
    createdAt: member?.createdAt ?? NaN,
    intervalMs: member?.intervalMs ?? Math.max(deps.minIntervalMs, watch.cadence.intervalMs),
    longestMs: deps.longestMs(watch),
    ageMs: Math.max(1, deps.now() - (member?.createdAt || watch.registeredAt)),
    isListed: member !== null && !Number.isNaN(member.createdAt),
    isUnseen: false,
  };
}

/** A watch before its first read: as a list has it, or else at the head of the source's. */
function unseenWatch(
  { now, minIntervalMs, longestMs }: PlanDependencies,
  { watch }: StoredWatch,
  hint: ListHint | null,
): PlannedWatch {
  const { registeredAt } = watch;
  const ageMs = Math.max(1, now() - Math.min(hint?.createdAt ?? registeredAt, registeredAt));
  return {
    workflowId: hint?.workflowId ?? null,
    createdAt: hint?.createdAt ?? NaN,
    intervalMs: Math.max(minIntervalMs, unseenIntervalMs(ageMs)),
    longestMs: longestMs(watch),
    ageMs,
    isListed: true,
    isUnseen: true,
  };
}

/** The lists that several watched runs are on, but for those that are not trusted. */
function listsOf(watches: readonly PlannedWatch[], record: FeedRecord, now: number): PlannedList[] {
  const counts = new Map<string | null, number>([[null, watches.length]]);
  for (const { workflowId, isListed } of watches) {
    if (workflowId !== null && isListed) counts.set(workflowId, (counts.get(workflowId) ?? 0) + 1);
  }
  return [...counts].flatMap(([workflowId, count]) => {
    const known = record.lists.get(workflowId);
    if (count < 2 || (known?.trust?.since ?? 0) > now) return [];
    return {
      workflowId,
      marks: known?.marks.filter((mark) => isCurrent(mark, now)) ?? [],
      size: known?.size ?? MAX_PAGE_SIZE,
      isInUse: record.plan?.lists.some((list) => list.workflowId === workflowId) ?? false,
    };
  });
}

const isCurrent = ({ at }: StoredMark, now: number) => at > now - MARK_KEPT_MS;

function forgotten(record: FeedRecord, now: number): PageName[] {
  return [...record.lists].flatMap(([workflowId, { marks }]) =>
    marks.filter((mark) => !isCurrent(mark, now)).map(({ page }) => ({ workflowId, page })),
  );
}

/** How many pages a process can take in, each ms, by the bytes of those that it read. */
function pagesPerMs({ lists }: FeedRecord): number {
  const marks = [...lists.values()].flatMap((list: ListRecord) => list.marks);
  if (marks.length === 0) return Infinity;
  const bytes = marks.reduce((sum, mark) => sum + mark.bytes, 0) / marks.length;
  return CORE_SHARE / (MS_PER_PAGE + bytes * MS_PER_BYTE);
}

/** Without watches no page is read: those of the last plan leave the schedule when they are claimed. */
async function dropPlan({ source, store, schedule }: PlanDependencies): Promise<void> {
  const plan = await store.plan(source);
  if (plan === null || plan.lists.length === 0) return;
  await store.putPlan(source, { ...plan, lists: [] }, []);
  const pages = plan.lists.flatMap(({ workflowId, pages: some }) =>
    some.map(({ page }) => pageMember({ workflowId, page })),
  );
  await schedule.expedite(pages);
}

/** A cadence's jitter is no reason to recall a poll. */
const RECALL_SLACK = 1.2;

async function recall(
  { schedule, minIntervalMs, now, random }: PlanDependencies,
  watched: Watched,
  { covered, costMultiplier }: Pick<FeedPlan, 'covered' | 'costMultiplier'>,
): Promise<void> {
  const moves = [...watched].flatMap(([watch, { runId, nextPollAt: from }]) => {
    if (from === null || covered.has(watch)) return [];
    const intervalMs = RECALL_SLACK * pageInterval([watch], costMultiplier, minIntervalMs);
    const to = recalledTo({ nextPollAt: from }, { intervalMs, now: now(), random });
    return to === null ? [] : [{ runId, from, to }];
  });
  await schedule.defer(moves);
}
