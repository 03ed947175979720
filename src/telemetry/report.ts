import type { Attempt, Delivery } from '../core/delivery/delivery.ts';
import { shownReceiver } from '../core/delivery/receiver.ts';
import type { RunwatchEvent } from '../core/event/event.ts';
import type { Watch } from '../core/watch/watch.ts';
import type { Logger } from './logger.ts';

/** The fields of a finished poll for its log line. */
interface PollReport {
  watch: Watch;
  outcome: string;
  events: RunwatchEvent[];
  durationMs: number;
}

/** One wide line for each poll with a change; the others have level debug. */
export function logPoll(log: Logger, { watch, outcome, events, durationMs }: PollReport): void {
  const level = events.length > 0 ? 'info' : 'debug';
  if (!log.isLevelEnabled(level)) return;
  const fields = {
    source: watch.source,
    run_id: watch.runId,
    state: watch.state,
    status: watch.run?.status ?? null,
    progress: watch.run?.progress ?? null,
    outcome,
    events: events.map(({ id, type }) => ({ id, type })),
    polls: watch.polls,
    failures: watch.cadence.failures,
    trouble: watch.trouble?.message ?? null,
    duration_ms: durationMs,
    next_poll_at: watch.nextPollAt === null ? null : new Date(watch.nextPollAt).toISOString(),
  };
  log[level](fields, 'poll');
}

/** A page of a list of runs that was read. */
interface PageReport {
  list: { source: string; workflowId: string | null };
  page: number;
  outcome: string;
  message: string | null;
  changed: number;
  unchanged: number;
  vanished: number;
  durationMs: number;
  nextAt: number;
}

/** One wide line for each list that is given up; other reads of pages have level debug. */
export function logPage(log: Logger, { list, outcome, message, ...seen }: PageReport): void {
  const isGivenUp = outcome !== 'ok' && outcome !== 'rate_limited';
  const level = isGivenUp ? 'warn' : 'debug';
  if (!log.isLevelEnabled(level)) return;
  const fields = {
    source: list.source,
    workflow_id: list.workflowId,
    outcome,
    message,
    page: seen.page,
    changed: seen.changed,
    unchanged: seen.unchanged,
    vanished: seen.vanished,
    duration_ms: seen.durationMs,
    next_read_at: new Date(seen.nextAt).toISOString(),
  };
  log[level](fields, isGivenUp ? 'batch.fallback' : 'batch');
}

/** A finished attempt at delivering. */
interface DeliveryReport {
  delivery: Delivery;
  attempt: Attempt;
  /** How many further deliveries the message covered; null for those. */
  others: number | null;
}

/**
 * One wide line per attempt: a warning for a failed one, an error for the last one. Deliveries that the
 * message of another covered have level debug.
 */
export function logDelivery(log: Logger, { delivery, attempt, others }: DeliveryReport): void {
  const fields = {
    delivery_id: delivery.id,
    event_id: delivery.eventId,
    event_type: delivery.eventType,
    run_id: delivery.runId,
    endpoint: shownReceiver(delivery.endpoint),
    state: delivery.state,
    attempt: delivery.attemptCount,
    status: attempt.status,
    error: attempt.error,
    duration_ms: attempt.durationMs,
    ...(others !== null && others > 0 && { told_with: others }),
    next_attempt_at:
      delivery.nextAttemptAt === null ? null : new Date(delivery.nextAttemptAt).toISOString(),
  };
  if (others === null) log.debug(fields, 'delivery');
  else if (delivery.state === 'dead') log.error(fields, 'delivery');
  else if (attempt.error !== null) log.warn(fields, 'delivery');
  else log.info(fields, 'delivery');
}
