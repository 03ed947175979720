import {
  type AttemptError,
  type Delivery,
  quietMs,
  type AttemptOutcome,
} from '../core/delivery/delivery.ts';
import {
  type EndpointAlert,
  type EndpointState,
  afterResult,
  tellsExhausted,
  type EndpointResult,
} from '../core/delivery/endpoint-state.ts';
import { isWebhook, shownReceiver, type Receiver } from '../core/delivery/receiver.ts';
import type { PlannedEvent } from '../core/delivery/outbox.ts';
import { isoTime } from '../core/event/event.ts';
import type { Attempted } from './attempt.ts';

/** A system event about an endpoint. */
export interface EndpointEvent {
  type: EndpointAlert | 'delivery.exhausted';
  about: Receiver;
  /** As sent: snake_case, times as ISO 8601. */
  data: Record<string, unknown>;
}

/** System events about endpoints: planned with the result that causes them, and logged after that. */
export interface EndpointEvents {
  /** Makes the event and its deliveries to those that name its type. */
  plan: (event: Pick<EndpointEvent, 'type' | 'data'>) => PlannedEvent;
  log: (event: EndpointEvent) => void;
}

/** An event about an endpoint never goes to that endpoint. */
export function planEndpointEvents(
  events: readonly EndpointEvent[],
  { plan }: Pick<EndpointEvents, 'plan'>,
): PlannedEvent[] {
  return events.map(({ type, data, about }) => {
    const planned = plan({ type, data });
    const deliveries = planned.deliveries.filter(({ endpoint }) => endpoint !== about);
    return { ...planned, deliveries };
  });
}

interface Cause {
  delivery: Delivery;
  error: AttemptError | null;
}

const HELP: Record<EndpointEvent['type'], (name: string) => string> = {
  'endpoint.failing': (name) =>
    `Its deliveries wait and one at a time probes; when the receiver is mended, \`runwatch endpoints retry ${name}\` sends them at once.`,
  'endpoint.recovered': () => 'Waiting deliveries are sent now.',
  'endpoint.disabled': (name) =>
    `Later deliveries are skipped until \`runwatch endpoints resume ${name}\`; then \`runwatch redeliver --endpoint ${name}\` sends what was skipped.`,
  'delivery.exhausted': (name) =>
    `\`runwatch deliveries --endpoint ${name} --state dead\` lists what was given up, \`runwatch redeliver --endpoint ${name}\` sends it again.`,
};

/** The event for a change of an endpoint's state. */
function endpointEvent(
  type: EndpointEvent['type'],
  { before, after }: { before: EndpointState; after: EndpointState },
  { delivery, error }: Cause,
): EndpointEvent {
  const endpoint = shownReceiver(delivery.endpoint);
  const since = after.failingSince ?? before.failingSince;
  const data = {
    endpoint,
    ...(after.disabled !== null && { reason: after.disabled.reason }),
    delivery_id: delivery.id,
    error,
    failing_since: since === null ? null : isoTime(since),
    failures: Math.max(after.failures, before.failures),
    help: HELP[type](endpoint),
  };
  return { type, about: delivery.endpoint, data };
}

/** The endpoint's state after an attempt, and the events of that change. */
export function effectsOf(
  before: EndpointState,
  delivery: Delivery,
  { outcome, isOurFault }: Attempted,
  now: number,
): { state: EndpointState; events: EndpointEvent[] } {
  const { state, alert } =
    isOurFault || isOfSubscription(delivery, outcome)
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

/** 401 and 403 judge headers. Each subscription at the URL of a webhook has its own. */
function isOfSubscription({ endpoint }: Delivery, { attempt }: AttemptOutcome): boolean {
  return isWebhook(endpoint) && (attempt.status === 401 || attempt.status === 403);
}

function resultOf(outcome: AttemptOutcome, now: number): EndpointResult {
  switch (outcome.kind) {
    case 'delivered':
      return { kind: 'delivered' };
    case 'failed':
      return { kind: 'failed', timedOut: outcome.attempt.error?.code === 'timeout' };
    case 'rejected':
      return { kind: 'failed' };
    case 'refused':
      return { kind: 'gone' };
    case 'throttled':
      return { kind: 'throttled', until: now + quietMs(outcome.retryAfterMs) };
  }
}
