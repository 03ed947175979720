import type { Random } from '../core/backoff.ts';
import {
  afterAttempt,
  type Attempt,
  type AttemptOutcome,
  type Delivery,
  type StoredDelivery,
} from '../core/delivery.ts';
import type { Channel } from './channel.ts';

/** Where a delivery goes and how often it is tried. */
export interface Route {
  channel: Channel;
  /** Delays in ms after the first, second, … failed attempt. */
  retry: readonly number[];
}

interface DeliveryStore {
  get(id: string): Promise<StoredDelivery | null>;
  settle(
    before: StoredDelivery,
    after: Delivery,
    attempt: Attempt,
  ): Promise<'conflict' | { following: string | null }>;
}

/** What one attempt came to, for log and metrics. */
export interface DeliveryReport {
  delivery: Delivery;
  attempt: Attempt;
}

export interface DeliverEventDependencies {
  deliveries: DeliveryStore;
  /** The exact text of an event. */
  bodyOf: (eventId: string) => Promise<string | null>;
  /** Null when the endpoint is not, or no longer, known. */
  routeOf: (delivery: Delivery) => Promise<Route | null>;
  /** Runs work for an endpoint when it has room for it. */
  inTurn: <Result>(endpoint: string, work: () => Promise<Result>) => Promise<Result>;
  /** Gives deliveries their jobs; a delivery whose job is lost here is found by the sweeper. */
  dispatch: (deliveryIds: string[]) => Promise<void>;
  /** The retry schedule of deliveries whose endpoint is not known. */
  defaultRetry: readonly number[];
  report: (report: DeliveryReport) => void;
  now: () => number;
  random: Random;
}

/** A job may run this much before its time: clocks and timers are not exact. */
const EARLY_MS = 50;

/**
 * The use case behind a delivery job: one attempt, and in one step its result, when the next one is
 * due, and whose turn it is after a delivery that has settled.
 * Returns a function from a delivery's id to the time of its next attempt, null when there is none.
 */
export function createDeliverEvent(deps: DeliverEventDependencies) {
  return async function deliverEvent(id: string): Promise<number | null> {
    const stored = await deps.deliveries.get(id);
    if (stored === null) return null;
    return deps.inTurn(stored.delivery.endpoint, () => takeTurn(deps, id));
  };
}

/**
 * Reads, attempts and settles within one turn. So nothing is sent that was settled while it waited
 * for its turn, nothing while Redis is away, and what a crash may repeat is no more than the turns.
 */
async function takeTurn(deps: DeliverEventDependencies, id: string): Promise<number | null> {
  const stored = await deps.deliveries.get(id);
  if (stored === null || stored.delivery.nextAttemptAt === null) return null;
  const { delivery } = stored;
  if (stored.delivery.nextAttemptAt > deps.now() + EARLY_MS) return stored.delivery.nextAttemptAt;

  const [route, body] = await Promise.all([deps.routeOf(delivery), deps.bodyOf(delivery.eventId)]);
  const outcome = await attempt(deps, delivery, route, body);
  const after = afterAttempt(delivery, outcome, route?.retry ?? deps.defaultRetry, {
    now: deps.now(),
    random: deps.random,
  });
  const settled = await deps.deliveries.settle(stored, after, outcome.attempt);
  // Somebody else settled it meanwhile: look again at what they made of it.
  if (settled === 'conflict') return deps.now();
  if (settled.following !== null) await deps.dispatch([settled.following]);
  deps.report({ delivery: after, attempt: outcome.attempt });
  return after.nextAttemptAt;
}

async function attempt(
  deps: DeliverEventDependencies,
  delivery: Delivery,
  route: Route | null,
  body: string | null,
): Promise<AttemptOutcome> {
  if (body === null) {
    const error = { code: 'event_missing', message: 'the event is not in the store any more' };
    return { kind: 'refused', attempt: notSent(deps.now(), error) };
  }
  if (route === null) {
    const error = {
      code: 'endpoint_unknown',
      message: `no endpoint ${delivery.endpoint} is configured`,
    };
    return { kind: 'failed', attempt: notSent(deps.now(), error), retryAfterMs: null };
  }
  const message = { eventId: delivery.eventId, eventType: delivery.eventType, body };
  return route.channel.send(message);
}

function notSent(at: number, error: Attempt['error']): Attempt {
  return { at, status: null, error, durationMs: 0, response: null };
}
