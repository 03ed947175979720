import type { ReadTimes } from '../source/read-times.ts';
import type { StoredWatch } from '../watch/watch.ts';
import type { PageMark } from './layout.ts';
import type { ListPlan } from './plan.ts';
import type { ListHint, ListTrust, ListWord } from './list-trust.ts';

/** A plan as it is kept: which pages are read, and at what cost. */
export interface StoredPlan {
  /** When it was made, milliseconds since the epoch. */
  at: number;
  /** How many there were. */
  watches: number;
  costMultiplier: number;
  pageMultiplier: number;
  spending: number;
  /** Requests each ms with which all runs would be read as promptly as profiles ask for. */
  wantedPerMs: number;
  /** How often runs are read. */
  reads: ReadTimes;
  /** Over how long first reads are spread of runs that a list shows going on, ms; 0 for at once. */
  firstReadsMs: number;
  backstopMs: number;
  lists: ListPlan[];
}

/** A page as it was last read. Milliseconds since the epoch. */
export interface StoredMark extends PageMark {
  at: number;
  /** How many bytes it had. */
  bytes: number;
}

/** What is known of one list. */
export interface ListRecord {
  trust: ListTrust | null;
  /** Runs on a page that fits; null for as many as Noxus gives. */
  size: number | null;
  marks: StoredMark[];
}

/** All that a plan goes by. */
export interface FeedRecord {
  plan: StoredPlan | null;
  lists: Map<string | null, ListRecord>;
}

/** What a page is taken in with. */
export interface PageRecord {
  /** The watches of the runs on it; null for runs that are not watched. Their next polls are known. */
  watches: (StoredWatch | null)[];
  /** Hints about them that no single poll has judged. */
  hints: (ListHint | null)[];
  trust: ListTrust | null;
  /** When a single poll last checked the list; 0 for never. */
  checkedAt: number;
  /** When the page was read last; null for never. */
  readAt: number | null;
  word: ListWord;
}

/** What a page leaves behind. */
export interface PageTrace {
  mark: StoredMark;
  hints: { runId: string; hint: ListHint }[];
  /** Runs with judged hints. */
  judged: string[];
  /** Ends and waits among them that a single poll has confirmed. */
  confirmed: number;
  checkedAt: number | null;
  trust: ListTrust | null;
}
