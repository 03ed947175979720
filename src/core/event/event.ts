import type { RunNodes } from '../run/nodes.ts';
import type { RunSnapshot } from '../run/snapshot.ts';

/** All event types of a watch. */
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
  'run.restarted',
  'run.gone',
  'run.status_unknown',
  'watch.expired',
  'watch.unreachable',
  'watch.recovered',
] as const;

export type EventType = (typeof EVENT_TYPES)[number];

/** System events about endpoints, sources and polling. */
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
  'source.inconsistent',
  'source.consistent',
  'workflow.stalled',
  'workflow.recovered',
  'polling.overdue',
  'polling.caught_up',
  'discovery.unavailable',
  'discovery.recovered',
  'discovery.waiting',
  'store.data_lost',
] as const;

export type SystemEventType = (typeof SYSTEM_EVENT_TYPES)[number];

/** System events sent and listed by default: each is in place of, or explains, events of many watches. */
export const DEFAULT_SYSTEM_EVENTS: ReadonlySet<string> = new Set([
  'source.unreachable',
  'source.recovered',
  'source.inconsistent',
  'source.consistent',
  'workflow.stalled',
  'workflow.recovered',
  'discovery.waiting',
]);

/** Events of alerts, which rules make of other events. */
export const ALERT_EVENT_TYPES = [
  'alert.firing',
  'alert.updated',
  'alert.acknowledged',
  'alert.resolved',
] as const;

type AlertEventType = (typeof ALERT_EVENT_TYPES)[number];

/** Events of batches, which are about several runs. */
export const BATCH_EVENT_TYPES = ['batch.completed', 'batch.failed'] as const;

export type BatchEventType = (typeof BATCH_EVENT_TYPES)[number];

/** The event that a test of an endpoint sends. */
export const TEST_EVENT_TYPE = 'runwatch.test';

/** All event types that a receiver can get. */
export type SentEventType =
  | EventType
  | BatchEventType
  | SystemEventType
  | AlertEventType
  | typeof TEST_EVENT_TYPE;

/** Event types that the log holds. */
export const LOGGED_TYPES = [
  ...EVENT_TYPES,
  ...BATCH_EVENT_TYPES,
  ...ALERT_EVENT_TYPES,
  ...SYSTEM_EVENT_TYPES,
] as const;

export type LoggedType = (typeof LOGGED_TYPES)[number];

/** The patterns that name a family each of these types, such as `run.*`. */
export function familiesOf(types: readonly string[]): string[] {
  return [...new Set(types.map((type) => `${type.slice(0, type.indexOf('.'))}.*`))];
}

/** Patterns that name several of these. */
export const LOGGED_FAMILIES: readonly string[] = [...familiesOf(LOGGED_TYPES), 'system.*'];

/** The event types of a subscription that names none. */
export const DEFAULT_EVENTS: readonly EventType[] = EVENT_TYPES.filter(
  (type) => type !== 'run.started' && type !== 'run.resumed' && type !== 'run.progress',
);

/** Why an event about trouble was raised. */
interface EventError {
  code: string;
  message: string;
  since: string;
}

/**
 * Fields that only some events have. Durations are ms as observed: no source gives the time at
 * which a pause began.
 */
export interface EventDetails {
  /** Why an event about trouble was raised. */
  error?: EventError;
  /** The number of the reminder that a run still waits for a human; absent on the first event. */
  reminder?: number;
  /** How long the run has waited for a human, or had when it stopped waiting. */
  waited_ms?: number;
  /** How long the run has been in its state, or was in the state that it left. */
  lasted_ms?: number;
  /** Within this time 99 of 100 runs leave the state; null while too few durations are known. */
  usual_ms?: number | null;
}

/**
 * An event as stored, listed and sent, in the published shape. Its JSON text is made once, at the
 * moment of the change, and never rewritten. Times are ISO 8601 UTC with milliseconds.
 */
export interface RunwatchEvent {
  id: string;
  type: EventType;
  timestamp: string;
  data: EventDetails & {
    run_id: string;
    run: RunSnapshot | null;
    previous: { status: string; progress: number | null } | null;
    /** Null where no stream of the run said so. */
    nodes: RunNodes | null;
    /**
     * 1 for the first event of a watch, growing by one. It only gives the order and is in no id.
     */
    sequence: number;
    detected_at: string;
    detection_delay_ms: number | null;
    workflow_name: string | null;
    /** The run in the app of its source. */
    run_url: string | null;
    /** The run in the dashboard. */
    watch_url: string | null;
    watch: { source: string; metadata: Record<string, string>; registered_at: string };
  };
}

/** An event that is about no one run: of a batch, of an alert, or about runwatch itself; in the published shape. */
export interface OwnEvent {
  id: string;
  type: BatchEventType | AlertEventType | SystemEventType;
  timestamp: string;
  data: Readonly<Record<string, unknown>>;
}

/** An event of the log. */
export type AnyEvent = RunwatchEvent | OwnEvent;

export function isOfRun(event: AnyEvent): event is RunwatchEvent {
  return (EVENT_TYPES as readonly string[]).includes(event.type);
}

/**
 * When runwatch detected the change, in ms since the epoch. It grows with the events' numbers;
 * `timestamp` does not, since the source may say that a run ended long ago.
 */
export function detectedAt({ timestamp, data }: AnyEvent): number {
  return Date.parse(typeof data.detected_at === 'string' ? data.detected_at : timestamp);
}

/** An event with its place in the log; the cursor grows with every event. */
export interface LoggedEvent {
  cursor: string;
  event: AnyEvent;
}

/** The store has lost data: where its log begins anew for a follower. */
export interface LogReset {
  cursor: string;
  event: null;
}

/** Which events of the log are meant. */
export interface EventFilter {
  /** Of any of these runs. */
  runs?: readonly { source: string; runId: string }[] | undefined;
  /** Any of these types; without them, those that `*` names in a configuration. */
  type?: readonly LoggedType[] | undefined;
  /** Of any of these workflows. */
  workflowId?: readonly string[] | undefined;
  /** Of any of these sources. */
  sources?: readonly string[] | undefined;
  /** A cursor, or the id of an event: only what comes after it in the order of the listing. */
  after?: string | undefined;
}

/** A transition that yields an event which has no number and id yet. */
export interface EventDraft {
  type: EventType;
  details?: EventDetails | undefined;
}

/** True for events that report the end of a run, for which sources give a time. */
export function isTerminalEvent(type: EventType): boolean {
  return type === 'run.completed' || type === 'run.failed' || type === 'run.stopped';
}

/** The times that a `Date` can tell lie within this many ms of the epoch. */
const FURTHEST_MS = 8_640_000_000_000_000;

/**
 * Formats milliseconds since the epoch as the contract writes times. One that no date can tell is the
 * nearest that can: a single such record must not keep all others of a list from being shown.
 */
export function isoTime(ms: number): string {
  return new Date(Math.max(-FURTHEST_MS, Math.min(ms, FURTHEST_MS))).toISOString();
}

/** Headers of one connection (RFC 9110, section 7.6.1), and those that runwatch sets itself. */
const RESERVED =
  /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|expect|host|http2-settings|content-encoding|content-length|content-type|user-agent|webhook-.*)$/i;

/** True for headers that users may not set on a webhook. */
export function isReservedHeader(name: string): boolean {
  return RESERVED.test(name);
}
