import type { CadenceContext } from './cadence.ts';
import type { NewMark } from './event-id.ts';
import type { News } from './event.ts';
import type { FetchOutcome } from './outcome.ts';
import type { Watch } from './watch.ts';

/** Limits of polling, in milliseconds. */
export interface PollPolicy {
  minIntervalMs: number;
  maxIntervalMs: number;
  /** How long no answer may tell anything before `watch.unreachable`. */
  unreachableAfterMs: number;
  /** How long 404s must last before `run.gone`. */
  goneAfterMs: number;
  /** When to remind of a run that waits for a human, after it began to; ascending. */
  remindAfterMs: readonly number[];
  /** The least time that a run must be in one state until it is stalled. */
  stallAfterMs: number;
}

/** A poll's result: what a read came to. */
export type Look = FetchOutcome;

export interface ObserveContext extends CadenceContext {
  policy: PollPolicy;
  /** When the look began, milliseconds since the epoch. */
  beganAt: number;
  /** From when the look was due to when it began, ms; 0 where it was punctual. */
  lagMs: number;
  /** Whether a stream tells of the run, so that reads are only there for what it may miss. */
  isStreamed: boolean;
  /** When the source last gave a valid answer, to a second or so; null where that is not known. */
  answeredAt: number | null;
  /** When the source answered again after an outage; null where it has not lately. */
  openSince: number | null;
  /** Whether nothing but probes is asked of the source: when a run is asked for next is up to it. */
  isSourceClosed: boolean;
  /** For the ids of events that may happen more than once. */
  newMark: NewMark;
}

/** What a look adds to a watch, before it is numbered and scheduled. */
export interface Finding {
  changes: Partial<Watch>;
  news: News[];
  /** When to look again, milliseconds since the epoch; ignored once the watch has ended. */
  nextPollAt: number;
  /** True where this may be the source's trouble: nothing shows that it answers for other runs. */
  isDoubtful?: boolean;
}
