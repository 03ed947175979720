import { pageMember, type PageName } from './page-name.ts';
import type { RunPage } from './run-list.ts';

/** What a page showed for longer than this before says nothing any more, ms. */
const KEPT_MS = 60_000;

/** Pages to remember, the latest read ones: more than a plan reads in that time. */
const MOST_PAGES = 1_000;

/** Runs reported per read of a page; a list that is cleared must not cost many requests. */
const MOST_RUNS = 10;

/** A run that was on a page. Times are milliseconds since the epoch. */
interface Place {
  createdAt: number;
  /** Since when it is not on its page any more; null while it is. */
  since: number | null;
}

interface SeenPage {
  at: number;
  /** When its last run was created; Infinity for an empty page. */
  oldest: number;
  /** Watched runs by their ids. */
  runs: ReadonlyMap<string, Place>;
}

/** What a read of a page adds: the watched runs on it, with their creation times. */
interface Sighting {
  page: RunPage;
  watched: ReadonlyMap<string, number>;
  /** Milliseconds since the epoch. */
  now: number;
}

/**
 * Finds watched runs that vanish from the pages of a source's lists, since they were deleted. A list
 * is sorted by creation time, so that a page shows every run of its time, wherever others went while
 * pages were read. Only a run above the first one of a page may stand on the page before, which has to
 * be read again.
 */
export class VanishedRuns {
  private readonly pages = new Map<string, SeenPage>();

  /** @returns ids of runs that were on this page, and now are neither on it nor on the one before */
  take(name: PageName, { page, watched, now }: Sighting): string[] {
    const key = pageMember(name);
    const absent = this.absentFrom(page, this.pages.get(key), now);
    this.pages.delete(key);
    const times = page.runs.flatMap(({ created_at: at }) => (at === null ? [] : [Date.parse(at)]));
    if (!isNewestFirst(times)) return [];
    const [newest = -Infinity, oldest = Infinity] = [times.at(0), times.at(-1)];
    const runs = new Map<string, Place>(
      [...watched].map(([id, createdAt]) => [id, { createdAt, since: null }]),
    );
    const vanished: string[] = [];
    for (const [id, place] of absent) {
      if (!page.isLast && place.createdAt <= oldest) continue;
      const isInside = name.page === 1 || place.createdAt < newest;
      const found = isInside ? 'gone' : this.lookAbove(name, id, place);
      if (found === 'gone') vanished.push(id);
      else if (found === 'unknown') runs.set(id, { ...place, since: place.since ?? now });
    }
    this.pages.set(key, { at: now, oldest, runs });
    this.forgetOldest();
    return vanished.slice(0, MOST_RUNS);
  }

  /** Runs that were on a page not long ago, and are not on it now. */
  private absentFrom(page: RunPage, before: SeenPage | undefined, now: number): [string, Place][] {
    if (before === undefined || before.at < now - KEPT_MS) return [];
    const shown = new Set(page.runs.map(({ id }) => id));
    return [...before.runs].filter(
      ([id, { since }]) => !shown.has(id) && (since === null || since > now - KEPT_MS),
    );
  }

  /** A deleted run moves all that follow it up, the first one of a page to the page before. */
  private lookAbove({ workflowId, page }: PageName, id: string, { createdAt, since }: Place) {
    const above = this.pages.get(pageMember({ workflowId, page: page - 1 }));
    if (above === undefined || since === null || above.at <= since) return 'unknown';
    return above.runs.has(id) || above.oldest === createdAt ? 'there' : 'gone';
  }

  private forgetOldest(): void {
    for (const key of this.pages.keys()) {
      if (this.pages.size <= MOST_PAGES) return;
      this.pages.delete(key);
    }
  }
}

function isNewestFirst(times: readonly number[]): boolean {
  return times.every((time, at) => at === 0 || time <= (times[at - 1] ?? Infinity));
}
