import { isoTime } from '../event/event.ts';
import { isTerminalStatus } from '../run/snapshot.ts';
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

/** Most pages of the first pass, which finds the runs that are active already, or those since a time. */
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
  /** Absent in a cursor of an earlier version. */
  first?: FirstPass;
  /** Runs that the first pass found waiting; absent once a notice has named them all. */
  waits?: FoundWaits;
}

/** What the first pass over a list came to. Times are milliseconds since the epoch. */
export interface FirstPass {
  at: number;
  /** From when on it took runs that had ended, too: a time of the source, or that of the pass. */
  since: number;
  /** Runs that it took. */
  taken: number;
  /** Of these, how many waited for a human. */
  waiting: number;
  /** Runs that had ended, and that it did not take. */
  leftOut: number;
  /** The creation of the oldest run that it read, where the list goes on below; null where it read them all. */
  cutShortAt: number | null;
}

/** Runs that the first pass found waiting. */
export interface FoundWaits {
  /** Since when polls are to confirm them, milliseconds since the epoch. */
  at: number;
  /** Runs that no notice has named. */
  runIds: string[];
  /** Runs that a notice has named while their watches still ask for it. */
  notified: string[];
}

/** One pass over a list, from its newest run down to the known ones. */
export interface Pass {
  /** Null on the first pass, which takes the runs that `since` admits. */
  cursor: DiscoveryCursor | null;
  /** Runs created before this are old, ms since the epoch. Null: the first pass takes those that have not ended. */
  since: number | null;
  /** How many pages of the list can be read. */
  pages: number;
  /** Runs read so far, with their creation times. */
  read: ReadonlyMap<string, number>;
  /** How many of them were new. */
  taken: number;
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
    taken: 0,
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
  const isCutShort = pass.cursor === null && isCutAt(page, isBottom || number >= FIRST_PAGES);
  // A first page that was cut short is read again, and its runs are not new then.
  const before = number === 1 && pass.endsFresh;
  const endsFresh = before || (fresh.length > 0 && fresh.at(-1) === page.runs.at(-1));
  const isUnsettled = pass.isUnsettled || (number > 1 && (fresh.length > 0 || pass.endsFresh));
  const taken = pass.taken + fresh.length;
  const next = { ...pass, head, read, taken, endsFresh, isUnsettled, isCutShort };
  return { pass: next, fresh, isComplete: isBottom || isComplete(next, page) };
}

function isCutAt({ isLast }: DatedPage, isLastRead: boolean): boolean {
  return isLastRead && !isLast;
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

function isFresh({ cursor, since, read }: Pass, { id, status, created_at }: DatedRun): boolean {
  if (read.has(id)) return false;
  const createdAt = Date.parse(created_at);
  if (cursor === null) return since === null ? !isTerminalStatus(status) : createdAt >= since;
  if (cursor.known.includes(id) || createdAt < (since ?? -Infinity)) return false;
  return cursor.floor === null || createdAt >= cursor.floor;
}

/** Whether a page reaches down to known or old runs, and beyond the overlap. */
function isDeepEnough({ cursor, since, head }: Pass, { runs }: DatedPage): boolean {
  const last = runs.at(-1);
  if (last === undefined) return true;
  const createdAt = Date.parse(last.created_at);
  const lowest = ((cursor ?? head)?.newest ?? -Infinity) - OVERLAP_MS;
  // An active run may be of any age.
  if (cursor === null) return createdAt < Math.min(lowest, since ?? -Infinity);
  if (cursor.floor !== null && createdAt < cursor.floor) return true;
  return createdAt < lowest && cursor.known.includes(last.id);
}

/** The oldest run that a first pass read where it would take older ones that may exist; null for none. */
function oldestTaken({ cursor, since, isCutShort, read }: Pass): number | null {
  if (cursor !== null || !isCutShort || read.size === 0) return null;
  const oldest = Math.min(...read.values());
  return oldest >= (since ?? -Infinity) ? oldest : null;
}

/** Whether a list is to be read as at first, since it is to give runs that are older than its first pass took. */
export function reachesFurtherBack(
  { first }: DiscoveryCursor,
  { since }: Pick<Pass, 'since'>,
): boolean {
  return since !== null && first !== undefined && since < first.since;
}

/**
 * The cursor after a first pass.
 * @param cursor as {@link cursorAfter} gives it
 * @param found the runs that were found waiting, by their watches
 * @param before the waits of the cursor before a further first pass
 */
export function withFirstPass(
  cursor: DiscoveryCursor,
  pass: Pass,
  found: readonly string[],
  { before, now }: { before: FoundWaits | undefined; now: number },
): DiscoveryCursor & { first: FirstPass } {
  const { runIds = [], notified = [] } = before ?? {};
  const waiting = found.filter((id) => !notified.includes(id));
  const first = firstPassOf(pass, waiting.length, now);
  const waits = { at: now, runIds: [...new Set([...runIds, ...waiting])], notified };
  return { ...withWaits(cursor, waits), first };
}

/** The cursor with the waits that are left. */
export function withWaits(cursor: DiscoveryCursor, waits: FoundWaits): DiscoveryCursor {
  const { waits: _before, ...others } = cursor;
  const isOver = waits.runIds.length === 0 && waits.notified.length === 0;
  return isOver ? others : { ...others, waits };
}

function firstPassOf(pass: Pass, waiting: number, now: number): FirstPass {
  return {
    at: now,
    since: pass.since ?? now,
    taken: pass.taken,
    waiting,
    leftOut: pass.since === null ? pass.read.size - pass.taken : 0,
    cutShortAt: oldestTaken(pass),
  };
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

/** How to take the runs that a first pass left out. */
export function leftOutHelp({ leftOut, cutShortAt }: FirstPass): string {
  const ended =
    leftOut === 0
      ? []
      : [
          'to take runs that had ended, set discover.since of the source to a time: those created since then are watched',
        ];
  const older =
    cutShortAt === null
      ? []
      : ['register runs that are older than the oldest one read by their ids'];
  return [...ended, ...older].join('; ') || 'nothing: no run was left out';
}

/** What the first pass over a list came to, and how to take what it left out. */
export function discoveryText(cursor: DiscoveryCursor | null): string {
  if (cursor === null) return 'discovery has not read the list to its end yet';
  const { first } = cursor;
  if (first === undefined) return 'discovery watches the runs that begin';
  const { taken, waiting, leftOut, cutShortAt } = first;
  const what = [
    `discovery began with ${taken === 1 ? '1 run' : `${taken} runs`}`,
    ...(waiting === 0 ? [] : [`${waiting} of them waiting for a human`]),
    ...(leftOut === 0 ? [] : [`and left out ${leftOut} that had ended`]),
    ...(cutShortAt === null ? [] : [`and read the list back to ${isoTime(cutShortAt)}`]),
  ];
  const isWhole = leftOut === 0 && cutShortAt === null;
  return `${what.join(', ')}${isWhole ? '' : `; ${leftOutHelp(first)}`}`;
}

/** What discovery remembers after a complete pass; of a first one, besides, what that came to. */
export function cursorAfter(pass: Pass): DiscoveryCursor {
  const { cursor, read, head } = pass;
  const floor = floorAfter(pass);
  const known = [...read].flatMap(([id, at]) => (floor === null || at >= floor ? [id] : []));
  const gone = (cursor?.known ?? []).filter((id) => !read.has(id));
  const newest = head?.newest ?? cursor?.newest ?? null;
  return { ...cursor, floor, newest, known: [...known, ...gone.slice(0, MOST_GONE)] };
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
