import type { CadenceContext } from '../cadence/cadence.ts';
import type { EventDraft } from '../event/event.ts';
import type { NewMark } from '../event/ids.ts';
import type { LinksOf } from '../run/links.ts';
import type { RunNodes } from '../run/nodes.ts';
import type { ClosedSource } from '../source/throttle.ts';
import type { PollMode } from './poll-history.ts';
import type { Watch } from './watch.ts';

/** Limits of polling, in milliseconds. */
export interface PollPolicy {
  minIntervalMs: number;
  maxIntervalMs: number;
  /** How long polls may go without a valid answer before `watch.unreachable`. */
  unreachableAfterMs: number;
  /** How long 404s must last before `run.gone`. */
  goneAfterMs: number;
  /**
   * Delays of the reminders for a run that waits for a human, from the start of the wait;
   * ascending.
   */
  remindAfterMs: readonly number[];
  /** The shortest dwell time in one state before a run can count as stalled. */
  stallAfterMs: number;
}

export interface ObserveContext extends CadenceContext {
  /** What texts call the source. */
  label: string;
  policy: PollPolicy;
  /** When the poll began, milliseconds since the epoch. */
  beganAt: number;
  /** How the poll was made. */
  mode: PollMode;
  /** From when the poll was due to its start, ms; 0 where it was punctual. */
  lagMs: number;
  /** Whether a stream gives hints about the run, so that polls only catch what it misses. */
  isStreamed: boolean;
  /** Where the run stands, by its stream; null where none has said so. */
  nodes: RunNodes | null;
  /** When the source last gave a valid answer, accurate to about a second; null where unknown. */
  answeredAt: number | null;
  /** When the source answered again after an outage; null where there was none recently. */
  openSince: number | null;
  /**
   * Why the source is closed to everything but probes, so that probes decide when this run is polled;
   * null while it takes requests.
   */
  closedFor: ClosedSource['reason'] | null;
  /** False where polls of the source's runs contradict one another again and again. */
  isConsistent: boolean;
  /** The names and addresses that events say. */
  linksOf: LinksOf;
  /** Gives marks for the ids of events that may repeat. */
  newMark: NewMark;
}

/**
 * What a poll result changes in a watch, before events get numbers and the next poll is scheduled.
 */
export interface ObservationDraft {
  changes: Partial<Watch>;
  news: EventDraft[];
  /** When the next poll is due, milliseconds since the epoch; ignored once the watch has ended. */
  nextPollAt: number;
  /** From when on requests that are left over may poll the run; absent for not before `nextPollAt`. */
  spareAt?: number | null;
  /** True where the source itself may be failing: nothing shows that it answers for other runs. */
  isDoubtful?: boolean;
  /** True where the poll contradicts the one before. */
  isContradiction?: boolean;
}

/** The limits of polling where nothing is configured; without reminders and stalls. */
export const DEFAULT_POLICY: PollPolicy = {
  minIntervalMs: 1_000,
  maxIntervalMs: 60_000,
  unreachableAfterMs: 120_000,
  goneAfterMs: 60_000,
  remindAfterMs: [],
  stallAfterMs: Infinity,
};
