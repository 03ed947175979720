import type { Claim } from '../core/claim.ts';
import type { Attempt, AttemptOutcome, Delivery } from '../core/delivery.ts';
import { messageOf, RunwatchError } from '../core/errors.ts';
import type { Route } from './route.ts';

export interface AttemptDependencies {
  /** Null when the endpoint is not, or no longer, known. */
  routeOf: (delivery: Delivery) => Promise<Route | null>;
  /** Runs an attempt when this process has room for it. */
  withPermit: <Result>(attempt: () => Promise<Result>) => Promise<Result>;
  /** The retry schedule of deliveries whose endpoint is not known. */
  defaultRetry: readonly number[];
  now: () => number;
}

/** What came of an attempt, and whose doing it was. */
export interface Attempted {
  outcome: AttemptOutcome;
  route: Route | null;
  /** The receiver was not even asked: nothing was learned about it. */
  isOurFault: boolean;
}

/**
 * Makes one attempt. Faults of our own, such as a secret that no key opens, are failed attempts like
 * any other, except that they say nothing about the endpoint: they are listed, tried again, and end
 * among the dead where they can be sent anew.
 */
export async function attemptDelivery(
  deps: AttemptDependencies,
  { stored: { delivery }, body }: Claim,
): Promise<Attempted> {
  const found = await findRoute(deps, delivery);
  const route = 'fault' in found ? null : found.route;
  const failed = (attempt: Attempt): Attempted => ({
    outcome: { kind: 'failed', attempt },
    route,
    isOurFault: true,
  });
  if (body === null) {
    const attempt = fault(deps, 'event_missing', 'the event is not in the store any more');
    return { outcome: { kind: 'refused', attempt }, route, isOurFault: true };
  }
  if ('fault' in found) return failed(found.fault);
  if (route === null) {
    return failed(fault(deps, 'endpoint_unknown', 'no endpoint of this name is configured'));
  }
  const message = { eventId: delivery.eventId, eventType: delivery.eventType, body };
  try {
    const outcome = await deps.withPermit(() => route.channel.send(message));
    return { outcome, route, isOurFault: false };
  } catch (error) {
    // Channels turn whatever the receiver does into outcomes: what they throw is a defect in them.
    return failed(fault(deps, 'internal', messageOf(error)));
  }
}

async function findRoute(
  deps: AttemptDependencies,
  delivery: Delivery,
): Promise<{ route: Route | null } | { fault: Attempt }> {
  try {
    return { route: await deps.routeOf(delivery) };
  } catch (error) {
    if (!(error instanceof RunwatchError) || error.retriable) throw error;
    return { fault: fault(deps, error.code, messageOf(error)) };
  }
}

function fault({ now }: AttemptDependencies, code: string, message: string): Attempt {
  return { at: now(), status: null, error: { code, message }, durationMs: 0, response: null };
}
