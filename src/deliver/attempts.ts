import { setMaxListeners } from 'node:events';
import pRetry from 'p-retry';
import { mapInChunks } from '../core/arrays.ts';
import {
  isFresh,
  postponed,
  withheld,
  type Attempt,
  type Delivery,
  type Wish,
} from '../core/delivery/delivery.ts';
import { endpointEvent, type EndpointEvent } from '../core/delivery/endpoint-events.ts';
import type { EndpointLimits } from '../core/delivery/endpoint-state.ts';
import type { ClaimGroup } from '../core/delivery/fold.ts';
import { NAME_WAIT_MS, nextNameCheck } from '../core/delivery/name-wait.ts';
import type { Claim } from '../core/delivery/claim.ts';
import type { PlannedEvent } from '../core/delivery/planned-event.ts';
import type {
  AttemptStep,
  DeliveryStep,
  Postponed,
  PostponedSteps,
} from '../redis/stores/delivery-step.ts';
import type { NextClaims, PoolClaims } from '../redis/stores/pool-claims.ts';
import { poolOf } from '../core/delivery/receiver.ts';
import {
  afterAttempt,
  beforeAttempt,
  receiverAfter,
  wished,
  type AttemptResult,
} from '../core/delivery/retry.ts';
import { isRetriable, messageOf, RunwatchError } from '../core/errors.ts';
import { isOldNotice } from '../core/watch/waits.ts';
import { faultLog } from '../fault-log.ts';
import { logDelivery } from '../telemetry/logger.ts';
import { isWithoutResult, withoutResult, type Message, type Route } from './channels/channel.ts';
import { parseEvent } from './channels/notice/sent-event.ts';
import type { Deliverer } from './deliverer.ts';

/** A wait for a permit longer than this means that all permits were in use, ms. */
const HELD_UP_MS = 5;

/** Writes of one message that are under way at a time. */
const WRITES = 32;

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

const NO_ROOM: Room = () => 0;

/** The result of an attempt, and how it was made. */
interface Attempted extends AttemptResult {
  route: Route | null;
  /** It waited for a permit of this process: more slots would not speed it up. */
  isHeldUp: boolean;
}

/**
 * Works off claimed deliveries: it checks the endpoint's state and makes one attempt. One step for each then
 * writes the result and the next due time; that of the first also writes the endpoint's state, and claims the
 * next delivery for the slot. What decides is in `core/delivery/retry.ts`.
 */
export class Attempts {
  /** Aborts the attempts in progress. */
  private readonly calledOff = new AbortController();
  /** Ends the repeats of writes. */
  private readonly stopping = new AbortController();
  private readonly record: (
    step: AttemptStep,
  ) => Promise<PoolClaims | 'delivery' | 'endpoint' | Wish>;
  private readonly withholdStep: (step: DeliveryStep) => Promise<PoolClaims | 'delivery' | Wish>;
  private readonly postponeSteps: (steps: PostponedSteps) => Promise<Postponed>;
  private readonly onError: (error: unknown) => void;

  constructor(private readonly deliverer: Deliverer) {
    const { log, stores } = deliverer.process;
    const { outbox } = stores;
    this.onError = faultLog(log, 'deliver');
    // Every attempt in progress listens.
    setMaxListeners(0, this.calledOff.signal);
    this.record = outlasting((step) => outbox.recordAttempt(step), this.stopping.signal);
    this.withholdStep = outlasting((step) => outbox.withhold(step), this.stopping.signal);
    this.postponeSteps = outlasting((steps) => outbox.postpone(steps), this.stopping.signal);
  }

  /** Aborts the attempts in progress: their outcome is unknown, and their claims are released. */
  callOff(): void {
    this.calledOff.abort();
  }

  /** Repeats no write any more. */
  stop(): void {
    this.stopping.abort();
  }

  /**
   * Throws RunwatchError `claim_too_old`, `attempt_aborted`, `log_unwritable`, `host_exhausted`: there is no
   * result, and the caller releases the claims.
   * @param room how many deliveries of the pool may be claimed in the slot that this one frees
   */
  async deliver(group: ClaimGroup, room: Room): Promise<Delivered> {
    const [claim, ...others] = group;
    const { endpoint, stored } = claim;
    const permitted = beforeAttempt(stored.delivery, endpoint.state, this.deliverer.process.now());
    if (permitted.kind === 'send') {
      const { isForPeople } = this.deliverer.process.endpoints;
      return isForPeople(claim.stored.delivery.endpoint)
        ? this.sendNamed(group, room)
        : this.send(group, room);
    }
    const rest = await mapInChunks(others, WRITES, (other) => this.deliverAlone(other, NO_ROOM));
    return joined([...rest, await this.deliverAlone(claim, room)]);
  }

