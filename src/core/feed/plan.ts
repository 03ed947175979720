import { sum, groupBy } from '../arrays.ts';
import { readTimesOf, type ReadTimes } from '../source/read-times.ts';
import { PRICE_MS, type PlannedList, type PlannedWatch } from './plan-input.ts';
import { offsetsOf } from './page-layout.ts';

/*
 * The plan of lists says which pages of which lists are read and how often, and which runs are read singly. A read
 * is worth the hazard of the run, and a page that of all watched runs on it, so one formula gives the interval of
 * both. The cheapest cover wins, and requests cost more until all of it fits into the rate limit.
 *
 * What each part is worth, as the 95th percentile of the delay with it and without. Runs take 30 to 90 s, at 100
 * requests a second (`bench -- budget --cells virtual`):
 *
 * | Part                                      | Runs                                  | With  | Without |
 * | ----------------------------------------- | ------------------------------------- | ----- | ------- |
 * | lists at all                              | 2,000 of 1 workflow                   | 0.5 s | 30 s    |
 * | the source's list                         | 2,000 of 500 workflows                | 0.9 s | 7.6 s   |
 * | lists of workflows                        | 1,000 of 1, 9,000 of a foreign one    | 0.5 s | 2.1 s   |
 * | the source's list alone, where cheaper    | 4,000 of 20 workflows                 | 3.6 s | 5.3 s   |
 * | places of pages by those that were read   | 2,000 of 1 workflow                   | 0.5 s | 13 s    |
 * | how far these have moved on               | 1,000 of 1 workflow that keep coming  | 0.5 s | 3.6 s   |
 * | the cost multiplier                       | 4,000 of 5 workflows                  | 4.1 s | 5.0 s   |
 * | a cover that is chosen anew at that cost  | 4,000 of 5 workflows                  | 4.1 s | 4.6 s   |
 * | a list in use is kept                     | 2,000 of 500, the longest delay       | 3.9 s | 5.9 s   |
 *
 * Where 2,000 runs or fewer are read, the multiplier and the new choice change less than a tenth: the schedule has
 * pages wait where there is no room. By the multiplier runwatch also says how often runs are read.
 */

/** How long a list may replace the single polls of a run before one confirms it, at the least, ms. */
export const BACKSTOP_MS = 120_000;

/** The backstops of all watches take at most this share of the rate limit. */
const BACKSTOP_SHARE = 0.1;

/** Planned reads take at most this share of the rate limit. */
const PLANNED_SHARE = 0.95;

/** With the rate limit that is recommended, planned reads take this share of it. */
const SPENT = 0.9;

/** From one plan to the next, ms; longer where it takes long, or nothing is about to change. */
const PLAN_EVERY_MS = { least: 1_000, most: 60_000 };

/** For each watch, so that planning takes a few hundredths of a process's time, ms. */
const PLAN_MS_PER_WATCH = 0.5;

export interface PlanLimits {
  /** Requests that the rate limit allows, each ms. */
  requestsPerMs: number;
  minIntervalMs: number;
  /** What a source that keeps up does not exceed. */
  maxIntervalMs: number;
  /** Pages that may be read each ms for what taking them in costs; Infinity for any number. */
  pagesPerMs: number;
}

/** A list of a plan, and the pages of it to read. */
interface ListPlan {
  workflowId: string | null;
  size: number;
  pages: { page: number; intervalMs: number }[];
}

export interface FeedPlan {
  /** By how much requests cost more than their profile's price, from 1. */
  costMultiplier: number;
  /** The shortest interval of a page, by the configuration and by the CPU that pages take, ms. */
  leastPageMs: number;
  /** Requests each ms with which all runs would be read as promptly as profiles ask for. */
  wantedPerMs: number;
  /** How often runs are read. */
  reads: ReadTimes;
  lists: ListPlan[];
  /** Watches that are on none of these pages. */
  singles: readonly PlannedWatch[];
}

