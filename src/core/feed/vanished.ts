import type { PageMark } from './page-layout.ts';
import { pageMember, type PageName } from './page-name.ts';

/** Pages to remember, the latest read ones. */
const MOST_PAGES = 1_000;

/** Runs reported per read of a page; a list that is cleared must not cost many requests. */
const MOST_RUNS = 10;

/**
 * Finds watched runs that vanish from the pages of a source's lists, since they were deleted. A list
 * is sorted by creation time, so that a page shows every run that was created between its first and
 * its last one, wherever others went while pages were read.
 */
export class VanishedRuns {
  /** Creation times of the watched runs on each page, by their ids. */
  private readonly pages = new Map<string, ReadonlyMap<string, number>>();

  /**
   * @param shown ids of all runs on the page
   * @param watched creation times of the active ones, by their ids
   * @returns ids of runs that were on the page, and now are not although it covers their time
   */
  take(
    { workflowId }: Pick<PageName, 'workflowId'>,
    { page, newest, oldest, isLast }: PageMark,
    { shown, watched }: { shown: ReadonlySet<string>; watched: ReadonlyMap<string, number> },
  ): string[] {
    const key = pageMember({ workflowId, page });
    const before = this.pages.get(key) ?? new Map<string, number>();
    this.pages.delete(key);
    this.pages.set(key, watched);
    for (const one of this.pages.keys()) if (this.pages.size > MOST_PAGES) this.pages.delete(one);
    const vanished = [...before].filter(([id, createdAt]) => {
      const isCovered = (page === 1 || createdAt < newest) && (isLast || createdAt > oldest);
      return isCovered && !shown.has(id);
    });
    return vanished.map(([id]) => id).slice(0, MOST_RUNS);
  }
}