  /** Works off one delivery, of which the endpoint's state decides. */
  private async deliverAlone(claim: Claim, room: Room): Promise<Delivered> {
    const { process } = this.deliverer;
    const { endpoint, stored } = claim;
    const { delivery } = stored;
    const permitted = beforeAttempt(delivery, endpoint.state, process.now());
    switch (permitted.kind) {
      case 'send':
        return this.send([claim], room);
      case 'probe': {
        const { outbox } = process.stores;
        return (await outbox.takeProbe(endpoint.receiver, delivery.id, this.limitsOf(claim)))
          ? this.send([claim], room)
          : this.withhold(claim, permitted.otherwise, room);
      }
      case 'withhold':
        return this.withhold(claim, permitted.after, room);
    }
  }

  /** Sends a message to people, or has it wait a moment, as a whole, for names that may be known then. */
  private async sendNamed(group: ClaimGroup, room: Room): Promise<Delivered> {
    const until = await this.nameCheckAt(group);
    return until === null ? this.send(group, room) : this.postpone(group, until, room);
  }

  /** When a message that lacks a name is checked again; null where it does not wait. */
  private async nameCheckAt(group: ClaimGroup): Promise<number | null> {
    const { knownNames, now } = this.deliverer.process;
    const deliveries = group.map(({ stored }) => stored.delivery);
    const at = nextNameCheck(deliveries, now());
    if (at === null) return null;
    const areLacking = await mapInChunks(
      group,
      WRITES,
      async ({ body }) =>
        body !== null && (await knownNames.isExpected(parseEvent(body), NAME_WAIT_MS)),
    );
    return areLacking.includes(true) ? at : null;
  }

  /** Writes that the deliveries of a message wait until a time, by which they are due together. */
  private async postpone(group: ClaimGroup, until: number, room: Room): Promise<Delivered> {
    const now = this.deliverer.process.now();
    const [claim, ...others] = group;
    const after = ({ stored }: Claim) => postponed(stored.delivery, until);
    const stepOf = (one: Claim) => this.stepOf(one, after(one), now);
    const [first, ...more] = [stepOf(claim), ...others.map(stepOf)] as const;
    const taken = await this.claimingNext(claim, room, (next) =>
      this.postponeSteps([{ ...first, next }, ...more]),
    );
    // A user wants these meanwhile, or another process has changed them.
    const left = group.filter((_, at) => taken.left.includes(at));
    const moved = await mapInChunks(left, WRITES, (one) =>
      this.withhold(one, after(one), NO_ROOM).catch((error: unknown) => {
        // The claims that were made above are held: they are attempted all the same.
        this.onError(error);
        return NOTHING;
      }),
    );
    return joined([...moved, deliveredBy(taken, [after(claim)], now)]);
  }

  private async send(group: ClaimGroup, room: Room): Promise<Delivered> {
    const [claim, ...others] = group;
    if (await this.isOutOfDate(claim.stored.delivery)) {
      const superseded = withheld(claim.stored.delivery, 'superseded');
      const [next, ...rest] = others;
      if (next === undefined) return this.withhold(claim, superseded, room);
      const moved = await this.withhold(claim, superseded, NO_ROOM);
      return joined([moved, await this.send([next, ...rest], room)]);
    }
    const kept = await this.withoutOutdated(others);
    const covered: ClaimGroup = [claim, ...kept.claims];
    const attempted = await this.attempt(covered);
    return joined([kept.moved, await this.settle(covered, attempted, room)]);
  }

  /** The deliveries that are not out of date; the others are superseded. */
  private async withoutOutdated(
    claims: readonly Claim[],
  ): Promise<{ claims: Claim[]; moved: Delivered }> {
    const isOld = await mapInChunks(claims, WRITES, ({ stored }) =>
      this.isOutOfDate(stored.delivery),
    );
    const outdated = claims.filter((_, at) => isOld[at] === true);
    const moved = await mapInChunks(outdated, WRITES, (claim) =>
      this.withhold(claim, withheld(claim.stored.delivery, 'superseded'), NO_ROOM),
    );
    return { claims: claims.filter((_, at) => isOld[at] !== true), moved: joined(moved) };
  }

  /** An out-of-date notice is not sent, unless it was never held up or a user requested it. */
  private async isOutOfDate(delivery: Delivery): Promise<boolean> {
    if (delivery.requested || isFresh(delivery, this.deliverer.process.now())) return false;
    return this.isOvertaken(delivery);
  }

  /** A notice of awaiting feedback is out of date once the run no longer waits at the same point. */
  async isOvertaken(delivery: Delivery): Promise<boolean> {
    if (delivery.eventType !== 'run.awaiting_human_feedback') return false;
    const stored = await this.deliverer.process.stores.watches.get(delivery);
    return stored !== null && isOldNotice(stored.watch, delivery.eventId);
  }

