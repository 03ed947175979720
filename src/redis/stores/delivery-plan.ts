import { poolOf } from '../../core/delivery/receiver.ts';
import type { Delivery } from '../../core/delivery/delivery.ts';
import { watchId } from '../../core/watch/watch.ts';
import { deliveryIndexes } from '../indexes.ts';
import { ledgerField, type Keys } from '../keys.ts';

/** What `plan` of `lua/plan-deliveries.ts` needs. */
export function deliveryPlan(keys: Keys, deliveries: readonly Delivery[]) {
  return {
    clock: keys.clock,
    deliveryNumber: keys.deliveryNumber,
    deliveryLog: keys.deliveryLog,
    ledger: keys.ledger,
    poolsDue: keys.poolsDue,
    dueBell: keys.dueBell,
    deliveries: deliveries.map((delivery) => plannedDelivery(keys, delivery)),
  };
}

/** What belongs together with a delivery while it is live: those of its watch, or of a system event. */
export function liveDeliveriesOf(keys: Keys, delivery: Delivery): string {
  return delivery.runId === ''
    ? keys.deliveriesOfEvent(delivery.eventId)
    : keys.liveDeliveries(watchId(delivery));
}

/** What the scripts need to know of a delivery that is new. */
function plannedDelivery(keys: Keys, delivery: Delivery) {
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
    count: ledgerField(delivery),
    lane: keys.lane(delivery),
    receiver,
    pool,
    due: keys.due(receiver),
    ...(pool !== receiver && { poolDue: keys.poolDue(pool) }),
  };
}
