import type { Attempt, Delivery } from '../core/delivery/delivery.ts';
import type { ClaimGroup } from '../core/delivery/fold.ts';
import type { Claim } from '../core/delivery/outbox.ts';
import type { EndpointLimits } from '../core/delivery/endpoint-state.ts';
import { poolOf } from '../core/delivery/receiver.ts';
import type { AttemptResult } from '../core/delivery/retry.ts';
import { messageOf, RunwatchError } from '../core/errors.ts';
import { isWithoutResult, withoutResult, type Message, type Route } from './channels/channel.ts';
import type { TraceAttempt } from './ports.ts';

/** A wait for a permit longer than this means that all permits were in use, ms. */
const HELD_UP_MS = 5;

export interface AttemptDependencies {
  /** Null for an unknown endpoint. */
  routeOf: (delivery: Delivery) => Promise<Route | null>;
  /** Runs an attempt once this process has a free permit. */
  withPermit: <Result>(pool: string, attempt: () => Promise<Result>) => Promise<Result>;
  /** The retry schedule of deliveries to unknown endpoints. */
  defaultRetry: readonly number[];
  traceAttempt: TraceAttempt;
  now: () => number;
  /** Whether a claim made at a time of the monotonic clock surely still stands. */
  isSurelyHeld: (claimedAt: number) => boolean;
  /** Aborts attempts in progress when the process stops. */
  stopping: AbortSignal;
}

/** The result of an attempt, and how it was made. */
export interface Attempted extends AttemptResult {
  route: Route | null;
  /** It waited for a permit of this process: more slots would not speed it up. */
  isHeldUp: boolean;
}

/**
 * Makes one attempt, for all deliveries that its message covers. Internal faults, such as a secret that
 * no key opens, are failed attempts like any other, but show nothing about the endpoint. They are listed
 * and retried, and become dead letters that can be replayed.
 * @throws RunwatchError `claim_too_old`, `attempt_aborted`, `log_unwritable`, `host_exhausted`: there is no
 *   result, and the caller releases the claim
 */
export async function attemptDelivery(
  deps: AttemptDependencies,
  [{ stored, body, askedAt }, ...others]: ClaimGroup,
  { deadlineMs }: EndpointLimits,
): Promise<Attempted> {
  const { delivery } = stored;
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
  const { eventId, eventType } = delivery;
  const traces = [delivery, ...others.map((other) => other.stored.delivery)].map(deps.traceAttempt);
  const message = {
    eventId,
    eventType,
    body,
    ...(others.length > 0 && { others: messagesOf(others) }),
    ...(traces[0] && { traceparent: traces[0].traceparent }),
  };
  // The lease is twice the deadline. After half of it, or once this process may count as dead, another
  // process could send this delivery, and a later one after it.
  const mayStart = () => performance.now() - askedAt <= deadlineMs && deps.isSurelyHeld(askedAt);
  const readyAt = performance.now();
  let beganAt = readyAt;
  try {
    const outcome = await deps.withPermit(poolOf(delivery.endpoint), async () => {
      beganAt = performance.now();
      if (!mayStart()) throw withoutResult('claim_too_old');
      if (deps.stopping.aborted) throw withoutResult('attempt_aborted');
      return route.channel.send(message, deps.stopping, mayStart);
    });
    for (const trace of traces) trace?.end(outcome.attempt);
    return { outcome, route, isOurFault: false, isHeldUp: beganAt - readyAt > HELD_UP_MS };
  } catch (error) {
    if (isWithoutResult(error)) throw error;
    // Channels return outcomes for all that receivers do: a throw is a defect of the channel.
    return failed(fault(deps, 'internal', messageOf(error)));
  }
}

/** The events that a message covers besides its first one. */
function messagesOf(others: readonly Claim[]): NonNullable<Message['others']> {
  return others.flatMap(({ stored, body }) =>
    body === null ? [] : [{ eventId: stored.delivery.eventId, body }],
  );
}

async function findRoute(
  deps: AttemptDependencies,
  delivery: Delivery,
): Promise<{ route: Route | null } | { fault: Attempt }> {
  try {
    return { route: await deps.routeOf(delivery) };
  } catch (error) {
    // Redis is away: the claim is given back.
    if (error instanceof RunwatchError && error.retriable) throw error;
    const code = error instanceof RunwatchError ? error.code : 'internal';
    return { fault: fault(deps, code, messageOf(error)) };
  }
}

function fault({ now }: AttemptDependencies, code: string, message: string): Attempt {
  return { at: now(), status: null, error: { code, message }, durationMs: 0, response: null };
}

/** After this long an attempt waits for its receiver and hardly uses this process, ms. */
const YIELD_MS = 200;

/**
 * Lets `limit` tasks run at a time. The others wait, and the pools take turns, each first come, first
 * served: a pool with many holds up no other, and needs few connections. A task that takes longer than
 * `yieldMs` returns its permit and continues: it only waits for its receiver, and a few receivers that hang
 * must not block the others.
 */
export function createPermits(limit: number, yieldMs = YIELD_MS) {
  const waiting = new Map<string, (() => void)[]>();
  let free = limit;

  function giveBack(): void {
    const [turn] = waiting;
    if (turn === undefined) {
      free += 1;
      return;
    }
    const [pool, queue] = turn;
    const next = queue.shift();
    waiting.delete(pool);
    if (queue.length > 0) waiting.set(pool, queue);
    next?.();
  }

  async function take(pool: string): Promise<void> {
    if (free > 0) {
      free -= 1;
      return;
    }
    await new Promise<void>((resolve) => {
      const before = waiting.get(pool);
      if (before === undefined) waiting.set(pool, [resolve]);
      else before.push(resolve);
    });
  }

  async function withPermit<Result>(pool: string, work: () => Promise<Result>): Promise<Result> {
    await take(pool);
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
  }

  return withPermit;
}
