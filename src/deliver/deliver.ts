import { setMaxListeners } from 'node:events';
import pRetry from 'p-retry';
import type { Random } from '../core/backoff.ts';
import {
  type Claim,
  afterAttempt,
  isFresh,
  postponed,
  withheld,
  type Attempt,
  type Delivery,
} from '../core/delivery/delivery.ts';
import { permit, type EndpointLimits } from '../core/delivery/endpoint-state.ts';
import { poolOf } from '../core/delivery/receiver.ts';
import { assertNever, RunwatchError } from '../core/errors.ts';
import { attemptDelivery, type AttemptDependencies, type Attempted } from './attempt.ts';
import type { ClaimTokens, PoolSlots } from './slots.ts';
import { type EndpointEvents, effectsOf } from './endpoint-events.ts';
import type { DeliveryStore, EndpointStore, PoolClaims } from './ports.ts';

/** A finished attempt, for log and metrics. */
interface DeliveryReport {
  delivery: Delivery;
  attempt: Attempt;
}

export interface DeliverEventDependencies extends AttemptDependencies {
  move: DeliveryStore['move'];
  endpoints: EndpointStore;
  limitsOf: (pool: string) => EndpointLimits;
  /** Whether the run has moved on, so that a notice of awaiting feedback is out of date. */
  isOvertaken: (delivery: Delivery) => Promise<boolean>;
  slots: PoolSlots;
  tokens: ClaimTokens;
  events: EndpointEvents;
  report: (report: DeliveryReport) => void;
  random: Random;
}

/** When a delivery of a pool will be due. */
export interface NextDue {
  pool: string;
  inMs: number;
}

/** The result of a claim. */
export interface Delivered {
  /** Claims made by the step that wrote the result. */
  claimed: Claim[];
  next: NextDue[];
}

const NOTHING: Delivered = { claimed: [], next: [] };

/** How many deliveries the step that writes the result may claim. */
type Room = () => number;

type Move = Parameters<DeliveryStore['move']>[0];

/**
 * Makes the function that works off a claimed delivery: it checks the endpoint's state and makes one
 * attempt. One step then writes the result, the next due time and the endpoint's state, and claims the
 * next delivery for the slot.
 */
export function createDeliverEvent(deps: DeliverEventDependencies) {
  // Every attempt in progress listens.
  setMaxListeners(0, deps.stopping);
  return async function deliverEvent(claim: Claim, room: Room): Promise<Delivered> {
    const { endpoint, stored } = claim;
    const { delivery } = stored;
    const permitted = permit(endpoint.state, deps.now(), delivery.urgent);
    switch (permitted.kind) {
      case 'wait':
        return moveOn(deps, claim, postponed(delivery, permitted.until), room);
      case 'park':
        return moveOn(deps, claim, withheld(delivery, 'parked'), room);
      case 'skip':
        return moveOn(deps, claim, withheld(delivery, 'skipped'), room);
      case 'probe': {
        const limits = limitsOf(deps, claim);
        return (await deps.endpoints.takeProbe(endpoint.receiver, delivery.id, limits))
          ? send(deps, claim, room)
          : moveOn(deps, claim, withheld(delivery, 'parked'), room);
      }
      case 'send':
        return send(deps, claim, room);
      default:
        return assertNever(permitted);
    }
  };
}

async function send(deps: DeliverEventDependencies, claim: Claim, room: Room): Promise<Delivered> {
  const { delivery } = claim.stored;
  if (await isOutOfDate(deps, delivery)) {
    return moveOn(deps, claim, withheld(delivery, 'superseded'), room);
  }
  const attempted = await attemptDelivery(deps, claim, limitsOf(deps, claim));
  return settle(deps, claim, attempted, room);
}

/** An out-of-date notice is not sent, unless it was never held up or a user requested it. */
async function isOutOfDate(deps: DeliverEventDependencies, delivery: Delivery): Promise<boolean> {
  if (delivery.requested || isFresh(delivery, deps.now())) return false;
  return deps.isOvertaken(delivery);
}

