import type { PageMark } from '../core/feed/layout.ts';
import type { PageName } from '../core/feed/page-name.ts';
import type { ListPlan } from '../core/feed/plan.ts';
import type { ListOutcome, ListQuestion, RunList } from '../core/feed/run-list.ts';
import type { FallbackReason, ListHint, ListTrust } from '../core/feed/trust.ts';
import type { RequestClaim } from '../poll/schedule.ts';
import type { ListWord } from '../core/feed/word.ts';
import type { StoredWatch } from '../core/watch/watch.ts';

/** Reads pages of lists of one source. */
export interface ListReader {
  readPage(question: ListQuestion): Promise<ListOutcome>;
}

/** The right to read one page; one that is not used is given back. */
export interface PagePermit {
  settle(): void;
  giveBack(): void;
}

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
  word: ListWord;
}

/** What a page leaves behind. */
export interface PageTrace {
  mark: StoredMark;
  hints: { runId: string; hint: ListHint }[];
  /** Runs whose hints are judged. */
  judged: string[];
  /** Ends and waits among them that a single poll has confirmed. */
  confirmed: number;
  checkedAt: number | null;
  trust: ListTrust | null;
}

export interface FeedStore {
  plan(source: string): Promise<StoredPlan | null>;
  read(source: string): Promise<FeedRecord>;
  putPlan(source: string, plan: StoredPlan, forgotten: readonly PageName[]): Promise<void>;
  pageRecord(list: RunList, runIds: readonly string[]): Promise<PageRecord>;
  /** Hints about runs that no single poll has judged. */
  hints(source: string, runIds: readonly string[]): Promise<(ListHint | null)[]>;
  putPage(list: RunList, trace: PageTrace): Promise<void>;
  /** A single poll has contradicted a list. @param at milliseconds since the epoch */
  loseWord(list: RunList, at: number): Promise<void>;
  putTrust(list: RunList, trust: ListTrust): Promise<void>;
  putSize(list: RunList, size: number): Promise<void>;
  /** Active watches of a source with their next polls, a chunk at a time. */
  active(source: string): AsyncIterable<StoredWatch[]>;
}

/** The part of a source's schedule that the feed moves. */
export interface FeedSchedule {
  expedite(members: readonly string[]): Promise<void>;
  /** Claims polls that are made without a request. @returns the claims that it got */
  claimPolls(runIds: readonly string[]): Promise<{ member: string; token: string }[]>;
  settled(claim: { member: string; token: string }, nextMs: number | null): void;
  defer(moves: readonly { runId: string; from: number; to: number }[]): Promise<void>;
  /** Enters members, or makes them due earlier: after so many ms at the latest. */
  enterFeed(
    kind: 'list' | 'plan',
    members: readonly { member: string; withinMs: number }[],
  ): Promise<void>;
  release(
    claim: { member: string; token: string },
    until: { inMs: number } | 'as before' | 'never',
  ): Promise<void>;
  /** @returns false where another process has the claim by now */
  renew(claim: RequestClaim): Promise<boolean>;
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
  durationMs: number;
  /** When it is read again, milliseconds since the epoch. */
  nextAt: number;
}
