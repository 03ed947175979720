import {
  afterResult,
  tellsExhausted,
  type EndpointResult,
  type EndpointState,
} from '../core/delivery/endpoint-state.ts';
import { quietMs, type AttemptOutcome, type Delivery } from '../core/delivery/delivery.ts';
import { assertNever } from '../core/errors.ts';
import type { Attempted } from './attempt.ts';
import { endpointEvent, type EndpointEvent } from './endpoint-events.ts';

/** What an attempt makes of its endpoint's state, and the events that say so. */
export function effectsOf(
  before: EndpointState,
  delivery: Delivery,
  { outcome, isOurFault }: Attempted,
  now: number,
): { state: EndpointState; events: EndpointEvent[] } {
  const { state, alert } = isOurFault
    ? { state: before, alert: null }
    : afterResult(before, resultOf(outcome, now), now);
  const cause = { delivery, error: outcome.attempt.error };
  const change = { before, after: state };
  const events = alert === null ? [] : [endpointEvent(alert, change, cause)];
  if (delivery.state !== 'dead' || !tellsExhausted(state, now)) return { state, events };
  return {
    state: { ...state, exhaustedToldAt: now },
    events: [...events, endpointEvent('delivery.exhausted', change, cause)],
  };
}

function resultOf(outcome: AttemptOutcome, now: number): EndpointResult {
  switch (outcome.kind) {
    case 'delivered':
      return { kind: 'delivered' };
    case 'failed':
      return { kind: 'failed', timedOut: outcome.attempt.error?.code === 'timeout' };
    case 'refused':
      return { kind: 'gone' };
    case 'throttled':
      return { kind: 'throttled', until: now + quietMs(outcome.retryAfterMs) };
    default:
      return assertNever(outcome);
  }
}
