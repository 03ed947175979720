import { offsetsOf } from './layout.ts';
import type { PlannedList, PlannedWatch } from './plan.ts';

/** A list in use must cost this share more than another cover before it is left. */
const KEPT = 0.9;

/** Pages read of one list at most. */
const MAX_PAGES = 1_000;

/** A page of a list, and the watched runs on it. */
export interface CoverPage {
  list: PlannedList;
  page: number;
  watches: PlannedWatch[];
  /** How many runs of the list come before the last of them. */
  reach: number;
}

/** What reading runs costs, in requests each ms. */
export interface ReadingCost {
  /** A run by itself. */
  single: (watch: PlannedWatch) => number;
  /** Watches on one page, their backstops included. */
  page: (watches: readonly PlannedWatch[]) => number;
}

/** Pages, and what they and the single reads of all other runs cost. */
interface Cover {
  cost: number;
  pages: CoverPage[];
}

/** The runs of one workflow. */
interface Group {
  watches: PlannedWatch[];
  /** Pages of its own list; null where that cannot be read. */
  own: CoverPage[] | null;
}

/** On which pages of which lists the watched runs of a source are. */
export interface PagesOfRuns {
  /** By workflow. */
  groups: ReadonlyMap<string, Group>;
  /** Pages of the source's list; null where that cannot be read. */
  shared: readonly CoverPage[] | null;
  /** Whether there are runs that only the source's list can show. */
  isLookedFor: boolean;
}

export function pagesOfRuns(
  watches: readonly PlannedWatch[],
  lists: readonly PlannedList[],
): PagesOfRuns {
  const listed = watches.filter(({ isListed }) => isListed).sort(newestFirst);
  const byList = new Map(lists.map((list) => [list.workflowId, list]));
  const sourceList = byList.get(null);
  return {
    groups: groupsOf(listed, byList),
    shared: sourceList === undefined ? null : pagesOf(sourceList, listed),
    isLookedFor: listed.some(({ workflowId }) => workflowId === null),
  };
}

/**
 * The cheapest way to read the watched runs of a source: by pages of the source's list, by pages of
 * workflows' lists, or singly. Runs that were never read are looked for in the source's list.
 * @returns the pages to read; all other runs are read singly
 */
export function cheapestCover(
  { groups, shared: pages, isLookedFor }: PagesOfRuns,
  cost: ReadingCost,
): CoverPage[] {
  const own = new Map(
    [...groups].map(([workflowId, group]) => [workflowId, ownCover(group, cost)]),
  );
  const apart = [...own.values()].flatMap((one) => one.pages);
  if (pages === null) return apart;
  const copies = pages.map((page) => ({ ...page }));
  const shared = sharedCover(copies, { groups, own, cost });
  return isLookedFor || shared.cost < sum([...own.values()].map((one) => one.cost))
    ? shared.pages
    : apart;
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

function groupsOf(
  listed: readonly PlannedWatch[],
  lists: ReadonlyMap<string | null, PlannedList>,
): Map<string, Group> {
  const groups = new Map<string, Group>();
  for (const watch of listed) {
    const { workflowId } = watch;
    if (workflowId === null) continue;
    const group = groups.get(workflowId) ?? { watches: [], own: null };
    groups.set(workflowId, group);
    group.watches.push(watch);
  }
  for (const [workflowId, group] of groups) {
    const list = lists.get(workflowId);
    if (list !== undefined) group.own = pagesOf(list, group.watches);
  }
  return groups;
}

/** @param watches the newest first */
function pagesOf(list: PlannedList, watches: readonly PlannedWatch[]): CoverPage[] {
  const offsets = offsetsOf(watches.map(timeOf), list.marks, list.size);
  const pages = new Map<number, CoverPage>();
  for (const [rank, watch] of watches.entries()) {
    const reach = offsets[rank] ?? rank;
    const number = Math.floor(reach / list.size) + 1;
    if (number > MAX_PAGES) continue;
    const page = pages.get(number) ?? { list, page: number, watches: [], reach };
    pages.set(number, page);
    page.watches.push(watch);
    page.reach = Math.max(page.reach, reach);
  }
  return [...pages.values()];
}

/** What a page costs, or where they are cheaper single reads of its runs. */
function judged(page: CoverPage, { single, page: pageCost }: ReadingCost) {
  const singly = sum(page.watches.map(single));
  const together = pageCost(page.watches) * (page.list.isInUse ? KEPT : 1);
  return { page, pays: together < singly, cost: Math.min(together, singly) };
}

/** The pages of a workflow's own list that are cheaper than single reads. */
function ownCover({ own }: Group, cost: ReadingCost): Cover {
  if (own === null) return { cost: Infinity, pages: [] };
  const pages = own.map((page) => judged(page, cost));
  return {
    cost: sum(pages.map((one) => one.cost)),
    pages: pages.filter(({ pays }) => pays).map(({ page }) => page),
  };
}

interface Sharing {
  groups: ReadonlyMap<string, Group>;
  own: ReadonlyMap<string, Cover>;
  cost: ReadingCost;
}

/** The source's list, without the workflows for which it costs more than their own lists. */
function sharedCover(pages: CoverPage[], { groups, own, cost }: Sharing): Cover {
  const costs = new Map(pages.map((page) => [page, judged(page, cost).cost]));
  const pageOf = new Map(pages.flatMap((page) => page.watches.map((watch) => [watch, page])));
  const apart: Cover = { cost: 0, pages: [] };
  const largestFirst = [...groups].sort(([, a], [, b]) => b.watches.length - a.watches.length);
  for (const [workflowId, { watches }] of largestFirst) {
    const cover = own.get(workflowId);
    if (cover === undefined || cover.cost === Infinity) continue;
    const without = pagesWithout(watches, pageOf, cost);
    const saved = sum(without.map((one) => (costs.get(one.page) ?? 0) - one.cost));
    // Where both cost the same, its own list is the smaller one.
    if (saved < cover.cost * 0.999) continue;
    for (const one of without) {
      one.page.watches = one.watches;
      costs.set(one.page, one.cost);
    }
    apart.pages.push(...cover.pages);
    apart.cost += cover.cost;
  }
  const used = pages.filter((page) => page.watches.length > 0 && judged(page, cost).pays);
  return { cost: apart.cost + sum([...costs.values()]), pages: [...used, ...apart.pages] };
}

/** What is left of pages without some of the runs on them. */
function pagesWithout(
  watches: readonly PlannedWatch[],
  pageOf: ReadonlyMap<PlannedWatch, CoverPage>,
  cost: ReadingCost,
) {
  const leaving = new Set(watches);
  const pages = new Set(watches.flatMap((watch) => pageOf.get(watch) ?? []));
  return [...pages].map((page) => {
    const others = page.watches.filter((watch) => !leaving.has(watch));
    const left = { list: page.list, page: page.page, watches: others, reach: page.reach };
    return { page, watches: others, cost: others.length === 0 ? 0 : judged(left, cost).cost };
  });
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
