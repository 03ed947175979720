import { isOutstanding, type Delivery, type DeliveryState } from '../../core/delivery/delivery.ts';
import { FOLD_ABOVE } from '../../core/delivery/fold.ts';
import {
  type Claim,
  type DeliveryStep,
  type PoolClaims,
  type ReceiverChange,
} from '../../core/delivery/outbox.ts';
import type { EndpointLimits } from '../../core/delivery/endpoint-state.ts';
import { isOrigin, urlOf, type Receiver } from '../../core/delivery/receiver.ts';
import { FIRST_SLOTS, SLOTS_KEPT_MS } from '../../core/delivery/slots.ts';
import { watchId } from '../../core/watch/watch.ts';
import { deliveryStateIndex } from '../indexes.ts';
import { countField, namedKeys, type Keys } from '../keys.ts';
import { readEndpoint, stateWrite } from './endpoint-record.ts';
import { raisedPlan } from './event-plan.ts';

/** Attempts kept of one delivery; older ones are dropped. */
const ATTEMPTS_KEPT = 50;

/** Twice the deadline: a process that sent in time has written the result by then, ms. */
export function leaseMs({ deadlineMs }: EndpointLimits): number {
  return 2 * deadlineMs;
}

/** What the scripts of `lua/claim.ts` need of a pool: its JSON, and the keys that it names. */
export interface PoolPlan {
  json: string;
  named: readonly string[];
}

/** Plans that are kept. A plan is made of two dozen names, and every step of a delivery needs one. */
const PLANS_KEPT = 1_000;

/** Finds the plan of a pool. */
export function createPoolPlans(keys: Keys) {
  const kept = new Map<string, PoolPlan>();
  return function planOf(pool: string, limits: EndpointLimits): PoolPlan {
    const { most, rate, deadlineMs, foldMost } = limits;
    const name = `${pool} ${most} ${rate} ${deadlineMs} ${foldMost}`;
    const found = kept.get(name);
    if (found !== undefined) return found;
    const plan = poolPlan(keys, pool, limits);
    if (kept.size >= PLANS_KEPT) kept.clear();
    kept.set(name, plan);
    return plan;
  };
}

function poolPlan(keys: Keys, pool: string, limits: EndpointLimits): PoolPlan {
  const isShared = isOrigin(pool);
  const plan = {
    pool,
    isShared,
    first: Math.min(FIRST_SLOTS, limits.most),
    limit: limits.most,
    leaseMs: leaseMs(limits),
    ...(limits.rate !== null && { paceMs: 1_000 / limits.rate }),
    ...(limits.foldMost !== undefined && { foldMost: limits.foldMost, foldAbove: FOLD_ABOVE }),
    states: keys.endpointState(''),
    parked: keys.parked(''),
    probes: keys.probe(''),
    dues: keys.due(''),
    deliveries: keys.delivery(''),
    events: keys.event(''),
    takens: keys.taken(''),
    waiting: keys.waiting(''),
    taken: keys.taken(pool),
    slots: keys.slots(pool),
    slotsKeptMs: SLOTS_KEPT_MS,
    ...(isShared
      ? { held: keys.held(pool), poolDue: keys.poolDue(pool) }
      : { hold: keys.hold(pool) }),
    poolsDue: keys.poolsDue,
    claims: keys.deliveryClaims,
  };
  const ofReceiver = isShared ? [] : receiverKeys(keys, pool);
  return { json: JSON.stringify(plan), named: namedKeys(keys, plan, ofReceiver) };
}

/** The arguments of a script that claims: its token, and which of four claims goes to the newest. */
export function claimArgs(token: string): [token: string, turn: string] {
  return [token, String(turnOf(token))];
}

/** Which of four claims goes to the newest delivery: spread evenly, whichever pools take turns. */
function turnOf(token: string): number {
  const number = parseInt(token.slice(token.indexOf('.') + 1), 36) || 0;
  return (Math.imul(number, 2_654_435_761) >>> 16) % 4;
}

/** What scripts find by the name of a receiver; of that for which they run, it is known before. */
export function receiverKeys(keys: Keys, receiver: Receiver): string[] {
  const { endpointState, due, parked, probe, taken, waiting } = keys;
  const own = [endpointState, due, parked, probe].map((key) => key(receiver));
  return [...own, ...[taken, waiting].map((key) => key(urlOf(receiver)))];
}

