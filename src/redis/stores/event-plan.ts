import type { AlertEntry } from '../../core/alert/entry.ts';
import type { Delivery } from '../../core/delivery/delivery.ts';
import { poolOf } from '../../core/delivery/receiver.ts';
import type { PlannedEvent } from '../../core/delivery/outbox.ts';
import { watchId } from '../../core/watch/watch.ts';
import type { OwnEvent } from '../../core/event/event.ts';
import { deliveryIndexes, ownEventIndexes } from '../indexes.ts';
import { countField, type Keys } from '../keys.ts';

/** Entries that may wait to be judged. */
const MOST_ENTRIES = 1_000_000;

/** What `PLAN_DELIVERIES` of `lua/outbox.ts` needs to add deliveries; no key where there are none. */
export function deliveryPlan(keys: Keys, deliveries: readonly Delivery[]) {
  if (deliveries.length === 0) return { deliveries };
  return {
    clock: keys.clock,
    deliveryNumber: keys.deliveryNumber,
    deliveryLog: keys.deliveryLog,
    deliveryCounts: keys.deliveryCounts,
    poolsDue: keys.poolsDue,
    dueBell: keys.dueBell,
    deliveries: deliveries.map((delivery) => newDeliveryPlan(keys, delivery)),
  };
}

/** What belongs together with a delivery while it is live: those of its watch, or of a system event. */
export function liveDeliveriesOf(keys: Keys, delivery: Delivery): string {
  return delivery.runId === ''
    ? keys.deliveriesOfEvent(delivery.eventId)
    : keys.liveDeliveries(watchId(delivery));
}

function newDeliveryPlan(keys: Keys, delivery: Delivery) {
  const receiver = delivery.endpoint;
  const pool = poolOf(receiver);
  return {
    id: delivery.id,
    key: keys.delivery(delivery.id),
    doc: JSON.stringify(delivery),
    event: delivery.eventId,
    ...(delivery.runId !== '' && { watch: keys.watch(delivery) }),
    live: liveDeliveriesOf(keys, delivery),
    indexes: deliveryIndexes(keys, delivery),
    count: countField(delivery),
    ordering: keys.ordering(delivery),
    receiver,
    pool,
    due: keys.due(receiver),
    ...(pool !== receiver && { poolDue: keys.poolDue(pool) }),
  };
}

/** What `enterInbox` of `lua/outbox.ts` needs; null for nothing. */
export function inboxPlan(keys: Keys, entries: readonly AlertEntry[]) {
  if (entries.length === 0) return null;
  return {
    inbox: keys.alertInbox,
    counts: keys.alertCounts,
    most: MOST_ENTRIES,
    entries: entries.map((entry) => JSON.stringify(entry)),
  };
}

/** What `logOwnEvents` of `lua/outbox.ts` needs; nothing where there are no events. */
function ownEventsPlan(keys: Keys, events: readonly { id: string; body: string }[]) {
  if (events.length === 0) return {};
  return {
    own: {
      eventLog: keys.eventLog,
      eventPlace: keys.eventPlace,
      ownEvents: keys.ownEvents,
      epochs: keys.epochs,
      eventBell: keys.eventBell,
      events: events.map(({ id, body }) => ({
        id,
        key: keys.event(id),
        body,
        indexes: ownEventIndexes(keys, JSON.parse(body) as OwnEvent),
      })),
    },
  };
}

/** System events, with what follows from them. */
export function raisedPlan(keys: Keys, events: readonly PlannedEvent[]) {
  const entries = events.flatMap((event) => event.entries ?? []);
  return {
    clock: keys.clock,
    ...ownEventsPlan(keys, events),
    ...(entries.length > 0 && { judged: inboxPlan(keys, entries) }),
    ...deliveryPlan(
      keys,
      events.flatMap(({ deliveries }) => deliveries),
    ),
  };
}
