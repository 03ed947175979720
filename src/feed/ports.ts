import type { HeldStream, ReadMove } from '../core/feed/run-stream.ts';
import type {
  ListRecord,
  OldTraces,
  PageRecord,
  PageTrace,
  StoredPlan,
} from '../core/feed/record.ts';
import type { ListOutcome, ListQuestion, RunList } from '../core/feed/run-list.ts';
import type { StreamCapacity } from '../core/feed/stream-capacity.ts';
import type { TransitionKind } from '../core/feed/stream-hint.ts';
import type { RememberedKind, StreamTrust } from '../core/feed/stream-trust.ts';
import type { ListHint, ListTrust } from '../core/feed/list-trust.ts';
import type { Schedule } from '../poll/schedule.ts';
import type { StoredWatch } from '../core/watch/watch.ts';

/** Reads pages of lists of one source. */
export interface ListReader {
  readPage(question: ListQuestion): Promise<ListOutcome>;
}

export interface FeedStore {
  plan(source: string): Promise<StoredPlan | null>;
  /** @param since marks of pages that were read before, ms since the epoch, are too old */
  read(lists: readonly RunList[], since: number): Promise<ListRecord[]>;
  putPlan(source: string, plan: StoredPlan, old: OldTraces): Promise<void>;
  /** @param isBare watches without metadata */
  pageRecord(list: RunList, runIds: readonly string[], isBare: boolean): Promise<PageRecord>;
  /** Hints about runs that no single poll has judged. */
  hints(source: string, runIds: readonly string[]): Promise<(ListHint | null)[]>;
  /** The runs with such hints. */
  hintedRuns(source: string): Promise<string[]>;
  putPage(list: RunList, trace: PageTrace): Promise<void>;
  putTrust(list: RunList, trust: ListTrust): Promise<void>;
  putSize(list: RunList, size: number): Promise<void>;
  /** Active watches of a source with their next polls, a chunk at a time. */
  active(source: string, isBare: boolean): AsyncIterable<StoredWatch[]>;
}

/** The part of a source's schedule that the list feed moves. */
export type FeedSchedule = Pick<Schedule, 'expedite' | 'defer' | 'enterFeed' | 'release'>;

/** Which runs have streams, of all processes. */
export interface StreamSurvey {
  isStreamed(runId: string): boolean;
  /** Whether the reads of a run are left to its stream. */
  isRelied(runId: string): boolean;
}

/** The event streams of all processes, and how far they are believed. */
export interface StreamStore {
  /** @returns false where the run is streamed already, or as many are as may be */
  take(source: string, runId: string, process: string, most: number): Promise<boolean>;
  /**
   * Notes what a stream is to other processes, and moves the next read of its run in the same step.
   * @returns false where the process holds the run no more
   */
  note(
    source: string,
    runId: string,
    noted: { held: HeldStream; move: ReadMove | null },
  ): Promise<boolean>;
  /**
   * Gives runs back, and makes their reads due in this order in the same step: of all, or of those that
   * were left to their streams. @returns how many reads that were
   */
  release(
    source: string,
    released: { process: string; runIds: readonly string[] },
    after: { reads: 'all' | 'relied'; everyMs: number },
  ): Promise<number>;
  /** The processes that are alive, by their heartbeats; some may be dead and not be judged yet. */
  processes(): Promise<ReadonlySet<string>>;
  count(source: string): Promise<number>;
  held(source: string, runId: string): Promise<HeldStream | null>;
  all(source: string): Promise<Map<string, HeldStream>>;
  capacity(source: string): Promise<StreamCapacity>;
  /** @param change returns the same object where nothing is to change */
  changeCapacity(
    source: string,
    change: (capacity: StreamCapacity) => StreamCapacity,
  ): Promise<StreamCapacity>;
  addReport(
    source: string,
    report: { workflowId: string; kind: RememberedKind; isReported: boolean },
  ): Promise<void>;
  trust(source: string): Promise<StreamTrust>;
  /** Counts by what a transition became known first. */
  countKnown(source: string, kind: TransitionKind, by: string): Promise<void>;
  counts(source: string): Promise<{ kind: string; by: string; count: number }[]>;
}

/** The part of a source's schedule that streams move. */
export interface StreamSchedule extends Pick<
  Schedule,
  'expedite' | 'enterFeed' | 'release' | 'entered'
> {
  /** How many polls are due that something asked for. */
  countPrompt(): Promise<number>;
  /** How many streams wait to be opened. */
  countStreams(): Promise<number>;
}

/** How the streams of a source stand. */
export interface StreamFigures {
  open: number;
  /** Those that are open, and those that this process would open. */
  wanted: number;
  allowed: number;
  /** Until when none is opened, ms since the epoch; null where they may be. */
  refusedUntil: number | null;
  /** Kinds of transitions that streams are not believed to report; null where none was shown yet. */
  doubted: TransitionKind[] | null;
  /** How often a transition became known first by a hint of a stream or list, or by a read. */
  known: { kind: string; by: string; count: number }[];
}
