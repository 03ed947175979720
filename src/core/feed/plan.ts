import { readTimesOf, type ReadTimes } from '../source/read-times.ts';
import { cheapestCover, pagesOfRuns, type CoverPage, type ReadingCost } from './cover.ts';
import type { PageMark } from './layout.ts';

/** How long a list may replace the single polls of a run before one confirms it, at the least, ms. */
export const BACKSTOP_MS = 120_000;

/** The backstops of all watches take at most this share of the rate limit. */
const BACKSTOP_SHARE = 0.1;

/** The share of the rate limit that a plan spends: the rest absorbs what it cannot foresee. */
const SPENT = 0.9;

/** Whatever else is wanted, planned requests keep this share. */
const LEAST_SHARE = 0.1;

/** Confirming reads are expected to take at most this share. */
const CONFIRM_SHARE = 0.7;

/** First reads take at most this share while watches wait for theirs, so many each second. */
const FIRST_SHARE = 0.5;
const FIRST_WITHIN_MS = 10_000;

/** Delay that a request is worth under the profile `normal`, ms: hazards follow from it. */
const PRICE_MS = 200;

/** Runs that may enter a list at its head without pushing a watched one off a short page. */
const HEADROOM = 20;

/** A watch as a plan sees it. */
export interface PlannedWatch {
  /** Null before a read has shown its workflow. */
  workflowId: string | null;
  /** By Noxus, ms since the epoch; NaN where it is not known. */
  createdAt: number;
  /** The interval of its single polls in a source that keeps up, ms. */
  intervalMs: number;
  /** The longest interval that it accepts, ms. */
  longestMs: number;
  /** How long it has been there, ms. */
  ageMs: number;
  /** False where a list cannot stand in for single polls: the run is missing or unreadable. */
  isListed: boolean;
  /** True before its first read. */
  isUnseen: boolean;
}

/** A list that can be read. */
export interface PlannedList {
  /** Null for the list of the runs of all workflows. */
  workflowId: string | null;
  marks: readonly PageMark[];
  /** Runs on a page. */
  size: number;
  /** True where the last plan used it. */
  isInUse: boolean;
}

export interface PlanLimits {
  /** Requests that the rate limit allows, each ms. */
  requestsPerMs: number;
  minIntervalMs: number;
  /** What a source that keeps up does not exceed. */
  maxIntervalMs: number;
  /** Pages that may be read each ms for what taking them in costs; Infinity for any number. */
  pagesPerMs: number;
  /** How much more is planned than fits by what is foreseen; see {@link spendingAfter}. */
  spending: number;
}

/** A list of a plan, and the pages of it to read. */
export interface ListPlan {
  workflowId: string | null;
  size: number;
  pages: { page: number; intervalMs: number }[];
}

export interface FeedPlan {
  /** By how much requests cost more than their profile's price, from 1. */
  costMultiplier: number;
  /** Beyond {@link costMultiplier}, by how much pages cost more for the CPU that they take. */
  pageMultiplier: number;
  /** Requests each ms with which all runs would be read as promptly as profiles ask for. */
  wantedPerMs: number;
  /** How often runs are read. */
  reads: ReadTimes;
  lists: ListPlan[];
  /** Watches that are on one of these pages; all others are read singly. */
  covered: ReadonlySet<PlannedWatch>;
}

/** What is read by one request, again and again: a run, or a page with its watched runs. */
interface Unit {
  /** Σ 1/interval² of its runs, 1/ms². */
  squares: number;
  runs: number;
  longestMs: number;
}

/**
 * How to read the watched runs of a source with the least delay within its rate limit. The best rate
 * of reads is √(Σh/2c) for a run and for a page of many alike (h: hazard, c: delay that a request is
 * worth): Keller 1974. With the interval 1/r of single polls in hand, that is √Σr². The multiplier of
 * c rises until the rates of all units fit. Of the covers by pages of the source's list, pages of
 * workflows' lists and single reads, the cheapest wins.
 */
export function planFeed(
  watches: readonly PlannedWatch[],
  lists: readonly PlannedList[],
  limits: PlanLimits,
): FeedPlan {
  let multipliers: Multipliers = { costMultiplier: 1, pageMultiplier: 1 };
  const pages = pagesOfRuns(watches, lists);
  let cover = cheapestCover(pages, readingCost(watches, limits, multipliers));
  // At higher cost the caps on intervals weigh more, and another cover may win.
  for (let round = 0; round < 2; round += 1) {
    multipliers = fit(cover, watches, limits);
    cover = cheapestCover(pages, readingCost(watches, limits, multipliers));
  }
  multipliers = fit(cover, watches, limits);
  return {
    ...multipliers,
    wantedPerMs: wantedPerMs(cover, watches, limits),
    reads: readTimes(cover, watches, { ...limits, ...multipliers }),
    lists: listPlans(cover, limits, multipliers),
    covered: new Set(cover.flatMap((page) => page.watches)),
  };
}

