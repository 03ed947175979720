import { setMaxListeners } from 'node:events';
import pRetry from 'p-retry';
import { mapInChunks } from '../core/arrays.ts';
import type { Random } from '../core/backoff.ts';
import {
  isFresh,
  withheld,
  type Attempt,
  type Delivery,
  type Wish,
} from '../core/delivery/delivery.ts';
import type { ClaimGroup } from '../core/delivery/fold.ts';
import type { Claim, DeliveryStep, NextClaims, PoolClaims } from '../core/delivery/outbox.ts';
import type { EndpointLimits } from '../core/delivery/endpoint-state.ts';
import { poolOf } from '../core/delivery/receiver.ts';
import { afterAttempt, beforeAttempt, receiverAfter, wished } from '../core/delivery/retry.ts';
import { isRetriable } from '../core/errors.ts';
import { attemptDelivery, type AttemptDependencies, type Attempted } from './attempt.ts';
import type { ClaimTokens, PoolSlots } from './slots.ts';
import { endpointEvent, planEndpointEvents, type EndpointEvents } from './endpoint-events.ts';
import type { EndpointStore, Outbox } from './ports.ts';

/** A finished attempt, for log, metrics and traces. */
interface DeliveryReport {
  delivery: Delivery;
  /** The event's JSON text; null when the store no longer has it. */
  body: string | null;
  attempt: Attempt;
  /** How many further deliveries the message covered; null for those. */
  others: number | null;
}

