import type { AttemptOutcome } from '../core/delivery.ts';
import type { EventType } from '../core/event.ts';

/** An event on its way to one receiver. */
export interface Message {
  eventId: string;
  eventType: EventType;
  /** The exact JSON text of the event. */
  body: string;
}

/** A way to one receiver. Failures are outcomes; a channel throws only for faults of our own. */
export interface Channel {
  send(message: Message, signal?: AbortSignal): Promise<AttemptOutcome>;
}