  /**
   * Makes one attempt, for all deliveries that its message covers. Internal faults, such as a secret that
   * no key opens, are failed attempts like any other, but show nothing about the endpoint. They are listed
   * and retried, and become dead letters that can be replayed.
   */
  private async attempt([claim, ...others]: ClaimGroup): Promise<Attempted> {
    const { permits, process } = this.deliverer;
    const { stored, body, askedAt } = claim;
    const { delivery } = stored;
    const { deadlineMs } = this.limitsOf(claim);
    const found = await this.findRoute(delivery);
    const route = 'fault' in found ? null : found.route;
    const failed = (attempt: Attempt): Attempted => ({
      outcome: { kind: 'failed', attempt },
      route,
      isOurFault: true,
      isHeldUp: false,
    });
    if (body === null) {
      const attempt = this.fault('event_missing', 'the event is not in the store any more');
      return { ...failed(attempt), outcome: { kind: 'refused', attempt } };
    }
    if ('fault' in found) return failed(found.fault);
    if (route === null) {
      return failed(this.fault('endpoint_unknown', 'no endpoint of this name is configured'));
    }
    const { eventId, eventType } = delivery;
    const covered = [delivery, ...others.map((other) => other.stored.delivery)];
    const traces = covered.map((one) => process.tracing.traceAttempt(one));
    const message = {
      eventId,
      eventType,
      body,
      ...(others.length > 0 && { others: messagesOf(others) }),
      ...(traces[0] && { traceparent: traces[0].traceparent }),
    };
    // The lease is twice the deadline. After half of it, or once this process may count as dead, another
    // process could send this delivery, and a later one after it.
    const mayStart = () =>
      performance.now() - askedAt <= deadlineMs && process.pulse.isUnbrokenSince(askedAt);
    const readyAt = performance.now();
    let beganAt = readyAt;
    try {
      const outcome = await permits.run(poolOf(delivery.endpoint), async () => {
        beganAt = performance.now();
        if (!mayStart()) throw withoutResult('claim_too_old');
        if (this.calledOff.signal.aborted) throw withoutResult('attempt_aborted');
        return route.channel.send(message, this.calledOff.signal, mayStart);
      });
      for (const trace of traces) trace?.end(outcome.attempt);
      return { outcome, route, isOurFault: false, isHeldUp: beganAt - readyAt > HELD_UP_MS };
    } catch (error) {
      if (isWithoutResult(error)) throw error;
      // Channels return outcomes for all that receivers do: a throw is a defect of the channel.
      return failed(this.fault('internal', messageOf(error)));
    }
  }

  private async findRoute(
    delivery: Delivery,
  ): Promise<{ route: Route | null } | { fault: Attempt }> {
    try {
      return { route: await this.deliverer.routes.routeOf(delivery) };
    } catch (error) {
      // Redis is away: the claim is given back.
      if (error instanceof RunwatchError && error.retriable) throw error;
      const code = error instanceof RunwatchError ? error.code : 'internal';
      return { fault: this.fault(code, messageOf(error)) };
    }
  }

  private fault(code: string, message: string): Attempt {
    const at = this.deliverer.process.now();
    return { at, status: null, error: { code, message }, durationMs: 0, response: null };
  }

  /**
   * Writes the result of an attempt for every delivery that its message covered, the first of them last:
   * only then do the others hold no slot any more.
   */
  private async settle(
    [claim, ...others]: ClaimGroup,
    attempted: Attempted,
    room: Room,
  ): Promise<Delivered> {
    const { process, routes } = this.deliverer;
    const now = process.now();
    const { outcome, route } = attempted;
    const { attempt } = outcome;
    const schedule = route?.retry ?? routes.defaultRetry;
    const { random } = process;
    const covered = 1 + others.length;
    const afterOf = ({ stored }: Claim) =>
      afterAttempt(stored.delivery, outcome, schedule, { now, random, covered });
    const results = others.map((other) => ({ other, after: afterOf(other) }));
    const rest = await mapInChunks(results, WRITES, async ({ other, after }) => {
      const step = { ...this.stepOf(other, after, now), attempt };
      const taken = await heedingWish(step, (one) => this.record(one));
      if (typeof taken.result === 'string') return NOTHING;
      this.report({ delivery: taken.after, body: other.body, attempt, others: null });
      return deliveredBy(taken.result, [taken.after], now);
    });
    const after = afterOf(claim);
    const dead = [after, ...results.map((one) => one.after)].find(({ state }) => state === 'dead');
    const result = { attempted, after, shown: dead ?? after, now };
    const first = await this.settleFirst(claim, result, room);
    if (first !== null) {
      this.report({ delivery: after, body: claim.body, attempt, others: others.length });
    }
    return joined([...rest, first ?? unwritten(claim)]);
  }

