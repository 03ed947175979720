/**
 * When a delivery is sent, and when it is sent again. From one claim to the next:
 * 1. `beforeAttempt`: the state of the receiver says whether a claimed delivery is sent now.
 * 2. `afterAttempt`: the outcome ends the delivery, or says when it is due again.
 * 3. `receiverAfter`: the outcome changes the state of the receiver, by which 1 decides about the next one.
 * 4. `wished`: what a user asked for during the attempt comes before what 2 says.
 *
 * `deliver/attempts.ts` makes the attempt. One script of `delivery-step.ts` then writes 2 and 3 in one step, and
 * puts the delivery where it stands from then on: due at its time if it is the first of its ordering key,
 * parked, or settled, by which the next of its key is due.
 *
 * What `deliver/http-attempt.ts` makes of an answer is the outcome; `rejected` comes from channels of services alone.
 * A fault of ours, such as an unknown endpoint, goes the same way, and shows nothing about the receiver.
 *
 * Besides, a delivery ends where its endpoint is disabled (`endpoint-state.ts`); where it is of a wait that is over, or
 * the store has lost its event (`deliver/attempts.ts`); where it goes to another endpoint instead (`deliver/replay.ts`);
 * where its run is purged (`deliver/skip-outstanding.ts`). It is attempted again without a result where the attempt was
 * called off, or this host could not make it (`deliver/relay.ts`); where its claim has lapsed
 * (`redis/stores/pool-claims.ts`), or its process is dead (`deliver/claims.ts`); where the receiver has closed a
 * connection that was idle (`deliver/http-attempt.ts`). One that a user asks for goes by `deliver/replay.ts`.
 */
import { jitterUp, type Random } from '../backoff.ts';
import {
  postponed,
  wantedNow,
  withheld,
  type AttemptOutcome,
  type Delivery,
  type Wish,
} from './delivery.ts';
import {
  afterResult,
  permit,
  tellsExhausted,
  type EndpointAlert,
  type EndpointResult,
  type EndpointState,
} from './endpoint-state.ts';
import { foldMostAfter } from './fold.ts';
import { isWebhook, type OriginSign } from './receiver.ts';

/** What the state of its receiver allows for a claimed delivery. */
export type BeforeAttempt =
  | { kind: 'send' }
  /** It is sent if no other delivery is probing at this moment; else it becomes `otherwise`. */
  | { kind: 'probe'; otherwise: Delivery }
  | { kind: 'withhold'; after: Delivery };

/** Whether a claimed delivery is sent, and what becomes of one that is not. */
export function beforeAttempt(
  delivery: Delivery,
  receiver: EndpointState,
  now: number,
): BeforeAttempt {
  const permitted = permit(receiver, now, delivery.urgent);
  switch (permitted.kind) {
    case 'send':
      return { kind: 'send' };
    case 'probe':
      return { kind: 'probe', otherwise: withheld(delivery, 'parked') };
    case 'wait':
      return { kind: 'withhold', after: postponed(delivery, permitted.until) };
    case 'park':
      return { kind: 'withhold', after: withheld(delivery, 'parked') };
    case 'skip':
      return { kind: 'withhold', after: withheld(delivery, 'skipped') };
  }
}

/** The delays after the first, second, … failed attempt, unless an endpoint's `retry` says otherwise, ms. */
export const DEFAULT_RETRY_MS: readonly number[] = [
  5, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400,
].map((seconds) => seconds * 1_000);

/** How long a receiver has for its answer, unless an endpoint's `timeout` says otherwise, ms. */
export const DEFAULT_TIMEOUT_MS = 15_000;

const RETRY_JITTER = 0.1;

/** Statuses that may be about the message, also where a channel takes them for passing. */
const ABOUT_THE_MESSAGE: ReadonlySet<number> = new Set([400, 413, 422]);

interface AfterAttemptOptions {
  now: number;
  random: Random;
  /** How many events the message covered, this one among them. */
  covered: number;
}

/**
 * The delivery after an attempt. A receiver that asks for quiet costs it no step of the schedule, however often it does.
 * @param schedule delays in ms after the first, second, … failed attempt; when it ends, the
 * delivery is dead
 */