type Multipliers = Pick<FeedPlan, 'costMultiplier' | 'pageMultiplier'>;

/** Planning so much more, or less, at a time follows what is used. */
const SPENDING = { least: 1, most: 4, more: 1.15, less: 0.85, aim: 0.95 };

/**
 * How much more to plan than is foreseen to fit, by what the plan before has used of the rate
 * limit. The confirming reads that it leaves room for may not come.
 * @param used share of the rate limit that was used recently
 */
export function spendingAfter(
  { spending, costMultiplier }: { spending: number; costMultiplier: number },
  used: number,
): number {
  if (costMultiplier <= 1) return SPENDING.least;
  const factor = Math.min(Math.max(SPENDING.aim / used, SPENDING.less), SPENDING.more);
  return Math.min(Math.max(spending * factor, SPENDING.least), SPENDING.most);
}

/** The rate of a unit at a cost multiplier, 1/ms. */
function rateOf(
  { squares, longestMs }: Pick<Unit, 'squares' | 'longestMs'>,
  multiplier: number,
  minIntervalMs: number,
): number {
  const rate = Math.sqrt(squares / multiplier);
  return Math.min(1 / minIntervalMs, Math.max(rate, 1 / longestMs));
}

/** The interval between two reads of a page with these watched runs on it, ms. */
export function pageInterval(
  watches: readonly Pick<PlannedWatch, 'intervalMs' | 'longestMs'>[],
  multiplier: number,
  minIntervalMs: number,
): number {
  return 1 / rateOf(unitOf(watches), multiplier, minIntervalMs);
}

/** How long after a single poll a list may replace the next one, ms. */
export function backstopMs(watches: number, requestsPerMs: number): number {
  return Math.max(BACKSTOP_MS, watches / (requestsPerMs * BACKSTOP_SHARE));
}

function unitOf(watches: readonly Pick<PlannedWatch, 'intervalMs' | 'longestMs'>[]): Unit {
  const unit: Unit = { squares: 0, runs: 0, longestMs: Infinity };
  for (const watch of watches) add(unit, watch);
  return unit;
}

function add(
  unit: Unit,
  { intervalMs, longestMs }: Pick<PlannedWatch, 'intervalMs' | 'longestMs'>,
) {
  unit.squares += 1 / intervalMs ** 2;
  unit.runs += 1;
  unit.longestMs = Math.min(unit.longestMs, longestMs);
}

/** The rate that is left for planned reads, once the ends that come are confirmed, 1/ms. */
function spareRate(
  watches: readonly PlannedWatch[],
  { requestsPerMs, spending }: PlanLimits,
): number {
  const seen = watches.filter(({ isUnseen }) => !isUnseen);
  const ends = Math.min(sum(seen.map(hazardOf)), requestsPerMs * CONFIRM_SHARE);
  const first = Math.min(
    (watches.length - seen.length) / FIRST_WITHIN_MS,
    requestsPerMs * FIRST_SHARE,
  );
  const spare = Math.max(requestsPerMs * LEAST_SHARE, requestsPerMs * SPENT - ends - first);
  return Math.min(spare * spending, requestsPerMs);
}

/** The interval of a run of which only the age is known, ms: its hazard is taken for 1/age. */
export function unseenIntervalMs(ageMs: number): number {
  if (ageMs <= 1) return 1;
  return Math.min(ageMs, Math.sqrt(2 * PRICE_MS * ageMs));
}

/** First reads of runs that a list shows going on take this share of the rate limit. */
const KNOWN_FIRST_SHARE = 0.3;

/**
 * Over how long first reads are spread of runs that a list shows going on: those that have ended go
 * first.
 * @returns milliseconds; 0 where all of them fit into a few seconds
 */
export function firstReadsMs(
  watches: readonly Pick<PlannedWatch, 'isUnseen'>[],
  requestsPerMs: number,
): number {
  const unseen = watches.filter(({ isUnseen }) => isUnseen).length;
  const ms = unseen / (requestsPerMs * KNOWN_FIRST_SHARE);
  return ms < FIRST_WITHIN_MS ? 0 : ms;
}

/** r = √(h/2c), solved for h, 1/ms; but what has lasted long does not end more than once in that time. */
function hazardOf({ intervalMs, ageMs }: PlannedWatch): number {
  return Math.min((2 * PRICE_MS) / intervalMs ** 2, 1 / ageMs);
}

