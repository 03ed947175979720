import type { Random } from './backoff.ts';
import type { RunPage } from './run-list.ts';
import type { Watch } from './watch.ts';

/** Most pages that one look at a list reads. */
export const MAX_LIST_PAGES = 10;

/**
 * How long a list may stand in for reads of a run before one confirms it, ms. Bounds what a list can
 * cost that lies without being found out.
 */
export const BACKSTOP_MS = 120_000;

/** By how much of it the backstops of runs differ, so that they do not all come at once. */
const BACKSTOP_SPREAD = 0.25;

/** A run whose watch may be polled by reading a list that it is on. */
export interface BatchMember {
  /** When the run was created, milliseconds since the epoch: what lists are sorted by. NaN: not known. */
  createdAt: number;
  /** The interval at which the run would be polled alone just now, ms. */
  intervalMs: number;
}

/** How runs are polled that are on one list. */
export interface BatchPlan {
  /** True where reading the list takes fewer requests than polling each run alone. */
  pays: boolean;
  /** From one look at the list to the next, ms. */
  intervalMs: number;
}

interface ListCost {
  /** Requests that a look at the list takes. */
  pages: number;
  minIntervalMs: number;
}

/**
 * The best interval for looks at a list, and whether it pays. A run alone is best polled at the rate
 * r = √(h/2c), h being its hazard and c the delay that a request is worth. A look at the list is a
 * look at all its runs, whose hazards add up, at the price of its pages: √(Σh/2cp) = √(Σr²/p). So
 * the rates of single polls are all that need be known; k equal runs on one page are looked at √k
 * times as often as each alone, with √k times fewer requests in all.
 */
export function planBatch(
  members: readonly BatchMember[],
  { pages, minIntervalMs }: ListCost,
): BatchPlan {
  const rates = members.map(({ intervalMs }) => 1 / intervalMs);
  const sharedMs = Math.sqrt(pages / sum(rates.map((rate) => rate ** 2)));
  const shortestMs = 1 / Math.max(...rates);
  const intervalMs = Math.max(minIntervalMs, Math.min(sharedMs, shortestMs));
  const alone = sum(rates);
  const together = pages / intervalMs + sum(members.map((one) => 1 / backstop(one)));
  return { pays: members.length > 1 && together < alone, intervalMs };
}

/** For how long after a read the list may stand in for the next one, ms. */
function backstop({ intervalMs }: Pick<BatchMember, 'intervalMs'>): number {
  return Math.max(intervalMs, BACKSTOP_MS);
}

/**
 * Whether the page after this one is worth a request with every look: by the runs that, going by how
 * closely they follow one another here, should be on it.
 * @param missing members that were on no page so far
 */
export function isNextPageWorthIt(
  { runs, isLast, isCut }: RunPage,
  missing: readonly BatchMember[],
  plan: BatchPlan,
): boolean {
  const [newest, oldest] = [runs.at(0), runs.at(-1)];
  if (isLast || isCut || newest === undefined || oldest === undefined) return false;
  if (oldest.created_at === null || newest.created_at === null) return false;
  const end = Date.parse(oldest.created_at);
  const span = Date.parse(newest.created_at) - end;
  const expected = missing.filter(({ createdAt }) => createdAt <= end && createdAt >= end - span);
  return sum(expected.map(({ intervalMs }) => 1 / intervalMs)) > 1 / plan.intervalMs;
}

/**
 * Until when a single poll is put off because a list stands in for it: to the backstop, yet never
 * beyond the time by which it must be looked at. What delay a watch accepts is kept by the list.
 * @param latestAt by when somebody must be told of something, milliseconds since the epoch
 * @returns milliseconds since the epoch; null where the poll is put off already, or comes later anyway
 */
export function putOffAt(
  { lastPolledAt, nextPollAt, timeoutAt }: Watch,
  { intervalMs, latestAt, random }: { intervalMs: number; latestAt: number; random: Random },
): number | null {
  const base = lastPolledAt ?? 0;
  const most = backstop({ intervalMs });
  const isPutOff = (nextPollAt ?? 0) >= base + most * (1 - BACKSTOP_SPREAD);
  const at = base + most * (1 - BACKSTOP_SPREAD * random());
  const bounded = Math.round(Math.min(at, timeoutAt, latestAt));
  return isPutOff || bounded <= (nextPollAt ?? 0) ? null : bounded;
}

/**
 * When a single poll is due that was put off and that no list stands in for any more: some time
 * within the watch's own interval, so that they do not all come at once.
 * @returns milliseconds since the epoch; null where it comes as early anyway
 */
export function recallAt(
  { nextPollAt }: Watch,
  { intervalMs, now, random }: { intervalMs: number; now: number; random: Random },
): number | null {
  if ((nextPollAt ?? 0) <= now + intervalMs) return null;
  return Math.round(now + intervalMs * random());
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