/** Writes that a delivery is postponed, or not sent at all. */
async function moveOn(
  deps: DeliverEventDependencies,
  claim: Claim,
  after: Delivery,
  room: Room,
): Promise<Delivered> {
  const { stored: before, endpoint } = claim;
  const claimed = await write(deps, claim, { before, after, endpoint, now: deps.now() }, room);
  // Another process has moved the delivery: its write stands.
  return typeof claimed === 'string' ? NOTHING : { claimed, next: nextDue([after], deps.now()) };
}

/** Writes the result of an attempt; computes its effects anew when the endpoint has changed meanwhile. */
async function settle(
  deps: DeliverEventDependencies,
  claim: Claim,
  attempted: Attempted,
  room: Room,
): Promise<Delivered> {
  const { stored: before } = claim;
  const now = deps.now();
  const { outcome, route, isOurFault, isHeldUp } = attempted;
  const hadWaiting = claim.hadWaiting && !isHeldUp;
  const { attempt } = outcome;
  const retry = route?.retry ?? deps.defaultRetry;
  const after = afterAttempt(before.delivery, outcome, retry, { now, random: deps.random });
  const { most } = limitsOf(deps, claim);
  const pool = isOurFault
    ? {}
    : deps.slots.afterAttempt({ delivery: after, outcome, hadWaiting, most });
  for (let { endpoint } = claim; ; endpoint = await deps.endpoints.get(endpoint.receiver)) {
    const effects = effectsOf(endpoint.state, after, attempted, now);
    const events = deps.events.plan(effects.events);
    const step = { before, after, attempt, endpoint, stateAfter: effects.state, events, now };
    const claimed = await write(deps, claim, { ...step, ...pool }, room);
    if (claimed === 'endpoint') continue;
    if (claimed === 'delivery') return NOTHING;
    deps.events.announce(effects.events);
    deps.report({ delivery: after, attempt });
    const planned = events.flatMap(({ deliveries }) => deliveries);
    return { claimed, next: nextDue([after, ...planned], now) };
  }
}

/** Writes one step, which also claims deliveries of the same pool for the free slots. */
async function write(
  deps: DeliverEventDependencies,
  claim: Claim,
  step: Omit<Move, 'token' | 'limits' | 'most' | 'nextToken'>,
  room: Room,
): Promise<Claim[] | 'delivery' | 'endpoint'> {
  const nextToken = deps.tokens.issue();
  const limits = limitsOf(deps, claim);
  const move = { ...step, token: claim.token, limits, most: room(), nextToken };
  let moved: PoolClaims | 'delivery' | 'endpoint';
  try {
    moved = await deps.move(move, performance.now());
  } catch (error) {
    deps.tokens.discard(nextToken);
    throw error;
  }
  if (typeof moved === 'string') {
    deps.tokens.discard(nextToken);
    return moved;
  }
  deps.tokens.granted(nextToken, moved.claims.length);
  deps.slots.adopt(poolOf(step.after.endpoint), moved.slots);
  return moved.claims;
}

function nextDue(deliveries: Delivery[], now: number): NextDue[] {
  return deliveries.flatMap(({ endpoint, nextAttemptAt: at }) =>
    at === null ? [] : [{ pool: poolOf(endpoint), inMs: Math.max(0, at - now) }],
  );
}

function limitsOf({ limitsOf: limits }: DeliverEventDependencies, { stored }: Claim) {
  return limits(poolOf(stored.delivery.endpoint));
}

/** After a longer outage of the store other processes have most likely taken over, ms. */
const LONGEST_MS = 60_000;

/**
 * Repeats a step, which must be safe to repeat, until the store is back from an outage. The receiver has
 * the message already: a lost result would send it again.
 * @param stopping ends the retries
 */
export function outlasting<Input, Output>(
  step: (input: Input) => Promise<Output>,
  stopping: AbortSignal,
): (input: Input) => Promise<Output> {
  // Every step that waits listens.
  setMaxListeners(0, stopping);
  return async function outlast(input) {
    return step(input).catch((error: unknown) => {
      if (!isAway(error)) throw error;
      return pRetry(() => step(input), {
        retries: Infinity,
        maxRetryTime: LONGEST_MS,
        minTimeout: 100,
        maxTimeout: 1_000,
        signal: stopping,
        shouldRetry: ({ error: again }) => isAway(again),
      });
    });
  };
}

function isAway(error: unknown): boolean {
  return error instanceof RunwatchError && error.retriable;
}
