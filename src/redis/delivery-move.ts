import {
  isOutstanding,
  type Attempt,
  type Delivery,
  type StoredDelivery,
} from '../core/delivery.ts';
import type { Gate, GateLimits, StoredGate } from '../core/gate.ts';
import { gatePlan } from './delivery-claims.ts';
import { gateWrite } from './gate-record.ts';
import { deliveryStateIndex, ledgerField, plannedDelivery, type Keys } from './keys.ts';

/** Attempts kept of one delivery; older ones are dropped. */
const ATTEMPTS_KEPT = 50;

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
  /** How many deliveries this process would claim at the gate, next. */
  most: number;
  now: number;
}

/** What the script has to do besides writing the document. */
export function moveEffects(keys: Keys, move: DeliveryMove) {
  const { before, after, attempt, gate, gateAfter, limits, alerts = [], most, now } = move;
  const outstanding = isOutstanding(after.state);
  return {
    id: after.id,
    now,
    most,
    attempts: keys.attempts(after.id),
    ...(attempt !== undefined && { attempt: JSON.stringify(attempt) }),
    attemptsKept: ATTEMPTS_KEPT,
    leave: deliveryStateIndex(keys, before.delivery),
    enter: deliveryStateIndex(keys, after),
    ledger: keys.ledger,
    countFrom: ledgerField(before.delivery),
    countTo: ledgerField(after),
    wasParked: before.delivery.state === 'parked',
    isParked: after.state === 'parked',
    isOutstanding: outstanding,
    joins: outstanding && !isOutstanding(before.delivery.state),
    ...(after.nextAttemptAt !== null && { dueAt: after.nextAttemptAt }),
    lane: keys.lane(after),
    settled: keys.deliveriesSettled,
    gate: {
      ...gatePlan(keys, gate.name, limits, now),
      parked: keys.parked(gate.name),
      gatesParked: keys.gatesParked,
    },
    ...(gateAfter !== undefined && { gateWrite: gateWrite(keys, gate, gateAfter, now) }),
    ...(gate.gate.breaker === 'open' && { probe: keys.probe(gate.name) }),
    alerts: alerts.map(({ id, body }) => ({ key: keys.event(id), body })),
    deliveryNumber: keys.deliveryNumber,
    gatesDue: keys.gatesDue,
    deliveries: alerts.map(({ delivery }) => plannedDelivery(keys, delivery)),
  };
}