export function afterAttempt(
  delivery: Delivery,
  outcome: AttemptOutcome,
  schedule: readonly number[],
  { now, random, covered }: AfterAttemptOptions,
): Delivery {
  const last = outcome.attempt;
  const tried = {
    ...delivery,
    last,
    urgent: false,
    attemptCount: delivery.attemptCount + 1,
    step: delivery.step + 1,
  };
  // Of several events a receiver may refuse only some: smaller messages find out which.
  const foldMost = foldMostAfter(covered);
  switch (outcome.kind) {
    case 'delivered':
      return { ...tried, state: 'delivered', nextAttemptAt: null, deliveredAt: now };
    case 'rejected':
      return foldMost === undefined
        ? { ...tried, state: 'dead', nextAttemptAt: null, foldMost: 1 }
        : { ...tried, state: 'pending', step: delivery.step, nextAttemptAt: now, foldMost };
    case 'refused':
      return { ...tried, state: 'dead', nextAttemptAt: null };
    case 'throttled':
      return {
        ...tried,
        state: 'pending',
        step: delivery.step,
        nextAttemptAt: now + spreadQuiet(quietMs(outcome.retryAfterMs), random),
      };
    case 'failed': {
      const scheduled = schedule[delivery.step];
      if (scheduled === undefined) return { ...tried, state: 'dead', nextAttemptAt: null };
      const scheduledMs = jitterUp(scheduled, RETRY_JITTER, random);
      const askedMs = spreadQuiet(outcome.retryAfterMs ?? 0, random);
      const nextAttemptAt = now + Math.max(scheduledMs, askedMs);
      const isSmaller = foldMost !== undefined && ABOUT_THE_MESSAGE.has(last.status ?? 0);
      return { ...tried, state: 'pending', nextAttemptAt, ...(isSmaller && { foldMost }) };
    }
  }
}

/**
 * The shortest quiet, ms. A quiet costs no step of the schedule. Without a minimum, a receiver that asks
 * for a quiet of 0 s, or until a time already past, would get attempts in an endless loop.
 */
const SHORTEST_QUIET_MS = 1_000;

/**
 * The longest wait that `Retry-After` of a receiver causes, ms. Some send milliseconds or a Unix time
 * where seconds are due, and would otherwise hold their deliveries for a day or more.
 */
const LONGEST_QUIET_MS = 3_600_000;

/** How long a receiver that asked for quiet gets no attempts, ms: a second to an hour. */
function quietMs(retryAfterMs: number): number {
  return Math.min(Math.max(retryAfterMs, SHORTEST_QUIET_MS), LONGEST_QUIET_MS);
}

/** Deliveries that wait out a quiet do not all come at its end, nor later than the longest. */
function spreadQuiet(ms: number, random: Random): number {
  return Math.min(jitterUp(ms, RETRY_JITTER, random), LONGEST_QUIET_MS);
}

/** The result of an attempt. */
export interface AttemptResult {
  outcome: AttemptOutcome;
  /** No request was sent: the result shows nothing about the receiver. */
  isOurFault: boolean;
}

/** What raises a system event about a receiver. */
export type ReceiverAlert = EndpointAlert | 'delivery.exhausted';

/**
 * The state of the receiver after an attempt, and the events that this raises.
 * @param delivery as the attempt left it
 */
export function receiverAfter(
  receiver: EndpointState,
  delivery: Delivery,
  { outcome, isOurFault }: AttemptResult,
  now: number,
): { state: EndpointState; alerts: ReceiverAlert[] } {
  const { state, alert } =
    isOurFault || isOfSubscription(delivery, outcome)
      ? { state: receiver, alert: null }
      : afterResult(receiver, resultOf(outcome, now), now);
  const alerts: ReceiverAlert[] = alert === null ? [] : [alert];
  if (delivery.state !== 'dead' || !tellsExhausted(state, now)) return { state, alerts };
  return { state: { ...state, exhaustedToldAt: now }, alerts: [...alerts, 'delivery.exhausted'] };
}

/** 401 and 403 judge headers. Each subscription at the URL of a webhook has its own. */
function isOfSubscription({ endpoint }: Delivery, { attempt }: AttemptOutcome): boolean {
  return isWebhook(endpoint) && (attempt.status === 401 || attempt.status === 403);
}

function resultOf(outcome: AttemptOutcome, now: number): EndpointResult {
  switch (outcome.kind) {
    case 'delivered':
      return { kind: 'delivered' };
    case 'failed':
      return { kind: 'failed', timedOut: outcome.attempt.error?.code === 'timeout' };
    case 'rejected':
      return { kind: 'failed' };
    case 'refused':
      return { kind: 'gone' };
    case 'throttled':
      return { kind: 'throttled', until: now + quietMs(outcome.retryAfterMs) };
  }
}

const UNREACHED: ReadonlySet<string> = new Set(['timeout', 'refused', 'dns', 'unreachable']);

/** What an outcome shows about the origin of a webhook; by several of these an origin is held back. */
export function originSignOf(outcome: AttemptOutcome): OriginSign {
  if (outcome.kind === 'delivered') return { kind: 'well' };
  if (outcome.kind === 'throttled') {
    return { kind: 'trouble', askedMs: quietMs(outcome.retryAfterMs) };
  }
  const { status, error } = outcome.attempt;
  const isTrouble = status === 429 || status === 503 || UNREACHED.has(error?.code ?? '');
  return isTrouble ? { kind: 'trouble', askedMs: null } : { kind: 'none' };
}

/** A delivery after an attempt during which a user wanted another one. */
export function wished(delivery: Delivery, wish: Wish, now: number): Delivery {
  if (wish === 'now') return wantedNow(delivery, now);
  return delivery.state === 'pending' ? { ...delivery, nextAttemptAt: now } : delivery;
}
