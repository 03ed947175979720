import type { RunSnapshot } from './run.ts';

/** Every type of event that a watch can produce. */
export const EVENT_TYPES = [
  'run.started',
  'run.progress',
  'run.resumed',
  'run.stalled',
  'run.recovered',
  'run.awaiting_human_feedback',
  'run.completed',
  'run.failed',
  'run.stopped',
  'run.gone',
  'run.status_unknown',
  'watch.expired',
  'watch.unreachable',
  'watch.recovered',
] as const;

export type EventType = (typeof EVENT_TYPES)[number];

/** What operators are told about delivery itself. */
const OPERATOR_EVENT_TYPES = [
  'endpoint.failing',
  'endpoint.recovered',
  'endpoint.disabled',
  'delivery.exhausted',
] as const;

/** Events about runwatch itself; only endpoints that name them receive them. */
export const SYSTEM_EVENT_TYPES = [
  ...OPERATOR_EVENT_TYPES,
  'source.unauthorized',
  'source.throttled',
  'source.unreachable',
  'source.recovered',
  'polling.overdue',
  'polling.caught_up',
  'discovery.unavailable',
  'discovery.recovered',
  'store.data_lost',
] as const;

export type SystemEventType = (typeof SYSTEM_EVENT_TYPES)[number];

/** System events that endpoints receive by default: they come in the place of one for each watch. */
export const DEFAULT_SYSTEM_EVENTS: readonly string[] = ['source.unreachable', 'source.recovered'];

/** What a receiver gets that somebody wants to try. */
export const TEST_EVENT_TYPE = 'runwatch.test';

/** What can be on its way to a receiver. */
export type SentEventType = EventType | SystemEventType | typeof TEST_EVENT_TYPE;

/** What a subscription hears of when it names no event types. */
export const TOLD_BY_DEFAULT: readonly EventType[] = EVENT_TYPES.filter(
  (type) => type !== 'run.started' && type !== 'run.resumed' && type !== 'run.progress',
);

/** Why an event about trouble was raised. */
interface EventError {
  code: string;
  message: string;
  since: string;
}

/** What only some events say. Durations in ms, as far as was seen: Noxus tells of no pause when it began. */
export interface EventDetails {
  /** Why an event about trouble was raised. */
  error?: EventError;
  /** Counts the reminders that a run still waits for a human; absent where it begins to wait. */
  reminder?: number;
  /** How long the run has waited for a human, or had when it stopped waiting. */
  waited_ms?: number;
  /** How long the run has been in its state, or was in the one that it moved on from. */
  lasted_ms?: number;
  /** In how long 99 of 100 runs leave the state; null while too little is known. */
  usual_ms?: number | null;
}

/**
 * An event as it is stored, listed and sent: the published shape, snake_case. Its JSON text is made
 * once, at the moment of the change, and never rewritten. Times are ISO 8601 UTC with milliseconds.
 */
export interface RunwatchEvent {
  id: string;
  type: EventType;
  timestamp: string;
  data: EventDetails & {
    run_id: string;
    run: RunSnapshot | null;
    previous: { status: string; progress: number | null } | null;
    /** 1 for the first event of a watch, growing by one. It only orders: it is in no id. */
    sequence: number;
    detected_at: string;
    detection_delay_ms: number | null;
    watch: { source: string; metadata: Record<string, string>; registered_at: string };
  };
}

/** A change that is to be told: an event before it has a number and an id. */
export interface News {
  type: EventType;
  details?: EventDetails | undefined;
}

/** True for events that a run has ended; Noxus says when it did. */
export function isTerminalEvent(type: EventType): boolean {
  return type === 'run.completed' || type === 'run.failed' || type === 'run.stopped';
}

/** A time in milliseconds since the epoch as the contract writes times. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