/**
 * How to read the watched runs of a source with the least delay within its rate limit. The best rate
 * of reads is √(Σh/2c) for a run and for a page of many alike (h: hazard, c: delay that a request is
 * worth): Keller 1974. With the interval 1/r of single polls in hand, that is √Σr². The multiplier of
 * c rises until the rates of all reads fit.
 */
export function planFeed(
  watches: readonly PlannedWatch[],
  lists: readonly PlannedList[],
  limits: PlanLimits,
): FeedPlan {
  const pages = pagesOfLists(watches, lists);
  let cover: CoverPage[] = [];
  let singles = watches;
  let prices: Prices = { costMultiplier: 1, leastPageMs: limits.minIntervalMs };
  // At higher cost the caps on intervals weigh more, and another cover may win.
  for (let round = 0; round < 3; round += 1) {
    cover = cheapestCover(pages, readingCost(watches, limits, prices));
    const covered = new Set(cover.flatMap((page) => page.watches));
    singles = watches.filter((watch) => !covered.has(watch));
    prices = pricesOf({ cover, singles }, limits);
  }
  return {
    ...prices,
    wantedPerMs: wantedPerMs({ cover, singles }, watches, limits),
    reads: readTimes({ cover, singles }, { ...limits, ...prices }),
    lists: listPlans(cover, prices),
    singles,
  };
}

/** What is read page by page, and what run by run. */
interface Reads {
  cover: readonly CoverPage[];
  singles: readonly PlannedWatch[];
}

type Prices = Pick<FeedPlan, 'costMultiplier' | 'leastPageMs'>;

/** The interval between two reads of a run, or of a page with these watched runs on it, ms. */
export function readInterval(
  watches: readonly Pick<PlannedWatch, 'intervalMs' | 'longestMs'>[],
  costMultiplier: number,
  leastMs: number,
): number {
  let [squares, longestMs] = [0, Infinity];
  for (const watch of watches) {
    squares += 1 / watch.intervalMs ** 2;
    longestMs = Math.min(longestMs, watch.longestMs);
  }
  return Math.max(leastMs, Math.min(Math.sqrt(costMultiplier / squares), longestMs));
}

/** How long after a single poll a list may replace the next one, ms. */
export function backstopMs(watches: number, requestsPerMs: number): number {
  return Math.max(BACKSTOP_MS, watches / (requestsPerMs * BACKSTOP_SHARE));
}

/** r = √(h/2c), solved for h, 1/ms; but what has lasted long does not end more than once in that time. */
function hazardOf({ intervalMs, ageMs }: PlannedWatch): number {
  return Math.min((2 * PRICE_MS) / intervalMs ** 2, 1 / ageMs);
}

/** What covers are compared by: the rates of requests at these prices, and backstops. */
function readingCost(
  watches: readonly PlannedWatch[],
  { requestsPerMs, minIntervalMs }: PlanLimits,
  { costMultiplier, leastPageMs }: Prices,
): ReadingCost {
  const backstop = 1 / backstopMs(watches.length, requestsPerMs);
  return {
    single: (watch) => 1 / readInterval([watch], costMultiplier, minIntervalMs),
    page: (some) => 1 / readInterval(some, costMultiplier, leastPageMs) + some.length * backstop,
  };
}

/** The prices at which all planned reads fit into the rate limit: others that come go before them. */
function pricesOf({ cover, singles }: Reads, limits: PlanLimits): Prices {
  const leastPageMs = Math.max(limits.minIntervalMs, cover.length / limits.pagesPerMs);
  const reads = { cover, singles: readBefore(singles) };
  const fits = (costMultiplier: number) =>
    plannedRate(reads, { ...limits, costMultiplier, leastPageMs }) <=
    PLANNED_SHARE * limits.requestsPerMs;
  return { costMultiplier: leastThat(fits), leastPageMs };
}

