import {
  isOutstanding,
  type Attempt,
  type Delivery,
  type StoredDelivery,
} from '../core/delivery.ts';
import type { Gate, GateLimits, StoredGate } from '../core/gate.ts';
import { placeKeys } from './gate-store.ts';
import { deliveryIndexes, ledgerField, plannedDelivery, type Keys } from './keys.ts';

/** Attempts kept of one delivery; older ones are dropped. */
const ATTEMPTS_KEPT = 50;

/**
 * The gate of an origin is kept this long after the last attempt there: per-watch webhooks may go to
 * any number of origins. Those of configured endpoints are kept for good.
 */
const ORIGIN_KEPT_MS = 30 * 86_400_000;

/** A delivery that moves on. */
export interface DeliveryMove {
  before: StoredDelivery;
  after: Delivery;
  /** What was tried, where something was. */
  attempt?: Attempt;
  gate: StoredGate;
  /** What the gate becomes; absent where nothing was learned of the endpoint. */
  gateAfter?: Gate;
  limits: GateLimits;
  /** What operators are told because of it. */
  alerts?: { id: string; body: string; delivery: Delivery }[];
  now: number;
}

/** What the script has to do besides writing the document. */
export function moveEffects(keys: Keys, move: DeliveryMove) {
  const { before, after, attempt, now, alerts = [] } = move;
  const old = deliveryIndexes(keys, before.delivery);
  const next = deliveryIndexes(keys, after);
  const outstanding = isOutstanding(after.state);
  return {
    id: after.id,
    now,
    attempts: keys.attempts(after.id),
    ...(attempt !== undefined && { attempt: JSON.stringify(attempt) }),
    attemptsKept: ATTEMPTS_KEPT,
    leave: old.filter((index) => !next.includes(index)),
    enter: next.filter((index) => !old.includes(index)),
    ledger: keys.ledger,
    countFrom: ledgerField(before.delivery),
    countTo: ledgerField(after),
    isParked: after.state === 'parked',
    isOutstanding: outstanding,
    joins: outstanding && !isOutstanding(before.delivery.state),
    ...(after.nextAttemptAt !== null && { dueAt: after.nextAttemptAt }),
    outbox: keys.outbox,
    lane: keys.lane(after),
    settled: keys.deliveriesSettled,
    gate: gateEffects(keys, move),
    alerts: alerts.map(({ id, body }) => ({ key: keys.event(id), body })),
    deliveryNumber: keys.deliveryNumber,
    deliveries: alerts.map(({ delivery }) => plannedDelivery(keys, delivery)),
  };
}

function gateEffects(keys: Keys, { gate, gateAfter, limits, now }: DeliveryMove) {
  return {
    ...placeKeys(keys, gate.name, limits, now),
    key: keys.gate(gate.name),
    version: gate.version,
    ...(gateAfter !== undefined && { doc: JSON.stringify(gateAfter) }),
    ...(URL.canParse(gate.name) && { keptMs: ORIGIN_KEPT_MS }),
    probe: keys.probe(gate.name),
    parked: keys.parked(gate.name),
    gatesParked: keys.gatesParked,
  };
}
