import type { ListedRun, RunPage } from './run-list.ts';

/**
 * A listed run with a creation time: without it, discovery cannot separate new runs from old ones.
 */
interface DatedRun extends ListedRun {
  created_at: string;
}

/** The part of a page that discovery can use. */
export interface DatedPage extends RunPage {
  runs: DatedRun[];
}

/** @returns null where the page has runs but none has a date */
export function datedPage(page: RunPage): DatedPage | null {
  const runs = page.runs.filter((run): run is DatedRun => run.created_at !== null);
  return runs.length === 0 && page.runs.length > 0 ? null : { ...page, runs };
}

/**
 * A run may appear in a list this much later than its creation time says, ms: lists lag, and clocks
 * of the machines that create runs differ. Every pass reads a list again at least so far back.
 */
const OVERLAP_MS = 60_000;

/** Most pages of the first pass, which records what existed before, and finds runs since a time. */
const FIRST_PAGES = 10;

/** Most runs to remember that are no longer on the pages read. */
const MOST_GONE = 500;

/**
 * What discovery remembers of a list: every run created at the floor or later. Times are the
 * source's own, in milliseconds since the epoch; they are compared only with one another.
 */
export interface DiscoveryCursor {
  /** Runs created before this are old; null while discovery knows every run of the list. */
  floor: number | null;
  /** When the newest run was created; null for an empty list. */
  newest: number | null;
  known: string[];
}

/** One pass over a list, from its newest run down to the known ones. */
export interface Pass {
  /** Null on the very first pass, where runs count as old unless `since` admits them. */
  cursor: DiscoveryCursor | null;
  /** Runs created before this are old, ms since the epoch; null for those before the first pass. */
  since: number | null;
  /** How many pages of the list can be read. */
  pages: number;
  /** Runs read so far, with their creation times. */
  read: ReadonlyMap<string, number>;
  /** The first page as the pass first read it; null before. */
  head: Head | null;
  /** True where the last page ended with a new run. */
  endsFresh: boolean;
  /**
   * True once a later page showed a new run, or followed one that ended with one. Pages may have
   * shifted and hidden new runs between them, so the pass repeats. What shifts again between the same
   * two pages of the repetition is found by the next pass, where it is younger than the overlap.
   */
  isUnsettled: boolean;
  /** True once the first pass reached its page limit before the end of the list. */
  isCutShort: boolean;
}

interface Head {
  /** Creation times of its newest and oldest run; null for an empty page. */
  newest: number | null;
  oldest: number | null;
  /** True where it is the only page. */
  isWhole: boolean;
}

export function beginPass(
  cursor: DiscoveryCursor | null,
  { since, pages }: Pick<Pass, 'since' | 'pages'>,
): Pass {
  return {
    cursor,
    since,
    pages,
    read: new Map(),
    head: null,
    endsFresh: false,
    isUnsettled: false,
    isCutShort: false,
  };
}

/** Repeats the pass, to find runs that shifting pages may have hidden. */
export function repeatPass(pass: Pass): Pass {
  return { ...pass, endsFresh: false, isUnsettled: false };
}

/** What a page adds to a pass. */
interface PassStep {
  pass: Pass;
  /** Runs that are new, in the order of the page. */
  fresh: DatedRun[];
  /** True when later pages hold nothing relevant. */
  isComplete: boolean;
}

/** Adds a page to a pass. @param number the page's number, from 1 */
export function takePage(pass: Pass, page: DatedPage, number: number): PassStep {
  const head = pass.head ?? headOf(page);
  const fresh = page.runs.filter((run) => isFresh(pass, run));
  const read = new Map([
    ...pass.read,
    ...page.runs.map(({ id, created_at }) => entry(id, created_at)),
  ]);
  const isBottom = number >= pass.pages && !page.isCut;
  const isCutShort = pass.cursor === null && (isBottom || number >= FIRST_PAGES);
  // A first page that was cut short is read again, and its runs are not new then.
  const before = number === 1 && pass.endsFresh;
  const endsFresh = before || (fresh.length > 0 && fresh.at(-1) === page.runs.at(-1));
  const isUnsettled = pass.isUnsettled || (number > 1 && (fresh.length > 0 || pass.endsFresh));
  const next = { ...pass, head, read, endsFresh, isUnsettled, isCutShort };
  return { pass: next, fresh, isComplete: isBottom || isComplete(next, page) };
}

function isComplete(pass: Pass, page: DatedPage): boolean {
  return page.isLast || pass.isCutShort || isDeepEnough(pass, page);
}

/** The most runs that a first pass takes. */
export function mostFirstRuns({ pages }: Pick<Pass, 'pages'>, pageSize: number): number {
  return Math.min(FIRST_PAGES, pages) * pageSize;
}

function entry(id: string, createdAt: string): [string, number] {
  return [id, Date.parse(createdAt)];
}