/** The rate of all reads, 1/ms. */
function plannedRate(
  { cover, singles }: Reads,
  { minIntervalMs, costMultiplier, leastPageMs }: Pick<PlanLimits, 'minIntervalMs'> & Prices,
): number {
  return (
    sum(cover.map((page) => 1 / readInterval(page.watches, costMultiplier, leastPageMs))) +
    sum(singles.map((watch) => 1 / readInterval([watch], costMultiplier, minIntervalMs)))
  );
}

/** A run before its first read wants one read, and no polls again and again. */
function wantedPerMs(
  { cover, singles }: Reads,
  watches: readonly PlannedWatch[],
  { minIntervalMs }: PlanLimits,
): number {
  const reads = { cover, singles: readBefore(singles) };
  const unlimited = { minIntervalMs, costMultiplier: 1, leastPageMs: minIntervalMs };
  return (plannedRate(reads, unlimited) + sum(readBefore(watches).map(hazardOf))) / SPENT;
}

/** The watches after their first read. */
function readBefore(watches: readonly PlannedWatch[]): PlannedWatch[] {
  return watches.filter(({ isUnseen }) => !isUnseen);
}

/** How often a plan lets runs be read that were read before. */
function readTimes(
  { cover, singles }: Reads,
  { minIntervalMs, maxIntervalMs, costMultiplier, leastPageMs }: PlanLimits & Prices,
): ReadTimes {
  const timesOf = (watches: readonly PlannedWatch[], leastMs: number) => {
    const readMs = readInterval(watches, costMultiplier, leastMs);
    return readBefore(watches).map(({ intervalMs }) => ({ intervalMs, readMs }));
  };
  const onPages = cover.flatMap((page) => timesOf(page.watches, leastPageMs));
  const alone = singles.flatMap((watch) => timesOf([watch], minIntervalMs));
  return readTimesOf([...onPages, ...alone], maxIntervalMs);
}

/** Beyond this, caps on intervals decide alone. */
const MOST_MULTIPLIER = 1e6;

/** How long until the next plan, after one of these watches, ms. */
export function nextPlanMs(watches: readonly PlannedWatch[]): number {
  // There may be more watches than a call takes arguments.
  const soonest = watches.reduce((least, one) => Math.min(least, one.intervalMs), Infinity);
  const usual = Math.min(Math.max(soonest, PLAN_EVERY_MS.least), PLAN_EVERY_MS.most);
  return Math.max(usual, leastMsBetweenPlans(watches.length));
}

/** The least time between two plans of so many watches, ms. */
export function leastMsBetweenPlans(watches: number): number {
  return PLAN_MS_PER_WATCH * watches;
}

function leastThat(fits: (multiplier: number) => boolean): number {
  if (fits(1)) return 1;
  let [low, high] = [0, Math.log(MOST_MULTIPLIER)];
  for (let step = 0; step < 10; step += 1) {
    const middle = (low + high) / 2;
    if (fits(Math.exp(middle))) high = middle;
    else low = middle;
  }
  return Math.exp(high);
}

function listPlans(
  cover: readonly CoverPage[],
  { costMultiplier, leastPageMs }: Prices,
): ListPlan[] {
  const lists = new Map<string | null, ListPlan>();
  for (const { list, page, watches } of cover) {
    const { workflowId, size } = list;
    const plan = lists.get(workflowId) ?? { workflowId, size, pages: [] };
    const intervalMs = Math.round(readInterval(watches, costMultiplier, leastPageMs));
    plan.pages.push({ page, intervalMs });
    lists.set(workflowId, plan);
  }
  return [...lists.values()];
}

/**
 * A list in use is left once it costs this share more than single reads. Else the last runs of a workflow are read
 * twice, and the longest delay passes its bound (`bench -- budget --cells virtual`, 2,000 runs of 500 workflows).
 */
const KEPT = 0.9;

/** A page of a list, and the watched runs on it. */
interface CoverPage {
  list: PlannedList;
  page: number;
  watches: PlannedWatch[];
}

