import type { ListedRun, RunPage } from './run-list.ts';

/** A listed run of which Noxus says when it was created: without that, new ones cannot be told from old. */
interface DatedRun extends ListedRun {
  created_at: string;
}

/** The part of a page that discovery can use. */
export interface DatedPage extends RunPage {
  runs: DatedRun[];
}

/** @returns null where no run of the page has a date although there are some */
export function datedPage(page: RunPage): DatedPage | null {
  const runs = page.runs.filter((run): run is DatedRun => run.created_at !== null);
  return runs.length === 0 && page.runs.length > 0 ? null : { ...page, runs };
}

/**
 * Runs may turn up in a list this much later than their creation says, ms: lists lag, and the clocks
 * of those who create runs differ. At least so far back a list is read again and again.
 */
const OVERLAP_MS = 60_000;

/** Pages of the first reading at the most: it has only to say what was there before. */
const FIRST_PAGES = 10;

/** Runs that stay known although they are no longer on the pages that are read. */
const MOST_GONE = 500;

/** The ids that a watch can have. */
const RUN_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/**
 * What is known of a list: every run on it that was created at the floor or later. Times are Noxus's
 * own and are compared with nothing else, as milliseconds since the epoch.
 */
export interface DiscoveryCursor {
  /** Runs created before this are old news; null while every run of the list is known. */
  floor: number | null;
  /** When the newest run was created; null where there was none. */
  newest: number | null;
  known: string[];
}

/** One reading of a list, from its newest run down to what is known. */
export interface Pass {
  /** Null on the very first reading, by which everything is old news. */
  cursor: DiscoveryCursor | null;
  /** Runs that were read, by when they were created. */
  read: ReadonlyMap<string, number>;
  /** The first page as it was at the beginning; null before that. */
  head: Head | null;
  /** True once something new turned up on a later page: pages may have shifted, so look again. */
  isUnsettled: boolean;
  /** True once a first reading has gone deep enough without coming to an end. */
  isCutShort: boolean;
}

interface Head {
  /** When its newest and its oldest run were created; null where there is none. */
  newest: number | null;
  oldest: number | null;
  /** True where it is the only page. */
  isWhole: boolean;
}

export function beginPass(cursor: DiscoveryCursor | null): Pass {
  return { cursor, read: new Map(), head: null, isUnsettled: false, isCutShort: false };
}

/** The same reading once more, to find what the shifting of pages may have hidden. */
export function repeatPass(pass: Pass): Pass {
  return { ...pass, isUnsettled: false };
}

/** What a page adds to a reading. */
interface PassStep {
  pass: Pass;
  /** Runs that were not there before, in the order of the page. */
  fresh: DatedRun[];
  /** True when nothing that matters is further down. */
  isComplete: boolean;
}

/** Takes in a page. @param number the page's number, from 1 */
export function takePage(pass: Pass, page: DatedPage, number: number): PassStep {
  const head = pass.head ?? headOf(page);
  const fresh = page.runs.filter((run) => isFresh(pass, run));
  const read = new Map([
    ...pass.read,
    ...page.runs.map(({ id, created_at }) => entry(id, created_at)),
  ]);
  const isCutShort = pass.cursor === null && number >= FIRST_PAGES;
  const isUnsettled = pass.isUnsettled || (number > 1 && fresh.length > 0);
  const next = { ...pass, head, read, isUnsettled, isCutShort };
  return { pass: next, fresh, isComplete: page.isLast || isCutShort || isDeepEnough(next, page) };
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

function isFresh({ cursor, read }: Pass, { id, created_at: createdAt }: DatedRun): boolean {
  if (cursor === null || read.has(id) || cursor.known.includes(id) || !RUN_ID.test(id))
    return false;
  return cursor.floor === null || Date.parse(createdAt) >= cursor.floor;
}

/** Whether a page reaches down to runs that were dealt with, and beyond the overlap. */
function isDeepEnough({ cursor, head }: Pass, { runs }: DatedPage): boolean {
  const last = runs.at(-1);
  if (last === undefined) return true;
  const createdAt = Date.parse(last.created_at);
  const newest = (cursor ?? head)?.newest ?? -Infinity;
  if (createdAt < (cursor?.floor ?? -Infinity)) return true;
  return createdAt < newest - OVERLAP_MS && (cursor?.known.includes(last.id) ?? true);
}

/** What is known after a reading that is complete. */
export function cursorAfter(pass: Pass): DiscoveryCursor {
  const { cursor, read, head } = pass;
  const floor = floorAfter(pass);
  const known = [...read].flatMap(([id, at]) => (floor === null || at >= floor ? [id] : []));
  const gone = (cursor?.known ?? []).filter((id) => !read.has(id));
  const newest = head?.newest ?? cursor?.newest ?? null;
  return { floor, newest, known: [...known, ...gone.slice(0, MOST_GONE)] };
}

/**
 * All of the first page is known, and on later ones all that is within the overlap. One run whose
 * clock is ahead of the others' lifts the floor no further than to the end of its page. It never
 * sinks: what is known of runs below it was forgotten.
 */
function floorAfter({ cursor, head, read, isCutShort }: Pass): number | null {
  const before = cursor?.floor ?? null;
  if (head === null || (head.isWhole && before === null)) return before;
  const { newest, oldest } = head;
  if (newest === null || oldest === null) return before;
  const lowest = isCutShort ? Math.min(...read.values()) + 1 : -Infinity;
  return Math.max(before ?? -Infinity, lowest, Math.min(newest - OVERLAP_MS, oldest));
}

/** False for a list that does not begin with the newest runs: new ones could not be found in it. */
export function isNewestFirst({ runs }: DatedPage): boolean {
  const [first, last] = [runs.at(0), runs.at(-1)];
  if (first === undefined || last === undefined) return true;
  return Date.parse(first.created_at) >= Date.parse(last.created_at) - OVERLAP_MS;
}
