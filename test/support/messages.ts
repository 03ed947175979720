import type { Message } from '../../src/deliver/channels/channel.ts';
import type { SentEvent } from '../../src/deliver/channels/notice/sent-event.ts';

/** The message that covers these events. */
export function messageOf(event: SentEvent, ...others: SentEvent[]): Message {
  return {
    eventId: event.id,
    eventType: event.type as Message['eventType'],
    body: JSON.stringify(event),
    ...(others.length > 0 && {
      others: others.map((other) => ({ eventId: other.id, body: JSON.stringify(other) })),
    }),
  };
}

/** Remembers where messages about alerts stand, in this process alone. */
export function alertMessages(kept = new Map<string, string>()) {
  return {
    get: async (endpoint: string, alertId: string) => kept.get(`${endpoint} ${alertId}`) ?? null,
    put: async (endpoint: string, alertId: string, message: string) => {
      kept.set(`${endpoint} ${alertId}`, message);
    },
  };
}
