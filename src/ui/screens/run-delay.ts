import type { DeliveryDetail, EventView, Poll, Timeline } from '../api/types.ts';

/** One stretch of the way from a change to its receiver. */
export interface Stretch {
  name: 'waiting for the poll' | 'the poll' | 'the relay' | 'retries' | 'the receiver';
  ms: number;
}

/** How late a receiver was told of a change, and where the time went. */
export interface Delay {
  event: EventView;
  /** Null where the event goes to no receiver. */
  delivery: DeliveryDetail | null;
  stretches: readonly Stretch[];
  /** From the change to the receiver's answer, ms; null while it has not answered. */
  totalMs: number | null;
}

/** The delays of everything that was sent, oldest first. */
export function delaysOf({ events, deliveries, polls }: Timeline): Delay[] {
  return events.flatMap((event): Delay[] => {
    const sent = deliveries.filter(({ event_id: id }) => id === event.id);
    const before = detection(event, polls);
    if (sent.length === 0) return [{ event, delivery: null, stretches: before, totalMs: null }];
    return sent.map((delivery) => {
      const stretches = [...before, ...sending(event, delivery)];
      const isDone = delivery.delivered_at !== null;
      const totalMs = isDone ? stretches.reduce((sum, { ms }) => sum + ms, 0) : null;
      return { event, delivery, stretches, totalMs };
    });
  });
}

/** From the change, by Noxus's account, to our seeing it; nothing where Noxus gives no time. */
function detection({ timestamp, data }: EventView, polls: readonly Poll[]): Stretch[] {
  const [happened, detected] = [Date.parse(timestamp), Date.parse(data.detected_at)];
  const poll = polls.findLast(
    ({ at, outcome }) => Date.parse(at) <= detected && outcome !== 'throttled',
  );
  const pollAt = poll === undefined ? null : Date.parse(poll.at);
  if (detected <= happened) return [];
  if (pollAt === null || pollAt <= happened) {
    return [{ name: 'waiting for the poll', ms: detected - happened }];
  }
  return [
    { name: 'waiting for the poll', ms: pollAt - happened },
    { name: 'the poll', ms: detected - pollAt },
  ];
}

/** From our seeing a change to the receiver's answer. */
function sending({ data }: EventView, { attempts }: DeliveryDetail): Stretch[] {
  const [first] = attempts;
  const last = attempts.at(-1);
  if (first === undefined || last === undefined) return [];
  const relay = Math.max(0, Date.parse(first.at) - Date.parse(data.detected_at));
  const retries = Date.parse(last.at) - Date.parse(first.at);
  return [
    { name: 'the relay', ms: relay },
    ...(retries > 0 ? [{ name: 'retries', ms: retries } as const] : []),
    { name: 'the receiver', ms: last.duration_ms },
  ];
}