/** What the steps of `lua/delivery.ts` need of a delivery. */
export function stepPlan(keys: Keys, step: DeliveryStep) {
  const { before, after, token, next, now, meetsWish = false } = step;
  return {
    id: after.id,
    key: keys.delivery(after.id),
    version: String(before.version),
    number: String(before.number),
    receiver: after.endpoint,
    ...(token !== undefined && { token }),
    becomes: PLACES[after.state],
    wasSettled: !isOutstanding(before.delivery.state),
    dueInMs: Math.max(0, (after.nextAttemptAt ?? now) - now),
    isUrgent: after.urgent,
    leave: deliveryStateIndex(keys, before.delivery),
    enter: deliveryStateIndex(keys, after),
    deliveryCounts: keys.deliveryCounts,
    countFrom: countField(before.delivery),
    countTo: countField(after),
    ordering: keys.ordering(after),
    settled: keys.deliveriesSettled,
    ...(after.runId !== '' && { packDue: keys.packDue, watch: watchId(after) }),
    attempts: keys.attempts(after.id),
    attemptsKept: ATTEMPTS_KEPT,
    mayProbe: true,
    meetsWish: meetsWish || after.state === 'delivered',
    most: next?.most ?? 0,
  };
}

/** Where a delivery stands in each of its states. */
const PLACES: Record<DeliveryState, 'waiting' | 'parked' | 'settled'> = {
  pending: 'waiting',
  parked: 'parked',
  delivered: 'settled',
  dead: 'settled',
  skipped: 'settled',
  superseded: 'settled',
};

/** What the script of `lua/compare.ts` finds deliveries by, and where they may stand. */
export function comparisonPlan(keys: Keys) {
  return {
    log: keys.deliveryLog,
    names: keys.watchNames,
    live: keys.liveDeliveries(''),
    deliveries: keys.delivery(''),
    orders: `${keys.queuePrefix}:lane:`,
    dues: keys.due(''),
    parked: keys.parked(''),
    taken: keys.taken(''),
    poolDue: keys.poolDue(''),
    claims: keys.deliveryClaims,
    indexes: ['pending', 'parked'].map((state) => keys.deliveries('state', state)),
  };
}

/** What `RECORD_ATTEMPT` changes besides the delivery. */
export function receiverPlan(keys: Keys, change: ReceiverChange, now: number) {
  const { endpoint, stateAfter, slots, pause, events } = change;
  return {
    state: stateWrite(keys, endpoint, stateAfter, now),
    ...(slots !== undefined && { slots }),
    ...(pause !== undefined && { pause: { receivers: pause.receivers, ms: Math.ceil(pause.ms) } }),
    ...(events.length > 0 && { raised: raisedPlan(keys, events) }),
  };
}

/**
 * The reply of the scripts that claim: the slots of the pool as JSON or '', whether more is due, and the
 * receivers. Last, for how many ms the pace holds back due deliveries, or -1.
 * A receiver has its name,
 * its state's hash, and for each delivery version, number, document and the text of its event, '' where that
 * is gone.
 */
export type ClaimReply = [
  slots: string,
  isWaiting: number,
  found: (string | string[])[],
  heldMs: number,
];

/** @param asked by which token and when, by the monotonic clock */
export function readClaims(
  [slots, isWaiting, found, heldMs]: ClaimReply,
  { token, askedAt }: { token: string; askedAt: number },
): PoolClaims {
  const claims: Claim[] = [];
  for (let at = 0; at < found.length; at += 3) {
    const [name, hash, parts] = found.slice(at, at + 3) as [string, string[], string[]];
    const endpoint = readEndpoint(name, pairs(hash));
    for (let part = 0; part < parts.length; part += 4) {
      const [version, number, doc = '', body = ''] = parts.slice(part, part + 4);
      const stored = {
        version: Number(version),
        number: Number(number),
        delivery: JSON.parse(doc) as Delivery,
      };
      const hadWaiting = isWaiting === 1;
      claims.push({
        stored,
        endpoint,
        token,
        askedAt,
        hadWaiting,
        body: body === '' ? null : body,
      });
    }
  }
  return { claims, slots, heldMs: heldMs < 0 ? null : heldMs };
}

function pairs(flat: string[]): Record<string, string> {
  const entries = Array.from({ length: flat.length / 2 }, (_, at) =>
    flat.slice(at * 2, at * 2 + 2),
  );
  return Object.fromEntries(entries) as Record<string, string>;
}
