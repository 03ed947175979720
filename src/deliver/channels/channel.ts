import type { AttemptOutcome } from '../../core/delivery/delivery.ts';
import type { SentEventType } from '../../core/event/event.ts';

/** What is delivered: one event, as the text that was made of it when the change was seen. */
export interface Message {
  eventId: string;
  eventType: SentEventType;
  /** The JSON text of the event: what is sent is this, or made of this alone. */
  body: string;
}

/** One way of telling somebody. A new kind of endpoint is one more of these. */
export interface Channel {
  /**
   * Makes one attempt. Whatever the receiver or the network does is an outcome, never a throw.
   * @param signal calls the attempt off: nothing is then known about it
   * @param mayStart asked right before the first byte goes out: false where another process may have sent
   *   the message meanwhile
   * @throws RunwatchError `attempt_aborted` when called off before the receiver had answered,
   *   `claim_too_old` when it may not start any more
   */
  send(message: Message, signal?: AbortSignal, mayStart?: () => boolean): Promise<AttemptOutcome>;
}

/** Where a delivery goes and how often it is tried. */
export interface Route {
  channel: Channel;
  /** Delays in ms after the first, second, … failed attempt. */
  retry: readonly number[];
}

/** One form in which a webhook can be told of an event. */
export interface BodyKind {
  readonly contentType: string;
  /**
   * Makes the body of an event's JSON text. A function of nothing else, so that every attempt sends
   * the same bytes.
   */
  render(eventText: string): string;
}

/**
 * What bodies read of an event. Events about runs have all of it; those about runwatch itself, such
 * as a test or an alert, may have data of another shape.
 */
export interface ToldEvent {
  id: string;
  type: string;
  timestamp: string;
  data: {
    run_id?: string;
    run?: ToldRun | null;
    detected_at?: string;
    watch?: { source: string; metadata: Record<string, string> };
    error?: { code: string; message: string } | null;
    reminder?: number;
    waited_ms?: number;
    lasted_ms?: number;
  };
}

export interface ToldRun {
  workflow_id: string | null;
  status: string;
  progress: number | null;
  started_at: string | null;
  finished_at: string | null;
  observed_at: string;
}

/** Reads the text of an event that this project wrote. */
export function parseEvent(eventText: string): ToldEvent {
  return JSON.parse(eventText) as ToldEvent;
}
