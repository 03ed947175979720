import type { Attempt, Delivery } from '../delivery/delivery.ts';
import { countedReceiver, shownReceiver } from '../delivery/receiver.ts';
import type { RunwatchEvent } from '../event/event.ts';
import { childOf } from './run-spans.ts';
import { deliverySpanId, pollSpanId, traceIdOf, type Span } from './span.ts';

/**
 * The span of a delivery that is settled. Its parent is the poll that detected its event.
 * @param body the event's JSON text; null when the store no longer has it
 */
export function deliverySpan(delivery: Delivery, body: string | null, now: number): Span {
  const { id, eventId, eventType, endpoint, state, attemptCount, createdAt, last } = delivery;
  const error = state === 'dead' ? (last?.error ?? null) : null;
  return {
    ...childOf(delivery),
    ...(body !== null && { parentId: pollOf(delivery, body) }),
    spanId: deliverySpanId(id),
    name: `deliver ${countedReceiver(endpoint)}`,
    kind: 'internal',
    startedAt: createdAt,
    endedAt: Math.max(createdAt, now),
    attributes: {
      'runwatch.delivery.id': id,
      'runwatch.delivery.state': state,
      'runwatch.delivery.attempts': attemptCount,
      'runwatch.endpoint': shownReceiver(endpoint),
      'runwatch.event.id': eventId,
      'runwatch.event.type': eventType,
      'error.type': error?.code ?? null,
    },
    error: error?.message ?? null,
  };
}

function pollOf(delivery: Delivery, body: string): string {
  const { data } = JSON.parse(body) as Pick<RunwatchEvent, 'data'>;
  return pollSpanId(delivery, data.detected_at);
}

/** Names by https://opentelemetry.io/docs/specs/semconv/http/http-spans/ where a request was made. */
export function attemptSpan(delivery: Delivery, attempt: Attempt, spanId: string): Span {
  const { at, durationMs, status, error } = attempt;
  return {
    traceId: traceIdOf(delivery),
    parentId: deliverySpanId(delivery.id),
    spanId,
    name: 'attempt',
    kind: 'client',
    startedAt: at,
    endedAt: at + durationMs,
    attributes: {
      'runwatch.endpoint': shownReceiver(delivery.endpoint),
      'http.response.status_code': status,
      'error.type': error?.code ?? null,
    },
    error: error?.message ?? null,
  };
}