/** What covers are compared by: the rates of requests at these multipliers, and backstops. */
function readingCost(
  watches: readonly PlannedWatch[],
  { requestsPerMs, minIntervalMs }: PlanLimits,
  { costMultiplier, pageMultiplier }: Multipliers,
): ReadingCost {
  const backstop = 1 / backstopMs(watches.length, requestsPerMs);
  const rate = (some: readonly PlannedWatch[], by: number) =>
    rateOf(unitOf(some), by, minIntervalMs);
  return {
    single: ({ intervalMs, longestMs }) =>
      rateOf({ squares: 1 / intervalMs ** 2, longestMs }, costMultiplier, minIntervalMs),
    page: (some) =>
      rate(some, costMultiplier * pageMultiplier) * Math.sqrt(pageMultiplier) +
      some.length * backstop,
  };
}

/** The multipliers at which all requests fit into the rate that is left. */
function fit(
  cover: readonly CoverPage[],
  watches: readonly PlannedWatch[],
  limits: PlanLimits,
): Multipliers {
  const { minIntervalMs, pagesPerMs } = limits;
  const spare = spareRate(watches, limits);
  const covered = new Set(cover.flatMap((page) => page.watches));
  const pages = cover.map((page) => unitOf(page.watches));
  const singles = watches
    .filter((watch) => !covered.has(watch) && !watch.isUnseen)
    .map((watch) => unitOf([watch]));
  const rates = (units: Unit[], by: number) =>
    sum(units.map((unit) => rateOf(unit, by, minIntervalMs)));
  const costMultiplier = leastThat((by) => rates(singles, by) + rates(pages, by) <= spare);
  const pageMultiplier = leastThat((by) => rates(pages, costMultiplier * by) <= pagesPerMs);
  return { costMultiplier, pageMultiplier };
}

/** A run before its first read wants one read, and no polls again and again. */
function wantedPerMs(
  cover: readonly CoverPage[],
  watches: readonly PlannedWatch[],
  { minIntervalMs }: PlanLimits,
): number {
  const covered = new Set(cover.flatMap((page) => page.watches));
  const seen = watches.filter(({ isUnseen }) => !isUnseen);
  const singles = seen.filter((watch) => !covered.has(watch)).map((watch) => [watch]);
  const units = [...cover.map((page) => page.watches), ...singles].map(unitOf);
  const planned = sum(units.map((unit) => rateOf(unit, 1, minIntervalMs)));
  return (planned + sum(seen.map(hazardOf))) / SPENT;
}

/** How often a plan lets runs be read that were read before. */
function readTimes(
  cover: readonly CoverPage[],
  watches: readonly PlannedWatch[],
  { minIntervalMs, maxIntervalMs, costMultiplier, pageMultiplier }: PlanLimits & Multipliers,
): ReadTimes {
  const onPages = new Map<PlannedWatch, number>();
  for (const page of cover) {
    const pageMs = pageInterval(page.watches, costMultiplier * pageMultiplier, minIntervalMs);
    for (const watch of page.watches) onPages.set(watch, pageMs);
  }
  const times = watches
    .filter(({ isUnseen }) => !isUnseen)
    .map((watch) => ({
      intervalMs: watch.intervalMs,
      readMs: onPages.get(watch) ?? pageInterval([watch], costMultiplier, minIntervalMs),
    }));
  return readTimesOf(times, maxIntervalMs);
}

/** Beyond this, caps on intervals decide alone. */
const MOST_MULTIPLIER = 1e6;

function leastThat(fits: (multiplier: number) => boolean): number {
  if (fits(1)) return 1;
  let [low, high] = [0, Math.log(MOST_MULTIPLIER)];
  for (let step = 0; step < 20; step += 1) {
    const middle = (low + high) / 2;
    if (fits(Math.exp(middle))) high = middle;
    else low = middle;
  }
  return Math.exp(high);
}

function listPlans(
  cover: readonly CoverPage[],
  { minIntervalMs }: PlanLimits,
  { costMultiplier, pageMultiplier }: Multipliers,
): ListPlan[] {
  const lists = new Map<string | null, ListPlan>();
  for (const { list, page, watches, reach } of cover) {
    const { workflowId, size } = list;
    const plan = lists.get(workflowId) ?? { workflowId, size: 0, pages: [] };
    const intervalMs = pageInterval(watches, costMultiplier * pageMultiplier, minIntervalMs);
    plan.pages.push({ page, intervalMs: Math.round(intervalMs) });
    // Runs can carry large documents: a page on its own is no longer than it must be.
    const isAlone = plan.pages.length === 1 && page === 1;
    plan.size = isAlone ? Math.min(size, reach + 1 + HEADROOM) : size;
    lists.set(workflowId, plan);
  }
  return [...lists.values()];
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
