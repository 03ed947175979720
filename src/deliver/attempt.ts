import type { Attempt, AttemptOutcome, Delivery } from '../core/delivery.ts';
import { messageOf, RunwatchError } from '../core/errors.ts';
import type { Route } from './route.ts';

export interface AttemptDependencies {
  /** The exact text of an event. */
  bodyOf: (eventId: string) => Promise<string | null>;
  /** Null when the endpoint is not, or no longer, known. */
  routeOf: (delivery: Delivery) => Promise<Route | null>;
  /** Runs an attempt when this process has room for it. */
  withPermit: <Result>(attempt: () => Promise<Result>) => Promise<Result>;
  /** The retry schedule of deliveries whose endpoint is not known. */
  defaultRetry: readonly number[];
  now: () => number;
}

/**
 * Makes one attempt. Faults of our own, such as a secret that no key opens, are failed attempts like
 * any other: they are listed, tried again, and end among the dead where they can be sent anew.
 */
export async function attemptDelivery(
  deps: AttemptDependencies,
  delivery: Delivery,
): Promise<{ outcome: AttemptOutcome; route: Route | null }> {
  const [found, body] = await Promise.all([
    findRoute(deps, delivery),
    deps.bodyOf(delivery.eventId),
  ]);
  const route = 'fault' in found ? null : found.route;
  if (body === null) {
    const message = 'the event is not in the store any more';
    return { outcome: { kind: 'refused', attempt: fault(deps, 'event_missing', message) }, route };
  }
  if ('fault' in found) return { outcome: { kind: 'failed', attempt: found.fault }, route };
  if (found.route === null) {
    const attempt = fault(deps, 'endpoint_unknown', 'no endpoint of this name is configured');
    return { outcome: { kind: 'failed', attempt }, route };
  }
  const { channel } = found.route;
  const message = { eventId: delivery.eventId, eventType: delivery.eventType, body };
  return { outcome: await deps.withPermit(() => channel.send(message)), route };
}

async function findRoute(
  deps: AttemptDependencies,
  delivery: Delivery,
): Promise<{ route: Route | null } | { fault: Attempt }> {
  try {
    return { route: await deps.routeOf(delivery) };
  } catch (error) {
    if (!(error instanceof RunwatchError) || error.code === 'redis_unavailable') throw error;
    return { fault: fault(deps, error.code, messageOf(error)) };
  }
}

function fault({ now }: AttemptDependencies, code: string, message: string): Attempt {
  return { at: now(), status: null, error: { code, message }, durationMs: 0, response: null };
}