function headOf({ runs, isLast }: DatedPage): Head {
  const times = runs.map(({ created_at: createdAt }) => Date.parse(createdAt));
  return {
    newest: times.length === 0 ? null : Math.max(...times),
    oldest: times.length === 0 ? null : Math.min(...times),
    isWhole: isLast,
  };
}

function isFresh({ cursor, since, read }: Pass, { id, created_at }: DatedRun): boolean {
  if (read.has(id)) return false;
  const createdAt = Date.parse(created_at);
  if (cursor === null) return since !== null && createdAt >= since;
  if (cursor.known.includes(id) || createdAt < (since ?? -Infinity)) return false;
  return cursor.floor === null || createdAt >= cursor.floor;
}

/** Whether a page reaches down to known or old runs, and beyond the overlap. */
function isDeepEnough({ cursor, since, head }: Pass, { runs }: DatedPage): boolean {
  const last = runs.at(-1);
  if (last === undefined) return true;
  const createdAt = Date.parse(last.created_at);
  const lowest = ((cursor ?? head)?.newest ?? -Infinity) - OVERLAP_MS;
  if (cursor === null) return createdAt < Math.min(lowest, since ?? Infinity);
  if (cursor.floor !== null && createdAt < cursor.floor) return true;
  return createdAt < lowest && cursor.known.includes(last.id);
}

/** The oldest run that a first pass took where older ones since its time may exist; null for none. */
export function cutShortAt({ cursor, since, isCutShort, read }: Pass): number | null {
  if (cursor !== null || since === null || !isCutShort) return null;
  const oldest = Math.min(...read.values());
  return oldest >= since ? oldest : null;
}

/**
 * Whether runs may have been missed, since more began than the pages that can be read show: the last page is full and
 * ends with a new run or among late ones, or the list ends before the newest run that was known.
 * @param last the last page of the pass
 */
export function hasGap(pass: Pass, last: RunPage, size: number): boolean {
  const { cursor, read, endsFresh } = pass;
  if (cursor === null || read.size === 0) return false;
  const isFull = !last.isLast && last.runs.length >= size;
  if (isFull && (endsFresh || endsAmongLate(pass, cursor))) return true;
  return cursor.newest !== null && Math.min(...read.values()) > cursor.newest;
}

/**
 * Whether new runs that came late stand among known ones so far down that more of them may lie below what was read:
 * within as much time below the oldest of them as that is late, and within the overlap.
 */
function endsAmongLate({ since, read }: Pass, { known, newest, floor }: DiscoveryCursor): boolean {
  if (newest === null) return false;
  const knownIds = new Set(known);
  const from = Math.max(floor ?? -Infinity, since ?? -Infinity);
  const fresh = [...read].flatMap(([id, at]) => (knownIds.has(id) || at < from ? [] : [at]));
  const first = Math.min(...fresh);
  if (first >= newest) return false;
  return Math.min(...read.values()) >= Math.max(2 * first - newest, newest - OVERLAP_MS);
}

/** What discovery remembers after a complete pass. */
export function cursorAfter(pass: Pass): DiscoveryCursor {
  const { cursor, read, head } = pass;
  const floor = floorAfter(pass);
  const known = [...read].flatMap(([id, at]) => (floor === null || at >= floor ? [id] : []));
  const gone = (cursor?.known ?? []).filter((id) => !read.has(id));
  const newest = head?.newest ?? cursor?.newest ?? null;
  return { floor, newest, known: [...known, ...gone.slice(0, MOST_GONE)] };
}

/**
 * The new floor: the first page, and on later pages the overlap, remain known in full. A run with a
 * clock that is ahead lifts the floor at most to the end of its page. The floor never sinks,
 * because runs below it were forgotten.
 */
function floorAfter({ cursor, head, read, isCutShort }: Pass): number | null {
  const before = cursor?.floor ?? null;
  if (head === null || (head.isWhole && before === null)) return before;
  const { newest, oldest } = head;
  if (newest === null || oldest === null) return before;
  const lowest = isCutShort ? Math.min(...read.values()) + 1 : -Infinity;
  return Math.max(before ?? -Infinity, lowest, Math.min(newest - OVERLAP_MS, oldest));
}

/**
 * False for a list that does not begin with the newest runs; discovery cannot use it. The middles of its halves count:
 * some sources give single runs another time than that of their place, as one that was begun again.
 */
export function isNewestFirst({ runs }: DatedPage): boolean {
  const times = runs.map(({ created_at: createdAt }) => Date.parse(createdAt));
  const half = Math.ceil(times.length / 2);
  const [newer, older] = [middleOf(times.slice(0, half)), middleOf(times.slice(-half))];
  return !(newer < older - OVERLAP_MS);
}

/** The middle one of some times; NaN, which nothing is before, for none. */
function middleOf(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? NaN;
}
