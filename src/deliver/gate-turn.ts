import type { AttemptOutcome, Delivery } from '../core/delivery.ts';
import { quietMs } from '../core/delivery.ts';
import { assertNever } from '../core/errors.ts';
import {
  afterResult,
  tellsExhausted,
  type Gate,
  type GateResult,
  type StoredGate,
} from '../core/gate.ts';
import { gateAlert, type Alert } from './alerts.ts';
import type { Attempted } from './attempt.ts';

/** What an attempt makes of its endpoint's gate, and what operators should hear of it. */
export function turnOf(
  stored: StoredGate,
  delivery: Delivery,
  { outcome, isOurFault }: Attempted,
  now: number,
): { gate: Gate; alerts: Alert[] } {
  const { gate, alert } = isOurFault
    ? { gate: stored.gate, alert: null }
    : afterResult(stored.gate, resultOf(outcome, now), now);
  const cause = { deliveryId: delivery.id, error: outcome.attempt.error };
  const alerts = alert === null ? [] : [gateAlert(alert, stored, gate, cause)];
  if (delivery.state !== 'dead' || !tellsExhausted(gate, now)) return { gate, alerts };
  return {
    gate: { ...gate, exhaustedToldAt: now },
    alerts: [...alerts, gateAlert('delivery.exhausted', stored, gate, cause)],
  };
}

function resultOf(outcome: AttemptOutcome, now: number): GateResult {
  switch (outcome.kind) {
    case 'delivered':
    case 'failed':
      return { kind: outcome.kind };
    case 'refused':
      return { kind: 'gone' };
    case 'throttled':
      return { kind: 'throttled', until: now + quietMs(outcome.retryAfterMs) };
    default:
      return assertNever(outcome);
  }
}
