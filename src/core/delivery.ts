import { jitterUp, type Random } from './backoff.ts';
import { assertNever } from './errors.ts';
import { fingerprint, type EventType } from './event.ts';
import { wantsEvent, type MatchedWatch } from './filter.ts';
import { subscriptionKey, type Subscription, type WatchKey } from './watch.ts';

export const DELIVERY_STATES = [
  'pending',
  'delivered',
  'dead',
  'parked',
  'skipped',
  'superseded',
] as const;

export type DeliveryState = (typeof DELIVERY_STATES)[number];

/** Why an attempt failed: a stable code and a sentence for people. */
export interface AttemptError {
  code: string;
  message: string;
}

/** One try at delivering. Times in milliseconds since the epoch, durations in milliseconds. */
export interface Attempt {
  at: number;
  /** HTTP status; null where no answer came, or none exists (a log line). */
  status: number | null;
  error: AttemptError | null;
  durationMs: number;
  /** First 1 KiB of the answer. */
  response: string | null;
}

/** One event to one subscription. Times are milliseconds since the epoch. */
export interface Delivery extends WatchKey {
  id: string;
  eventId: string;
  eventType: EventType;
  /** The endpoint's name, or the URL of a per-watch webhook. */
  endpoint: string;
  state: DeliveryState;
  attemptCount: number;
  nextAttemptAt: number | null;
  createdAt: number;
  deliveredAt: number | null;
  last: Attempt | null;
}

/** A delivery as read from the store, with the version that a write must find unchanged. */
export interface StoredDelivery {
  delivery: Delivery;
  version: number;
}

/** What came of an attempt, in the words of the channel that made it. */
export type AttemptOutcome =
  | { kind: 'delivered'; attempt: Attempt }
  /** May work later. `retryAfterMs` is what the receiver asked for, null where it asked nothing. */
  | { kind: 'failed'; attempt: Attempt; retryAfterMs: number | null }
  /** Will never work: the receiver said so (410). */
  | { kind: 'refused'; attempt: Attempt };

const RETRY_JITTER = 0.1;

/** Tells whether a named endpoint wants to hear of a type of event of a watch. */
export type EndpointFilter = (endpoint: string, type: EventType, watch: MatchedWatch) => boolean;

/** What is delivered: an event by its id and type. */
interface Notice {
  id: string;
  type: EventType;
}

/**
 * The deliveries that events give rise to: one per event and subscription that wants it, in the
 * order of the events. Ids are functions of event and subscription.
 */
export function planDeliveries(
  watch: WatchKey & MatchedWatch,
  events: readonly Notice[],
  subscriptions: readonly Subscription[],
  { wants, now }: { wants: EndpointFilter; now: number },
): Delivery[] {
  const isTold = (subscription: Subscription, { type }: Notice) =>
    subscription.kind === 'webhook'
      ? wantsEvent(subscription.events, type)
      : wants(subscription.endpoint, type, watch);
  return events.flatMap((event) =>
    subscriptions
      .filter((subscription) => isTold(subscription, event))
      .map((subscription) => newDelivery(watch, event, subscriptionKey(subscription), now)),
  );
}

function newDelivery(watch: WatchKey, event: Notice, endpoint: string, now: number): Delivery {
  return {
    id: fingerprint('dlv', event.id, endpoint),
    eventId: event.id,
    eventType: event.type,
    source: watch.source,
    runId: watch.runId,
    endpoint,
    state: 'pending',
    attemptCount: 0,
    nextAttemptAt: now,
    createdAt: now,
    deliveredAt: null,
    last: null,
  };
}

/**
 * What a delivery becomes by an attempt.
 * @param schedule delays in ms after the first, second, … failed attempt; when it ends, the delivery is dead
 */
export function afterAttempt(
  delivery: Delivery,
  outcome: AttemptOutcome,
  schedule: readonly number[],
  { now, random }: { now: number; random: Random },
): Delivery {
  const tried = { ...delivery, attemptCount: delivery.attemptCount + 1, last: outcome.attempt };
  switch (outcome.kind) {
    case 'delivered':
      return { ...tried, state: 'delivered', nextAttemptAt: null, deliveredAt: now };
    case 'refused':
      return { ...tried, state: 'dead', nextAttemptAt: null };
    case 'failed': {
      const scheduled = schedule[delivery.attemptCount];
      if (scheduled === undefined) return { ...tried, state: 'dead', nextAttemptAt: null };
      const delay = Math.max(jitterUp(scheduled, RETRY_JITTER, random), outcome.retryAfterMs ?? 0);
      return { ...tried, nextAttemptAt: now + delay };
    }
    default:
      return assertNever(outcome);
  }
}