export interface DeliverEventDependencies extends AttemptDependencies {
  outbox: Pick<Outbox, 'recordAttempt' | 'withhold' | 'takeProbe'>;
  endpoints: Pick<EndpointStore, 'get'>;
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

/**
 * Makes the function that works off claimed deliveries: it checks the endpoint's state and makes one
 * attempt. One step for each then writes the result and the next due time; that of the first also writes
 * the endpoint's state, and claims the next delivery for the slot.
 */
export function createDeliverEvent(deps: DeliverEventDependencies) {
  // Every attempt in progress listens.
  setMaxListeners(0, deps.stopping);
  return async function deliverEvent(group: ClaimGroup, room: Room): Promise<Delivered> {
    const [claim, ...others] = group;
    const { endpoint, stored } = claim;
    const turn = beforeAttempt(stored.delivery, endpoint.state, deps.now());
    if (turn.kind === 'send') return send(deps, group, room);
    const rest = await mapInChunks(others, WRITES, (other) => deliverAlone(deps, other, NO_ROOM));
    return joined([...rest, await deliverAlone(deps, claim, room)]);
  };
}

const NO_ROOM: Room = () => 0;

/** Works off one delivery, of which the endpoint's state decides. */
async function deliverAlone(
  deps: DeliverEventDependencies,
  claim: Claim,
  room: Room,
): Promise<Delivered> {
  const { endpoint, stored } = claim;
  const { delivery } = stored;
  const turn = beforeAttempt(delivery, endpoint.state, deps.now());
  switch (turn.kind) {
    case 'send':
      return send(deps, [claim], room);
    case 'probe': {
      const limits = limitsOf(deps, claim);
      return (await deps.outbox.takeProbe(endpoint.receiver, delivery.id, limits))
        ? send(deps, [claim], room)
        : withhold(deps, claim, turn.otherwise, room);
    }
    case 'withhold':
      return withhold(deps, claim, turn.after, room);
  }
}

/** Writes of one message that are under way at a time. */
const WRITES = 32;

function joined(parts: readonly Delivered[]): Delivered {
  return {
    claimed: parts.flatMap(({ claimed }) => claimed),
    next: parts.flatMap(({ next }) => next),
  };
}

async function send(
  deps: DeliverEventDependencies,
  group: ClaimGroup,
  room: Room,
): Promise<Delivered> {
  const [claim, ...others] = group;
  if (await isOutOfDate(deps, claim.stored.delivery)) {
    const superseded = withheld(claim.stored.delivery, 'superseded');
    const [next, ...rest] = others;
    if (next === undefined) return withhold(deps, claim, superseded, room);
    const moved = await withhold(deps, claim, superseded, NO_ROOM);
    return joined([moved, await send(deps, [next, ...rest], room)]);
  }
  const kept = await withoutOutdated(deps, others);
  const covered: ClaimGroup = [claim, ...kept.claims];
  const attempted = await attemptDelivery(deps, covered, limitsOf(deps, claim));
  return joined([kept.moved, await settle(deps, covered, attempted, room)]);
}

/** The deliveries that are not out of date; the others are superseded. */
async function withoutOutdated(
  deps: DeliverEventDependencies,
  claims: readonly Claim[],
): Promise<{ claims: Claim[]; moved: Delivered }> {
  const isOld = await mapInChunks(claims, WRITES, ({ stored }) =>
    isOutOfDate(deps, stored.delivery),
  );
  const outdated = claims.filter((_, at) => isOld[at] === true);
  const moved = await mapInChunks(outdated, WRITES, (claim) =>
    withhold(deps, claim, withheld(claim.stored.delivery, 'superseded'), NO_ROOM),
  );
  return { claims: claims.filter((_, at) => isOld[at] !== true), moved: joined(moved) };
}

/** An out-of-date notice is not sent, unless it was never held up or a user requested it. */
async function isOutOfDate(deps: DeliverEventDependencies, delivery: Delivery): Promise<boolean> {
  if (delivery.requested || isFresh(delivery, deps.now())) return false;
  return deps.isOvertaken(delivery);
}

/** Writes that a delivery is postponed, or not sent at all. */
async function withhold(
  deps: DeliverEventDependencies,
  claim: Claim,
  after: Delivery,
  room: Room,
): Promise<Delivered> {
  const now = deps.now();
  const step = stepOf(deps, claim, after, now);
  const taken = await heedingWish(step, (one) =>
    claimingNext(deps, claim, room, (next) => deps.outbox.withhold({ ...one, next })),
  );
  if (taken.result === 'delivery') return unwritten(claim);
  return deliveredBy(taken.result, [taken.after], now);
}

/**
 * Takes a step; where a user wanted its delivery during the attempt, the step makes it due.
 * @returns what the step returned, and what the delivery became
 */
async function heedingWish<Step extends DeliveryStep, Changed extends 'delivery' | 'endpoint'>(
  step: Step,
  take: (step: Step) => Promise<PoolClaims | Changed | Wish>,
): Promise<{ result: PoolClaims | Changed; after: Delivery }> {
  const result = await take(step);
  if (!isWish(result)) return { result, after: step.after };
  const after = wished(step.after, result, step.now);
  return heedingWish({ ...step, after, meetsWish: true }, take);
}

function stepOf(
  deps: DeliverEventDependencies,
  { stored: before, token }: Claim,
  after: Delivery,
  now: number,
): DeliveryStep {
  return { before, after, token, limits: deps.limitsOf(poolOf(after.endpoint)), now };
}

/**
 * Writes the result of an attempt for every delivery that its message covered, the first of them last:
 * only then do the others hold no slot any more.
 */
async function settle(
  deps: DeliverEventDependencies,
  [claim, ...others]: ClaimGroup,
  attempted: Attempted,
  room: Room,
): Promise<Delivered> {
  const now = deps.now();
  const { outcome, route } = attempted;
  const { attempt } = outcome;
  const retry = route?.retry ?? deps.defaultRetry;
  const resultFor = (one: Claim) => ({
    claim: one,
    after: afterAttempt(one.stored.delivery, outcome, retry, {
      now,
      random: deps.random,
      covered: 1 + others.length,
    }),
  });
  const results = others.map(resultFor);
  const rest = await mapInChunks(results, WRITES, async ({ claim: other, after }) => {
    const step = { ...stepOf(deps, other, after, now), attempt };
    const taken = await heedingWish(step, (one) => deps.outbox.recordAttempt(one));
    if (typeof taken.result === 'string') return NOTHING;
    deps.report({ delivery: taken.after, body: other.body, attempt, others: null });
    return deliveredBy(taken.result, [taken.after], now);
  });
  const { after } = resultFor(claim);
  const shown = [after, ...results.map((one) => one.after)].find(({ state }) => state === 'dead');
  const result = { attempted, after, shown: shown ?? after, now };
  const first = await settleFirst(deps, claim, result, room);
  if (first !== null) {
    deps.report({ delivery: after, body: claim.body, attempt, others: others.length });
  }
  return joined([...rest, first ?? unwritten(claim)]);
}

interface FirstResult {
  attempted: Attempted;
  after: Delivery;
  /** The delivery that events about the endpoint name: one that was given up, if any was. */
  shown: Delivery;
  now: number;
}

/** Writes the result of one delivery and of its endpoint; again when that has changed meanwhile. */
async function settleFirst(
  deps: DeliverEventDependencies,
  claim: Claim,
  { attempted, after, shown, now }: FirstResult,
  room: Room,
): Promise<Delivered | null> {
  const { outcome, isOurFault, isHeldUp } = attempted;
  const hadWaiting = claim.hadWaiting && !isHeldUp;
  const { attempt } = outcome;
  const { most } = limitsOf(deps, claim);
  const pool = isOurFault
    ? {}
    : deps.slots.afterAttempt({ delivery: after, outcome, hadWaiting, most, now });
  for (let { endpoint } = claim; ; endpoint = await deps.endpoints.get(endpoint.receiver)) {
    const { state, alerts } = receiverAfter(endpoint.state, shown, attempted, now);
    const change = { before: endpoint.state, after: state };
    const cause = { delivery: shown, error: attempt.error };
    const raised = alerts.map((type) => endpointEvent(type, change, cause));
    const events = planEndpointEvents(raised, deps.events);
    const shows = { endpoint, stateAfter: state, events, ...pool };
    const step = { ...stepOf(deps, claim, after, now), attempt, shows };
    const taken = await heedingWish(step, (one) =>
      claimingNext(deps, claim, room, (next) => deps.outbox.recordAttempt({ ...one, next })),
    );
    if (taken.result === 'endpoint') continue;
    if (taken.result === 'delivery') return null;
    for (const event of raised) deps.events.log(event);
    const planned = events.flatMap(({ deliveries }) => deliveries);
    return deliveredBy(taken.result, [taken.after, ...planned], now);
  }
}

/** Another process has changed the delivery, and its write stands. The slot is free without a claim. */
function unwritten({ stored }: Claim): Delivered {
  return { claimed: [], next: [{ pool: poolOf(stored.delivery.endpoint), inMs: 0 }] };
}

function isWish(result: unknown): result is Wish {
  return result === 'now' || result === 'due';
}

/** Takes a step that also claims deliveries of the same pool for the free slots. */
async function claimingNext<Changed extends string>(
  deps: DeliverEventDependencies,
  { stored }: Claim,
  room: Room,
  step: (next: NextClaims) => Promise<PoolClaims | Changed>,
): Promise<PoolClaims | Changed> {
  const token = deps.tokens.issue();
  let result: PoolClaims | Changed;
  try {
    result = await step({ most: room(), token });
  } catch (error) {
    deps.tokens.discard(token);
    throw error;
  }
  if (typeof result === 'string') {
    deps.tokens.discard(token);
    return result;
  }
  deps.tokens.granted(token, result.claims.length);
  deps.slots.adopt(poolOf(stored.delivery.endpoint), result.slots);
  return result;
}

/** What a step leaves to do: its claims, and when deliveries are due, or the pace lets more go out. */
function deliveredBy(
  { claims, heldMs }: PoolClaims,
  deliveries: readonly Delivery[],
  now: number,
): Delivered {
  const next = deliveries.flatMap(({ endpoint, nextAttemptAt: at }) =>
    at === null ? [] : [{ pool: poolOf(endpoint), inMs: Math.max(0, at - now) }],
  );
  const [first] = deliveries;
  const held =
    heldMs === null || first === undefined ? [] : [{ pool: poolOf(first.endpoint), inMs: heldMs }];
  return { claimed: claims, next: [...next, ...held] };
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
      if (!isRetriable(error)) throw error;
      return pRetry(() => step(input), {
        retries: Infinity,
        maxRetryTime: LONGEST_MS,
        minTimeout: 100,
        maxTimeout: 1_000,
        signal: stopping,
        shouldRetry: ({ error: again }) => isRetriable(again),
      });
    });
  };
}
