import type { Random } from '../core/backoff.ts';
import type { Claim } from '../core/claim.ts';
import {
  afterAttempt,
  isFresh,
  postponed,
  withheld,
  type Attempt,
  type Delivery,
} from '../core/delivery.ts';
import { assertNever } from '../core/errors.ts';
import { permit, type GateLimits } from '../core/gate.ts';
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
  move: DeliveryStore['move'];
  gates: GateStore;
  limitsOf: (endpoint: string) => GateLimits;
  /** Whether the run has moved on, so that a notice of awaiting feedback is news no more. */
  isOvertaken: (delivery: Delivery) => Promise<boolean>;
  alerts: Alerts;
  report: (report: DeliveryReport) => void;
  random: Random;
}

/** A gate at which something will be due. */
export interface Ring {
  gate: string;
  /** Milliseconds since the epoch. */
  at: number;
}

/** What came of a claim. */
export interface Delivered {
  /** What this process has claimed by the same step, in its stead. */
  claimed: Claim[];
  rings: Ring[];
}

const NOTHING: Delivered = { claimed: [], rings: [] };

/** How many deliveries may be claimed when the one at hand has made room. */
type Room = () => number;

/**
 * The use case behind a claimed delivery: ask the gate of the endpoint, make one attempt, and write
 * in one step its result, when the next one is due, what it says of the endpoint, and who takes its
 * place. Returns a function that does so.
 */
export function createDeliverEvent(deps: DeliverEventDependencies) {
  return async function deliverEvent(claim: Claim, room: Room): Promise<Delivered> {
    const { gate, stored } = claim;
    const permitted = permit(gate.gate, deps.now());
    switch (permitted.kind) {
      case 'wait':
        return moveOn(deps, claim, postponed(stored.delivery, permitted.until), room);
      case 'park':
        return moveOn(deps, claim, withheld(stored.delivery, 'parked'), room);
      case 'skip':
        return moveOn(deps, claim, withheld(stored.delivery, 'skipped'), room);
      case 'probe':
        if (!(await deps.gates.takeProbe(gate.name, stored.delivery.id, limitsOf(deps, claim)))) {
          return moveOn(deps, claim, withheld(stored.delivery, 'parked'), room);
        }
        return send(deps, claim, room);
      case 'send':
        return send(deps, claim, room);
      default:
        return assertNever(permitted);
    }
  };
}

async function send(deps: DeliverEventDependencies, claim: Claim, room: Room): Promise<Delivered> {
  const { delivery } = claim.stored;
  if (await isOld(deps, delivery))
    return moveOn(deps, claim, withheld(delivery, 'superseded'), room);
  return settle(deps, claim, await attemptDelivery(deps, claim), room);
}

/** Old news is not sent, unless nothing held it up or somebody asked for it. */
async function isOld(deps: DeliverEventDependencies, delivery: Delivery): Promise<boolean> {
  if (delivery.requested || isFresh(delivery, deps.now())) return false;
  return deps.isOvertaken(delivery);
}

/** Writes that a delivery is not sent, for now or for good. */
async function moveOn(
  deps: DeliverEventDependencies,
  claim: Claim,
  after: Delivery,
  room: Room,
): Promise<Delivered> {
  const { stored: before, gate } = claim;
  const limits = limitsOf(deps, claim);
  const step = { before, after, gate, limits, most: room(), now: deps.now() };
  const claimed = await deps.move(step);
  // Somebody else has moved it: whatever they made of it stands.
  return typeof claimed === 'string' ? NOTHING : { claimed, rings: ringsOf([after]) };
}

/** Writes what an attempt came to; where the gate has changed meanwhile, what it makes of that one. */
async function settle(
  deps: DeliverEventDependencies,
  claim: Claim,
  attempted: Attempted,
  room: Room,
): Promise<Delivered> {
  const { stored: before } = claim;
  const now = deps.now();
  const { outcome, route } = attempted;
  const { attempt } = outcome;
  const retry = route?.retry ?? deps.defaultRetry;
  const after = afterAttempt(before.delivery, outcome, retry, { now, random: deps.random });
  for (let { gate } = claim; ; gate = await deps.gates.get(gate.name)) {
    const turn = turnOf(gate, after, attempted, now);
    const alerts = deps.alerts.plan(turn.alerts, gate, now);
    const claimed = await deps.move({
      before,
      after,
      attempt,
      gate,
      gateAfter: turn.gate,
      limits: limitsOf(deps, claim),
      alerts,
      most: room(),
      now,
    });
    if (claimed === 'gate') continue;
    if (claimed === 'delivery') return NOTHING;
    deps.alerts.announce(turn.alerts);
    deps.report({ delivery: after, attempt });
    return { claimed, rings: ringsOf([after, ...alerts.map(({ delivery }) => delivery)]) };
  }
}

function ringsOf(deliveries: Delivery[]): Ring[] {
  return deliveries.flatMap(({ endpoint, nextAttemptAt: at }) =>
    at === null ? [] : [{ gate: endpoint, at }],
  );
}

function limitsOf({ limitsOf: limits }: DeliverEventDependencies, { stored }: Claim): GateLimits {
  return limits(stored.delivery.endpoint);
}
