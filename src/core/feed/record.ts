import type { StoredWatch } from '../watch/watch.ts';
import type { PageMark } from './page-layout.ts';
import type { FeedPlan } from './plan.ts';
import type { RunList } from './run-list.ts';
import type { FallbackReason, ListHint, ListTrust } from './list-trust.ts';

/** A plan as it is kept: which pages are read, and at what cost. */
export interface StoredPlan extends Omit<FeedPlan, 'singles'> {
  /** When it was made, milliseconds since the epoch. */
  at: number;
  /** How many there were. */
  watches: number;
}

/** A page as it was last read. Milliseconds since the epoch. */
export interface StoredMark extends PageMark {
  at: number;
  /** How many bytes it had. */
  bytes: number;
}

/** What is known of one list. */
export interface ListRecord {
  list: RunList;
  trust: ListTrust | null;
  /** Runs on a page that fits; null for as many as Noxus gives. */
  size: number | null;
  marks: StoredMark[];
  /** Names of marks that are too old to go by: the next plan removes them. */
  oldMarks: string[];
}

/** What a plan removes. */
export interface OldTraces {
  lists: readonly Pick<ListRecord, 'list' | 'oldMarks'>[];
  /** Runs that have hints, and are watched no more. */
  hinted: readonly string[];
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
}

/** What a page leaves behind. */
export interface PageTrace {
  mark: StoredMark;
  hints: { runId: string; hint: ListHint }[];
  /** Runs with judged hints. */
  judged: string[];
  checkedAt: number | null;
  trust: ListTrust | null;
}

/** What one read of a page came to, for log and metrics. */
export interface PageReport {
  list: RunList;
  page: number;
  outcome: 'ok' | 'rate_limited' | FallbackReason;
  /** What is wrong, for people; null where nothing is. */
  message: string | null;
  changed: number;
  unchanged: number;
  /** Runs that were on the page and are in the list no more. */
  vanished: number;
  durationMs: number;
  /** When it is read again, milliseconds since the epoch. */
  nextAt: number;
}
