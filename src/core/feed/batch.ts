import type { Random } from '../backoff.ts';
import type { RunPage } from './run-list.ts';
import type { Watch } from '../watch/watch.ts';

/** Most pages that one sweep of a list reads. */
export const MAX_LIST_PAGES = 10;

/**
 * How long a list feed may replace single polls of a run before a single poll confirms it, ms. It
 * bounds the delay that an undetected false list can cause.
 */
export const BACKSTOP_MS = 120_000;

/** Spread of the backstop between runs, as a share, so that they do not all come due at once. */
const BACKSTOP_SPREAD = 0.25;

/** A run that a list feed may cover. */
export interface BatchMember {
  /**
   * When the run was created, milliseconds since the epoch; lists are sorted by it. NaN: unknown.
   */
  createdAt: number;
  /** The interval at which single polls would read the run now, ms. */
  intervalMs: number;
}

/** How to poll the runs that share one list. */
export interface BatchPlan {
  /** True where sweeping the list takes fewer requests than polling each run alone. */
  pays: boolean;
  /** From one sweep of the list to the next, ms. */
  intervalMs: number;
}

interface ListCost {
  /** Requests per sweep. */
  pages: number;
  minIntervalMs: number;
}

/**
 * The best interval between sweeps of a list, and whether the list feed pays. The best rate of
 * single polls is r = √(h/2c): h is the run's hazard, c the delay that one request is worth. A
 * sweep polls all its runs at once. Their hazards add up and the price is the number of pages p:
 * √(Σh/2cp) = √(Σr²/p). So the rates of single polls suffice as input. For k equal runs on one
 * page, a sweep comes √k times as often as each single poll would. It needs √k times fewer requests
 * in all.
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

/** How long after a single poll the list feed may replace the next one, ms. */
function backstop({ intervalMs }: Pick<BatchMember, 'intervalMs'>): number {
  return Math.max(intervalMs, BACKSTOP_MS);
}

/**
 * Whether every sweep should read one more page. The spacing of the runs on this page gives an
 * estimate of how many members the next one holds.
 * @param missing members that no page has shown so far
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
 * The time to which a single poll is deferred while a list feed covers the run: the backstop, yet
 * never after `latestAt`. The list feed itself keeps to the delay that a watch accepts.
 * @param latestAt when a notification about the run is due at the latest, milliseconds since the
 * epoch
 * @returns milliseconds since the epoch; null where the poll is already deferred, or due later
 * anyway
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
 * When a deferred single poll is due once no list feed covers the run any more. The time is drawn
 * from the watch's own interval, so that such polls do not all come at once.
 * @returns milliseconds since the epoch; null where the poll is due within that interval anyway
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