  /** Writes the result of one delivery and of its endpoint; again when that has changed meanwhile. */
  private async settleFirst(
    claim: Claim,
    { attempted, after, shown, now }: FirstResult,
    room: Room,
  ): Promise<Delivered | null> {
    const { process, slots } = this.deliverer;
    const { outcome, isOurFault, isHeldUp } = attempted;
    const hadWaiting = claim.hadWaiting && !isHeldUp;
    const { attempt } = outcome;
    const { most } = this.limitsOf(claim);
    const pool = isOurFault
      ? {}
      : slots.afterAttempt({ delivery: after, outcome, hadWaiting, most, now });
    const { endpointStates } = process.stores;
    for (let { endpoint } = claim; ; endpoint = await endpointStates.get(endpoint.receiver)) {
      const { state, alerts } = receiverAfter(endpoint.state, shown, attempted, now);
      const change = { before: endpoint.state, after: state };
      const cause = { delivery: shown, error: attempt.error };
      const raised = alerts.map((type) => endpointEvent(type, change, cause));
      const events = raised.map((event) => this.plan(event));
      const shows = { endpoint, stateAfter: state, events, ...pool };
      const step = { ...this.stepOf(claim, after, now), attempt, shows };
      const taken = await heedingWish(step, (one) =>
        this.claimingNext(claim, room, (next) => this.record({ ...one, next })),
      );
      if (taken.result === 'endpoint') continue;
      if (taken.result === 'delivery') return null;
      for (const { type, data } of raised) {
        process.log[type === 'endpoint.recovered' ? 'info' : 'error'](data, type);
      }
      const planned = events.flatMap(({ deliveries }) => deliveries);
      return deliveredBy(taken.result, [taken.after, ...planned], now);
    }
  }

  /** An event about an endpoint never goes to that endpoint. */
  private plan({ type, data, about }: EndpointEvent): PlannedEvent {
    const planned = this.deliverer.systemEvents.plan({ type, data });
    const deliveries = planned.deliveries.filter(({ endpoint }) => endpoint !== about);
    return { ...planned, deliveries };
  }

  /** Writes that a delivery is postponed, or not sent at all. */
  private async withhold(claim: Claim, after: Delivery, room: Room): Promise<Delivered> {
    const now = this.deliverer.process.now();
    const step = this.stepOf(claim, after, now);
    const taken = await heedingWish(step, (one) =>
      this.claimingNext(claim, room, (next) => this.withholdStep({ ...one, next })),
    );
    if (taken.result === 'delivery') return unwritten(claim);
    return deliveredBy(taken.result, [taken.after], now);
  }

  /** Takes a step that also claims deliveries of the same pool for the free slots. */
  private claimingNext<Result extends PoolClaims | string>(
    { stored }: Claim,
    room: Room,
    step: (next: NextClaims) => Promise<Result>,
  ): Promise<Result> {
    return this.deliverer.claims.take(poolOf(stored.delivery.endpoint), (token) =>
      step({ most: room(), token }),
    );
  }

  private stepOf({ stored: before, token }: Claim, after: Delivery, now: number): DeliveryStep {
    const limits = this.deliverer.process.endpoints.limitsOf(poolOf(after.endpoint));
    return { before, after, token, limits, now };
  }

  private limitsOf({ stored }: Claim): EndpointLimits {
    return this.deliverer.process.endpoints.limitsOf(poolOf(stored.delivery.endpoint));
  }

  private report(report: DeliveryReport): void {
    const { log, metrics, tracing } = this.deliverer.process;
    metrics.attempt(report);
    logDelivery(log, report);
    tracing.delivered(report);
  }
}

/** A finished attempt, for log, metrics and traces. */
interface DeliveryReport {
  delivery: Delivery;
  /** The event's JSON text; null when the store no longer has it. */
  body: string | null;
  attempt: Attempt;
  /** How many further deliveries the message covered; null for those. */
  others: number | null;
}

interface FirstResult {
  attempted: Attempted;
  after: Delivery;
  /** The delivery that events about the endpoint name: one that was given up, if any was. */
  shown: Delivery;
  now: number;
}

/** The events that a message covers besides its first one. */
function messagesOf(others: readonly Claim[]): NonNullable<Message['others']> {
  return others.flatMap(({ stored, body }) =>
    body === null ? [] : [{ eventId: stored.delivery.eventId, body }],
  );
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

function isWish(result: unknown): result is Wish {
  return result === 'now' || result === 'due';
}

/** Another process has changed the delivery, and its write stands. The slot is free without a claim. */
function unwritten({ stored }: Claim): Delivered {
  return { claimed: [], next: [{ pool: poolOf(stored.delivery.endpoint), inMs: 0 }] };
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

function joined(parts: readonly Delivered[]): Delivered {
  return {
    claimed: parts.flatMap(({ claimed }) => claimed),
    next: parts.flatMap(({ next }) => next),
  };
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
