import type { z } from 'zod';
import type { Attempt, Delivery } from '../core/delivery/delivery.ts';
import { shownReceiver } from '../core/delivery/receiver.ts';
import { isoTime, DEFAULT_EVENTS } from '../core/event/event.ts';
import type { CountedPage, Page } from '../core/page.ts';
import type { Acknowledgement } from '../core/watch/acknowledgement.ts';
import type { attemptSchema, deliverySchema } from './schemas/delivery.ts';
import type { watchSchema } from './schemas/watch.ts';

type DeliveryJson = z.output<typeof deliverySchema>;

/** An acknowledgement as the API shows it. */
export function presentAcknowledgement(
  acknowledged: Acknowledgement | null,
): z.output<typeof watchSchema>['acknowledged'] {
  if (acknowledged === null) return null;
  const { by, comment, at, until } = acknowledged;
  return { by, comment, at: isoTime(at), until: timeOrNull(until) };
}

/** The event patterns in force: those that were given, or the default events. */
export function patternsInForce(patterns: readonly string[] | null | undefined): string[] {
  return [...(patterns ?? DEFAULT_EVENTS)];
}

/** A delivery as the API shows it in listings. */
export function presentDelivery(delivery: Delivery): DeliveryJson {
  return {
    id: delivery.id,
    event_id: delivery.eventId,
    event_type: delivery.eventType,
    run_id: delivery.runId,
    alert_id: delivery.alertId ?? null,
    batch_id: delivery.batchId ?? null,
    endpoint: shownReceiver(delivery.endpoint),
    state: delivery.state,
    attempt_count: delivery.attemptCount,
    next_attempt_at: timeOrNull(delivery.nextAttemptAt),
    created_at: isoTime(delivery.createdAt),
    delivered_at: timeOrNull(delivery.deliveredAt),
    last: delivery.last && presentResult(delivery.last),
  };
}

/** An attempt with what was answered to it. */
export function presentAttempt(attempt: Attempt): z.output<typeof attemptSchema> {
  return {
    at: isoTime(attempt.at),
    ...presentResult(attempt),
    phases: presentPhases(attempt),
    response: attempt.response,
  };
}

function presentPhases({ phases }: Attempt): z.output<typeof attemptSchema>['phases'] {
  if (phases === undefined) return null;
  const [connect, wait = null, receive = null] = phases;
  return { connect_ms: connect, wait_ms: wait, receive_ms: receive };
}

export function presentResult({ status, error, durationMs }: Attempt) {
  return { status, error, duration_ms: durationMs };
}

/** A page as the API shows it. */
export function presentPage<Item, Json>(page: Page<Item>, present: (item: Item) => Json) {
  return { data: page.items.map(present), next_cursor: page.nextCursor };
}

/** A page with its total as the API shows it. */
export function presentCountedPage<Item, Json>(
  page: CountedPage<Item>,
  present: (item: Item) => Json,
) {
  return { ...presentPage(page, present), total: page.total, total_capped: page.isCapped };
}

export function timeOrNull(ms: number | null): string | null {
  return ms === null ? null : isoTime(ms);
}
