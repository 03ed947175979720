import type {
  EndpointLimits,
  EndpointState,
  StoredEndpoint,
} from '../../core/delivery/endpoint-state.ts';
import { poolOf } from '../../core/delivery/receiver.ts';
import {
  isOutstanding,
  type Attempt,
  type Delivery,
  type StoredDelivery,
} from '../../core/delivery/delivery.ts';
import type { AlertEntry } from '../../core/alert/entry.ts';
import { inboxPlan } from './alert-plan.ts';
import { claimPlan } from './delivery-claims.ts';
import { stateWrite } from './endpoint-record.ts';
import { watchId } from '../../core/watch/watch.ts';
import { deliveryStateIndex } from '../indexes.ts';
import { ledgerField, type Keys } from '../keys.ts';
import { deliveryPlan } from './delivery-plan.ts';

/** Attempts kept of one delivery; older ones are dropped. */
const ATTEMPTS_KEPT = 50;

/** A delivery that moves on. */
export interface DeliveryMove {
  before: StoredDelivery;
  after: Delivery;
  /** The claim on it; absent where it is moved by hand, which a claimed one is not. */
  token?: string;
  /** What was tried, where something was. */
  attempt?: Attempt;
  endpoint: StoredEndpoint;
  /** What the endpoint's state becomes; absent where nothing was learned of it. */
  stateAfter?: EndpointState;
  /** What the slots of its pool become, as JSON; absent where they do not change. */
  slots?: string;
  /** For how long nothing goes to its pool, ms. */
  pauseMs?: number;
  limits: EndpointLimits;
  /** What operators hear because of it. */
  events?: { id: string; body: string; deliveries: Delivery[]; entries?: AlertEntry[] }[];
  /** How many deliveries this process would claim at the pool, next, and by which token. */
  most: number;
  nextToken: string;
  now: number;
}

/** What the script has to do besides writing the document. */
export function moveEffects(keys: Keys, move: DeliveryMove) {
  const { before, after, token, attempt, endpoint, stateAfter, limits, events = [], now } = move;
  const entries = events.flatMap((event) => event.entries ?? []);
  const outstanding = isOutstanding(after.state);
  const pool = poolOf(after.endpoint);
  return {
    id: after.id,
    receiver: after.endpoint,
    ...(token !== undefined && { token }),
    most: move.most,
    attempts: keys.attempts(after.id),
    ...(attempt !== undefined && { attempt: JSON.stringify(attempt) }),
    attemptsKept: ATTEMPTS_KEPT,
    leave: deliveryStateIndex(keys, before.delivery),
    enter: deliveryStateIndex(keys, after),
    countFrom: ledgerField(before.delivery),
    countTo: ledgerField(after),
    wasParked: before.delivery.state === 'parked',
    isParked: after.state === 'parked',
    isOutstanding: outstanding,
    joins: outstanding && !isOutstanding(before.delivery.state),
    ...(after.nextAttemptAt !== null && { dueInMs: Math.max(0, after.nextAttemptAt - now) }),
    isUrgent: after.urgent,
    lane: keys.lane(after),
    settled: keys.deliveriesSettled,
    ...(after.runId !== '' && { foldDue: keys.foldDue, watch: watchId(after) }),
    plan: claimPlan(keys, { pool, limits, token: move.nextToken }),
    ...(stateAfter !== undefined && { stateWrite: stateWrite(keys, endpoint, stateAfter, now) }),
    ...(move.slots !== undefined && { slots: move.slots }),
    ...(move.pauseMs !== undefined && { pauseMs: Math.ceil(move.pauseMs) }),
    ...(endpoint.state.breaker === 'open' && { probe: keys.probe(after.endpoint) }),
    events: events
      .filter(({ deliveries }) => deliveries.length > 0)
      .map(({ id, body }) => ({ key: keys.event(id), body })),
    ...(entries.length > 0 && { judged: inboxPlan(keys, entries) }),
    ...deliveryPlan(
      keys,
      events.flatMap(({ deliveries }) => deliveries),
    ),
  };
}