/** What reading runs costs, in requests each ms. */
interface ReadingCost {
  /** A run by itself. */
  single: (watch: PlannedWatch) => number;
  /** Watches on one page, their backstops included. */
  page: (watches: readonly PlannedWatch[]) => number;
}

/** The pages of each list that watched runs lie on. */
function pagesOfLists(
  watches: readonly PlannedWatch[],
  lists: readonly PlannedList[],
): CoverPage[][] {
  const listed = watches.filter(({ isListed }) => isListed).sort(newestFirst);
  const byWorkflow = groupBy(listed, ({ workflowId }) => workflowId);
  return lists.map((list) => {
    const { workflowId, marks, size } = list;
    const some = workflowId === null ? listed : (byWorkflow.get(workflowId) ?? []);
    const offsets = offsetsOf(some.map(timeOf), marks, size);
    const pages = groupBy(some, (_, rank) => Math.floor((offsets[rank] ?? rank) / size) + 1);
    const readable = [...pages].filter(([page]) => page <= list.pages);
    return readable.map(([page, on]) => ({ list, page, watches: on }));
  });
}

/**
 * The cheapest way to read the watched runs of a source: by pages of the source's list, by pages of
 * workflows' lists, or singly. A workflow is read by its own list where that costs less than its part of
 * the source's pages; the source's list alone may cost less than that. Runs that were never read are
 * looked for in the source's list.
 * @param pages of each list
 * @returns the pages to read; all other runs are read singly
 */
function cheapestCover(pages: readonly CoverPage[][], cost: ReadingCost): CoverPage[] {
  const isShared = ([page]: CoverPage[]) => page?.list.workflowId === null;
  const shared = pages.find(isShared) ?? [];
  const parts = new Map(shared.flatMap((page) => partsOf(page, cost)));
  const partOf = (watch: PlannedWatch) => parts.get(watch) ?? cost.single(watch);
  const own = pages.filter((some) => {
    const costs = sum(
      some.map(({ watches }) => Math.min(cost.page(watches), singly(watches, cost))),
    );
    // Where both cost the same, its own list is the smaller one.
    const isCheaper = costs * 0.999 <= sum(some.flatMap(({ watches }) => watches).map(partOf));
    return !isShared(some) && isCheaper;
  });
  const apart = new Set(own.flat().flatMap((page) => page.watches));
  const rest = shared.map((page) => ({
    ...page,
    watches: page.watches.filter((watch) => !apart.has(watch)),
  }));
  const saved = ({ list, watches }: CoverPage) =>
    singly(watches, cost) - cost.page(watches) * (list.isInUse ? KEPT : 1);
  const worthWhile = (some: CoverPage[]) => some.filter((page) => saved(page) > 0);
  const [mixed, alone] = [worthWhile([...rest, ...own.flat()]), worthWhile(shared)];
  return sum(alone.map(saved)) > sum(mixed.map(saved)) ? alone : mixed;
}

/** What was not read yet counts as newest: it is looked for at the head of the list. */
function newestFirst(one: PlannedWatch, other: PlannedWatch): number {
  const [a, b] = [timeOf(one), timeOf(other)];
  if (a === b) return 0;
  return b > a ? 1 : -1;
}

function timeOf({ createdAt }: PlannedWatch): number {
  return Number.isNaN(createdAt) ? Infinity : createdAt;
}

/** What each run on a page costs: its part of the reads of the page, or a single read. */
function partsOf({ watches }: CoverPage, cost: ReadingCost): [PlannedWatch, number][] {
  const whole = Math.min(cost.page(watches), singly(watches, cost));
  const squares = sum(watches.map((watch) => cost.single(watch) ** 2));
  return watches.map((watch) => [watch, (whole * cost.single(watch) ** 2) / squares]);
}

function singly(watches: readonly PlannedWatch[], { single }: ReadingCost): number {
  return sum(watches.map(single));
}
