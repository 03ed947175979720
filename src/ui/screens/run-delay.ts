import { groupBy } from '../../core/arrays.ts';
import { deliveryText } from '../../core/delivery/state.ts';
import type { Timeline, TimelineDelivery, TimelineEvent } from '../api/types.ts';
import { eventText, lengthText } from '../parts/format.ts';

/** One stretch of the way from a change to its receiver. */
export interface Stretch {
  name: 'waiting for the poll' | 'the poll' | 'the relay' | 'retries' | 'the receiver';
  ms: number;
}

/** How late a receiver got a change, and where the time went. */
export interface Delay {
  event: TimelineEvent;
  /** Null where the event goes to no receiver. */
  delivery: TimelineDelivery | null;
  stretches: readonly Stretch[];
  /** From the change to the receiver's answer, ms; null while it has not answered. */
  totalMs: number | null;
}

/** One with a receiver. */
export type Delivered = Delay & { delivery: TimelineDelivery };

/** How late the events of one endpoint arrived: `failed 1.2 s later, at most 9 s, 1 waiting`. */
export function latenessText(delays: readonly Delivered[]): string {
  const last = delays.at(-1);
  if (last === undefined) return '';
  const { event, delivery, totalMs } = last;
  const times = delays.flatMap((one) => one.totalMs ?? []);
  const others = groupBy(
    delays.filter((one) => one !== last && one.totalMs === null),
    (one) => deliveryText(one.delivery.state),
  );
  return [
    totalMs === null
      ? `${eventText(event.type)}: ${deliveryText(delivery.state)}`
      : `${eventText(event.type)} ${lengthText(totalMs)} later`,
    ...(times.length > 1 ? [`at most ${lengthText(Math.max(...times))}`] : []),
    ...[...others].map(([word, its]) => `${its.length} ${word}`),
  ].join(', ');
}

/** The delays of everything that was sent, oldest first. */
export function delaysOf({ events, deliveries }: Timeline): Delay[] {
  return events.flatMap((event): Delay[] => {
    const sent = deliveries.filter(({ event_id: id }) => id === event.id);
    const before = detection(event);
    if (sent.length === 0) return [{ event, delivery: null, stretches: before, totalMs: null }];
    return sent.map((delivery) => {
      const stretches = [...before, ...sending(delivery)];
      const isDone = delivery.delivered_at !== null;
      const totalMs = isDone ? stretches.reduce((sum, { ms }) => sum + ms, 0) : null;
      return { event, delivery, stretches, totalMs };
    });
  });
}

/** From the change, by the source's account, to our seeing it; nothing where it gives no time. */
function detection({ waiting_ms: waiting, poll_ms: poll }: TimelineEvent): Stretch[] {
  return [
    ...(waiting === null ? [] : [{ name: 'waiting for the poll', ms: waiting } as const]),
    ...(poll === null ? [] : [{ name: 'the poll', ms: poll } as const]),
  ];
}

/** From our seeing a change to the receiver's answer. */
function sending({ attempts, relay_ms: relay }: TimelineDelivery): Stretch[] {
  const [first] = attempts;
  const last = attempts.at(-1);
  if (first === undefined || last === undefined) return [];
  const retries = Date.parse(last.at) - Date.parse(first.at);
  return [
    { name: 'the relay', ms: relay ?? 0 },
    ...(retries > 0 ? [{ name: 'retries', ms: retries } as const] : []),
    { name: 'the receiver', ms: last.duration_ms },
  ];
}
