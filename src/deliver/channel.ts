import type { AttemptOutcome } from '../core/delivery/delivery.ts';
import type { SentEventType } from '../core/event/event.ts';

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
