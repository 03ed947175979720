import type { Claim, Attempt, AttemptOutcome, Delivery } from '../core/delivery/delivery.ts';
import type { EndpointLimits } from '../core/delivery/endpoint-state.ts';
import { messageOf, RunwatchError } from '../core/errors.ts';
import type { Route } from './channels/channel.ts';

/** A permit that takes longer to come by was in use, ms. */
const HELD_UP_MS = 5;

export interface AttemptDependencies {
  /** Null when the endpoint is not, or no longer, known. */
  routeOf: (delivery: Delivery) => Promise<Route | null>;
  /** Runs an attempt when this process has room for it. */
  withPermit: <Result>(attempt: () => Promise<Result>) => Promise<Result>;
  /** The retry schedule of deliveries whose endpoint is not known. */
  defaultRetry: readonly number[];
  now: () => number;
  /** Whether no other process can have taken over what was claimed at a time, by the monotonic clock. */
  isSurelyHeld: (claimedAt: number) => boolean;
  /** Calls off what runs when the process stops. */
  stopping: AbortSignal;
}

/** What came of an attempt, and whose doing it was. */
export interface Attempted {
  outcome: AttemptOutcome;
  route: Route | null;
  /** The receiver was not even asked: nothing was learned about it. */
  isOurFault: boolean;
  /** It waited for this process, not for a slot: more slots would speed up nothing. */
  isHeldUp: boolean;
}

/**
 * Makes one attempt. Faults of our own, such as a secret that no key opens, are failed attempts like
 * any other, except that they say nothing about the endpoint: they are listed, tried again, and end
 * among the dead where they can be sent anew.
 * @throws RunwatchError `claim_too_old`, `attempt_aborted`: nothing is known of it, and the claim is to
 *   be given back
 */
export async function attemptDelivery(
  deps: AttemptDependencies,
  { stored: { delivery }, body, askedAt }: Claim,
  { deadlineMs }: EndpointLimits,
): Promise<Attempted> {
  const found = await findRoute(deps, delivery);
  const route = 'fault' in found ? null : found.route;
  const failed = (attempt: Attempt): Attempted => ({
    outcome: { kind: 'failed', attempt },
    route,
    isOurFault: true,
    isHeldUp: false,
  });
  if (body === null) {
    const attempt = fault(deps, 'event_missing', 'the event is not in the store any more');
    return { ...failed(attempt), outcome: { kind: 'refused', attempt } };
  }
  if ('fault' in found) return failed(found.fault);
  if (route === null) {
    return failed(fault(deps, 'endpoint_unknown', 'no endpoint of this name is configured'));
  }
  const message = { eventId: delivery.eventId, eventType: delivery.eventType, body };
  // Once half of its lease, of twice the deadline, is over, or this process may count as dead, another
  // could have sent it, and a later one after it.
  const mayStart = () => performance.now() - askedAt <= deadlineMs && deps.isSurelyHeld(askedAt);
  const readyAt = performance.now();
  let beganAt = readyAt;
  try {
    const outcome = await deps.withPermit(async () => {
      beganAt = performance.now();
      if (!mayStart()) throw notSent('claim_too_old');
      if (deps.stopping.aborted) throw notSent('attempt_aborted');
      return route.channel.send(message, deps.stopping, mayStart);
    });
    return { outcome, route, isOurFault: false, isHeldUp: beganAt - readyAt > HELD_UP_MS };
  } catch (error) {
    if (isNotSent(error)) throw error;
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

function notSent(code: 'claim_too_old' | 'attempt_aborted'): RunwatchError {
  return new RunwatchError('the delivery was not sent', { code, retriable: true });
}

/** True where an attempt came to nothing that could be written. */
export function isNotSent(error: unknown): boolean {
  return (
    error instanceof RunwatchError &&
    (error.code === 'claim_too_old' || error.code === 'attempt_aborted')
  );
}

/** An attempt that has waited this long for its receiver uses next to nothing of this process. */
const YIELD_MS = 200;

/**
 * Lets `limit` pieces of work run at a time; the rest wait in the order in which they came. Work that
 * takes long gives its permit back while it goes on, since it only waits for somebody else: a few
 * receivers that hang cannot keep everybody else from being served.
 */
export function createPermits(limit: number, yieldMs = YIELD_MS) {
  const waiting: (() => void)[] = [];
  let free = limit;

  function giveBack(): void {
    const next = waiting.shift();
    if (next) next();
    else free += 1;
  }

  async function take(): Promise<void> {
    if (free > 0) free -= 1;
    else await new Promise<void>((resolve) => waiting.push(resolve));
  }

  return async function withPermit<Result>(work: () => Promise<Result>): Promise<Result> {
    await take();
    let held = true;
    const yieldOnce = () => {
      if (held) giveBack();
      held = false;
    };
    const timer = setTimeout(yieldOnce, yieldMs);
    try {
      return await work();
    } finally {
      clearTimeout(timer);
      yieldOnce();
    }
  };
}
