import type { AttemptOutcome } from '../../core/delivery/delivery.ts';
import type { SentEventType } from '../../core/event/event.ts';

/** One event to deliver. */
export interface Message {
  eventId: string;
  eventType: SentEventType;
  /** The JSON text written with the event; every body is made of it alone. */
  body: string;
}

/** Delivers events to one receiver. Each kind of endpoint has its own. */
export interface Channel {
  /**
   * Makes one attempt. All that the receiver or the network does is an outcome, never a throw.
   * @param signal aborts the attempt, whose outcome is then unknown
   * @param mayStart called right before the first byte is sent; false if another process may have sent
   *   the message meanwhile
   * @throws RunwatchError `attempt_aborted` when aborted before the receiver answered, `claim_too_old`
   *   when `mayStart` returned false
   */
  send(message: Message, signal?: AbortSignal, mayStart?: () => boolean): Promise<AttemptOutcome>;
}

/** The channel and retry schedule of a delivery. */
export interface Route {
  channel: Channel;
  /** Delays in ms after the first, second, … failed attempt. */
  retry: readonly number[];
}

/** One form of a webhook's body. */
export interface BodyKind {
  readonly contentType: string;
  /**
   * Makes the body from an event's JSON text alone, so that every attempt sends the same bytes.
   */
  render(eventText: string): string;
}

/**
 * The fields of an event that bodies read. Events of runs have all of them; `data` of system events has
 * another shape.
 */
export interface SentEvent {
  id: string;
  type: string;
  timestamp: string;
  data: {
    run_id?: string;
    run?: SentRun | null;
    detected_at?: string;
    watch?: { source: string; metadata: Record<string, string> };
    error?: { code: string; message: string } | null;
    reminder?: number;
    waited_ms?: number;
    lasted_ms?: number;
  };
}

export interface SentRun {
  workflow_id: string | null;
  status: string;
  progress: number | null;
  started_at: string | null;
  finished_at: string | null;
  observed_at: string;
}

/** Reads the text of an event that this project wrote. */
export function parseEvent(eventText: string): SentEvent {
  return JSON.parse(eventText) as SentEvent;
}
