import type { z } from 'zod';
import type { Attempt } from '../core/delivery/delivery.ts';
import { isoTime } from '../core/event/event.ts';
import type { Timeline } from '../core/watch/timeline.ts';
import { presentDelivery } from './present.ts';
import type { timelineSchema } from './schemas/timeline.ts';

type TimelineJson = z.output<typeof timelineSchema>;

/** A timeline as the API shows it. */
export function presentTimeline(timeline: Timeline): TimelineJson {
  return {
    states: timeline.states.map(({ at, until, status, progress }) => ({
      at: isoTime(at),
      until: until === null ? null : isoTime(until),
      status,
      progress,
    })),
    polls: timeline.polls.map(({ at, mode, outcome, durationMs, lagMs }) => ({
      at: isoTime(at),
      kind: mode,
      outcome,
      duration_ms: durationMs,
      lag_ms: lagMs,
    })),
    events: timeline.events.map(presentEvent),
    deliveries: timeline.deliveries.map(({ delivery, attempts, split }) => ({
      ...presentDelivery(delivery),
      relay_ms: split.relayMs,
      receiver_ms: split.receiverMs,
      attempts: attempts.map(presentAttempt),
    })),
    truncated: timeline.isCut,
  };
}

function presentEvent({ event, split }: Timeline['events'][number]) {
  const { detected_at: at } = event.data;
  return { ...event, at, waiting_ms: split.waitingMs, poll_ms: split.pollMs };
}

function presentAttempt({ at, status, error, durationMs }: Attempt) {
  return { at: isoTime(at), status, error, duration_ms: durationMs };
}
