import { groupBy, sum } from '../arrays.ts';
import { offsetsOf } from './page-layout.ts';
import type { PlannedList, PlannedWatch } from './plan-input.ts';

/** A list in use must cost this share more than single reads before it is left: the last runs are read twice. */
const KEPT = 0.9;

/** A page of a list, and the watched runs on it. */
export interface CoverPage {
  list: PlannedList;
  page: number;
  watches: PlannedWatch[];
}

/** What reading runs costs, in requests each ms. */
export interface ReadingCost {
  /** A run by itself. */
  single: (watch: PlannedWatch) => number;
  /** Watches on one page, their backstops included. */
  page: (watches: readonly PlannedWatch[]) => number;
}

/** The pages of each list that watched runs lie on. */
export function pagesOfLists(
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
    return [...pages].map(([page, on]) => ({ list, page, watches: on }));
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
export function cheapestCover(pages: readonly CoverPage[][], cost: ReadingCost): CoverPage[] {
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
