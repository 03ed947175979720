import type { AttemptOutcome } from '../../core/delivery/delivery.ts';
import { RunwatchError } from '../../core/errors.ts';
import type { SentEventType } from '../../core/event/event.ts';
import { parseEvent, type SentEvent } from './notice/sent-event.ts';

/** One event to deliver. */
export interface Message {
  eventId: string;
  eventType: SentEventType;
  /** The JSON text written with the event; every body is made of it alone. */
  body: string;
  /** Further events of the same type that the message covers too, for channels that fold. */
  others?: readonly Pick<Message, 'eventId' | 'body'>[];
  /** By which the receiver may continue the trace of the run; absent where it has none. */
  traceparent?: string;
}

/** The events that a message covers. */
export function eventsOf({ body, others = [] }: Message): [SentEvent, ...SentEvent[]] {
  return [parseEvent(body), ...others.map((other) => parseEvent(other.body))];
}

/** Delivers events to one receiver. Each kind of endpoint has its own. */
export interface Channel {
  /**
   * Makes one attempt. All that the receiver or the network does is an outcome, never a throw.
   * @param signal aborts the attempt; its outcome is then unknown
   * @param mayStart called right before the first byte is sent; false if another process may have sent
   *   the message meanwhile
   * @throws RunwatchError `attempt_aborted` when aborted before the receiver answered, `claim_too_old`
   *   when `mayStart` returned false, `log_unwritable` where this process cannot write its log,
   *   `host_exhausted` where this host could open no connection
   */
  send(message: Message, signal?: AbortSignal, mayStart?: () => boolean): Promise<AttemptOutcome>;
  /**
   * The headers that an attempt at a time (ms since the epoch) sends, each credential as {@link MASKED}.
   * Those of the connection and `traceparent` are left out. Absent for kinds without requests.
   */
  shownHeaders?: (eventId: string, atMs: number) => Record<string, string>;
}

const WITHOUT_RESULT = [
  'claim_too_old',
  'attempt_aborted',
  'log_unwritable',
  'host_exhausted',
] as const;

/**
 * The error of an attempt that has no result to write: another process may have sent the message by now,
 * this one stopped before the receiver answered, its log cannot be written, or this host is short.
 */
export function withoutResult(
  code: (typeof WITHOUT_RESULT)[number],
  message = 'the attempt has no result',
): RunwatchError {
  return new RunwatchError(message, { code, retriable: true });
}

export function isWithoutResult(error: unknown): error is RunwatchError {
  return error instanceof RunwatchError && WITHOUT_RESULT.some((code) => code === error.code);
}

/** Shown in place of a credential. */
export const MASKED = '…';

/** The channel and retry schedule of a delivery. */
export interface Route {
  channel: Channel;
  /** Delays in ms after the first, second, … failed attempt. */
  retry: readonly number[];
}
