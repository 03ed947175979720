import type { Random } from '../core/backoff.ts';
import {
  afterAttempt,
  isFresh,
  withheld,
  type Attempt,
  type Delivery,
  type StoredDelivery,
} from '../core/delivery.ts';
import { assertNever } from '../core/errors.ts';
import { gateKey, permit, type GateLimits, type StoredGate } from '../core/gate.ts';
import type { Alerts } from './alerts.ts';
import { attemptDelivery, type AttemptDependencies, type Attempted } from './attempt.ts';
import { turnOf } from './gate-turn.ts';
import type { DeliveryStore, GateStore } from './stores.ts';

/** What one attempt came to, for log and metrics. */
interface DeliveryReport {
  delivery: Delivery;
  attempt: Attempt;
}

export interface DeliverEventDependencies extends AttemptDependencies {
  deliveries: DeliveryStore;
  gates: GateStore;
  limitsOf: (endpoint: string) => GateLimits;
  /** Whether the run has moved on, so that a notice of awaiting feedback is news no more. */
  isOvertaken: (delivery: Delivery) => Promise<boolean>;
  alerts: Alerts;
  /** Called for a delivery that waits, or is parked: its turn may come before its job has ended. */
  stoodInLine: (deliveryId: string) => void;
  /** Gives deliveries their jobs; a delivery whose job is lost here is found by the sweeper. */
  dispatch: (deliveryIds: string[]) => Promise<void>;
  report: (report: DeliveryReport) => void;
  random: Random;
}

/** A job may run this much before its time: clocks and timers are not exact. */
const EARLY_MS = 50;

/** A delivery at whose gate a job stands. */
interface Case {
  stored: StoredDelivery;
  gate: StoredGate;
  limits: GateLimits;
}

/**
 * The use case behind a delivery job: ask the gate of the endpoint, make one attempt, and write in
 * one step its result, when the next one is due, what it says of the endpoint, and whose turn it is.
 * Returns a function from a delivery's id to the time of its next attempt; null when there is none
 * as yet, or ever.
 */
export function createDeliverEvent(deps: DeliverEventDependencies) {
  return async function deliverEvent(id: string): Promise<number | null> {
    const stored = await deps.deliveries.get(id);
    if (stored === null || stored.delivery.nextAttemptAt === null) return null;
    const { delivery } = stored;
    if (stored.delivery.nextAttemptAt > deps.now() + EARLY_MS) return stored.delivery.nextAttemptAt;

    const gate = await deps.gates.get(gateKey(delivery.endpoint));
    const one = { stored, gate, limits: deps.limitsOf(delivery.endpoint) };
    const permitted = permit(gate.gate, deps.now());
    switch (permitted.kind) {
      case 'wait':
        return permitted.until;
      case 'park':
        return withhold(deps, one, 'parked');
      case 'skip':
        return withhold(deps, one, 'skipped');
      case 'send':
      case 'probe':
        return send(deps, one, permitted.kind === 'probe');
      default:
        return assertNever(permitted);
    }
  };
}

async function send(
  deps: DeliverEventDependencies,
  one: Case,
  isProbe: boolean,
): Promise<number | null> {
  const { stored, gate, limits } = one;
  const { delivery } = stored;
  const place = await deps.gates.takePlace(
    { stored, gate: gate.name, isProbe, limits },
    deps.now(),
  );
  if (place === 'changed') return deps.now();
  // Something earlier of the same run is on its way: whoever settles that gives this one its job.
  if (place === 'behind') return null;
  if (place === 'full') {
    deps.stoodInLine(delivery.id);
    return null;
  }
  if (place === 'probed') return withhold(deps, one, 'parked');
  if (place !== 'go') return place.later;
  if (await isOld(deps, delivery)) return withhold(deps, one, 'superseded');
  return settle(deps, one, await attemptDelivery(deps, delivery));
}

/** Old news is not sent, unless nothing held it up or somebody asked for it. */
async function isOld(deps: DeliverEventDependencies, delivery: Delivery): Promise<boolean> {
  if (delivery.requested || isFresh(delivery, deps.now())) return false;
  return deps.isOvertaken(delivery);
}

/** Writes that a delivery is not sent, for now or for good. */
async function withhold(
  deps: DeliverEventDependencies,
  { stored, gate, limits }: Case,
  state: 'parked' | 'skipped' | 'superseded',
): Promise<number | null> {
  const after = withheld(stored.delivery, state);
  const due = await deps.deliveries.move({ before: stored, after, gate, limits, now: deps.now() });
  // Without a gate to write there is only the delivery that can have changed: look at it again.
  if (typeof due === 'string') return deps.now();
  if (state === 'parked') deps.stoodInLine(after.id);
  await deps.dispatch(due);
  return null;
}

/** Writes what an attempt came to; where the gate has changed meanwhile, what it makes of that one. */
async function settle(
  deps: DeliverEventDependencies,
  { stored, gate: gateBefore, limits }: Case,
  attempted: Attempted,
): Promise<number | null> {
  const now = deps.now();
  const { outcome, route } = attempted;
  const { attempt } = outcome;
  const retry = route?.retry ?? deps.defaultRetry;
  const after = afterAttempt(stored.delivery, outcome, retry, { now, random: deps.random });
  for (let gate = gateBefore; ; gate = await deps.gates.get(gate.name)) {
    const turn = turnOf(gate, after, attempted, now);
    const due = await deps.deliveries.move({
      before: stored,
      after,
      attempt,
      gate,
      gateAfter: turn.gate,
      limits,
      alerts: deps.alerts.plan(turn.alerts, gate, now),
      now,
    });
    if (due === 'gate') continue;
    // Somebody else settled it meanwhile: look again at what they made of it.
    if (due === 'delivery') return now;
    await deps.dispatch(due);
    deps.alerts.announce(turn.alerts);
    deps.report({ delivery: after, attempt });
    return after.nextAttemptAt;
  }
}
