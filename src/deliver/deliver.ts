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

/** What one attempt came to, for log and metrics. */
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

/** When deliveries of a pool will be due. */
export interface NextDue {
  pool: string;
  inMs: number;
}

/** What came of a claim. */
export interface Delivered {
  /** What this process has claimed by the same step, in its stead. */
  claimed: Claim[];
  next: NextDue[];
}

const NOTHING: Delivered = { claimed: [], next: [] };

/** How many deliveries may be claimed when the one at hand has made room. */
type Room = () => number;

type Move = Parameters<DeliveryStore['move']>[0];

/**
 * The use case behind a claimed delivery: ask the state of its endpoint, make one attempt, and write
 * in one step its result, when the next one is due, what it says of the endpoint, and which delivery
 * takes its slot. Returns a function that does so.
 */
export function createDeliverEvent(deps: DeliverEventDependencies) {
  // As many listen as there are attempts.
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

/** Such a notice is not sent, unless nothing held it up or a user asked for it. */
async function isOutOfDate(deps: DeliverEventDependencies, delivery: Delivery): Promise<boolean> {
  if (delivery.requested || isFresh(delivery, deps.now())) return false;
  return deps.isOvertaken(delivery);
}

/** Writes that a delivery is not sent, for now or for good. */
async function moveOn(
  deps: DeliverEventDependencies,
  claim: Claim,
  after: Delivery,
  room: Room,
): Promise<Delivered> {
  const { stored: before, endpoint } = claim;
  const claimed = await write(deps, claim, { before, after, endpoint, now: deps.now() }, room);
  // Another process has moved it: whatever that made of it stands.
  return typeof claimed === 'string' ? NOTHING : { claimed, next: nextDue([after], deps.now()) };
}

/** Writes what an attempt came to; where the endpoint has changed meanwhile, what it makes of that. */
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

/** Takes one step, and claims as many deliveries of the same pool as there is room for. */
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

/** What is away for longer than this has most likely been given up by others, too, ms. */
const LONGEST_MS = 60_000;

/**
 * Makes a step that may be taken twice outlast a store that is away for a while: the receiver has
 * its message already, and a result that is forgotten would have it sent once more.
 * @param stopping ends the waiting
 */
export function outlasting<Input, Output>(
  step: (input: Input) => Promise<Output>,
  stopping: AbortSignal,
): (input: Input) => Promise<Output> {
  // As many listen as there are steps that wait.
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
