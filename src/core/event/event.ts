import { createHash } from 'node:crypto';
import type { RunNodes } from '../run/nodes.ts';
import type { RunSnapshot } from '../run/snapshot.ts';
import type { WatchKey } from '../watch/watch.ts';

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
  'polling.overdue',
  'polling.caught_up',
  'discovery.unavailable',
  'discovery.recovered',
  'store.data_lost',
] as const;

export type SystemEventType = (typeof SYSTEM_EVENT_TYPES)[number];

/** System events sent and listed by default: each replaces one event per watch. */
export const DEFAULT_SYSTEM_EVENTS: ReadonlySet<string> = new Set([
  'source.unreachable',
  'source.recovered',
]);

/** Events of alerts, which rules make of other events. */
export const ALERT_EVENT_TYPES = [
  'alert.firing',
  'alert.updated',
  'alert.acknowledged',
  'alert.resolved',
] as const;

type AlertEventType = (typeof ALERT_EVENT_TYPES)[number];

/** The event that a test of an endpoint sends. */
export const TEST_EVENT_TYPE = 'runwatch.test';

/** All event types that a receiver can get. */
export type SentEventType = EventType | SystemEventType | AlertEventType | typeof TEST_EVENT_TYPE;

/** Event types that the log holds. */
export const LOGGED_TYPES = [...EVENT_TYPES, ...ALERT_EVENT_TYPES, ...SYSTEM_EVENT_TYPES] as const;

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
 * Fields that only some events have. Durations are ms as observed: Noxus gives no time for the
 * start of a pause.
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
    /** The run in Noxus. */
    run_url: string | null;
    /** The run in the dashboard. */
    watch_url: string | null;
    watch: { source: string; metadata: Record<string, string>; registered_at: string };
  };
}

/** An event that is about no run: of an alert, or about runwatch itself; in the published shape. */
export interface OwnEvent {
  id: string;
  type: AlertEventType | SystemEventType;
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
 * `timestamp` does not, since Noxus may say that a run ended long ago.
 */
export function detectedAt({ timestamp, data }: AnyEvent): number {
  return Date.parse(typeof data.detected_at === 'string' ? data.detected_at : timestamp);
}

/** A transition that yields an event which has no number and id yet. */
export interface EventDraft {
  type: EventType;
  details?: EventDetails | undefined;
}

/** True for events that report the end of a run, for which Noxus gives a time. */
export function isTerminalEvent(type: EventType): boolean {
  return type === 'run.completed' || type === 'run.failed' || type === 'run.stopped';
}

/** Formats milliseconds since the epoch as the contract writes times. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

/**
 * Returns a new unique mark each time: the store's epoch and a number. The number is random. A
 * counter would go back in a store that lost writes, and then name another change.
 */
export type NewMark = () => string;

/** Digits of an epoch and of a number, of base 36. */
const DIGITS = 8;

/** Draws a whole number from 0 to below its argument. */
type Draw = (below: number) => number;

/** Eight random letters and digits: an epoch, or the number of a mark. */
export function newName(draw: Draw): string {
  return draw(36 ** DIGITS)
    .toString(36)
    .padStart(DIGITS, '0');
}

/** The parts of a change from which its event's id is made. */
interface WatchChangeIdentity extends WatchKey {
  type: EventType;
  registeredAt: number;
  /** Terminal event types that the watch has already had. */
  pastEnds: readonly EventType[];
}

/**
 * The id of an event of a watch. The run alone determines the id of its terminal event, so that it
 * is the same after a store lost the event. The registration determines the id of an expiry. Every
 * other change may happen more than once, so its id has a mark.
 */
export function watchEventId(change: WatchChangeIdentity, newMark: NewMark): string {
  return `evt_${changePart(change, newMark)}_${watchPart(change)}`;
}

function changePart(change: WatchChangeIdentity, newMark: NewMark): string {
  const { type, registeredAt, pastEnds } = change;
  if (type === 'watch.expired') return `expired${registeredAt.toString(36)}`;
  return isTerminalEvent(type) && !pastEnds.includes(type) ? type.slice('run.'.length) : newMark();
}

/** The id of a system event. */
export function systemEventId(newMark: NewMark): string {
  return `evt_${newMark()}`;
}

/** The id of a delivery: event and endpoint determine it, and it contains the event's id. */
export function deliveryId(eventId: string, endpoint: string): string {
  const digest = createHash('sha256').update(`${eventId}\n${endpoint}`).digest('hex');
  return `dlv_${digest.slice(0, 12)}_${eventId.slice('evt_'.length)}`;
}

const USUAL_SOURCE = 'default';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * The watch's part of an id: `[<source>~]<22 characters of a UUID>` or `[<source>~]~<run id, ~ for
 * each dot>`. It can be parsed back, so finding an event by id needs no index. Neither part
 * contains a tilde, and dots separate the parts of a signed webhook id.
 */
function watchPart({ source, runId }: WatchKey): string {
  const run = UUID.test(runId)
    ? Buffer.from(runId.replaceAll('-', ''), 'hex').toString('base64url')
    : `~${runId.replaceAll('.', '~')}`;
  return source === USUAL_SOURCE ? run : `${source}~${run}`;
}

/** Headers of one connection (RFC 9110, section 7.6.1), and those that runwatch sets itself. */
const RESERVED =
  /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|expect|host|http2-settings|content-encoding|content-length|content-type|user-agent|webhook-.*)$/i;

/** True for headers that users may not set on a webhook. */
export function isReservedHeader(name: string): boolean {
  return RESERVED.test(name);
}

/** Matches an event type against one pattern: an exact type, a family such as `run.*`, or `*`. */
function matchesPattern(pattern: string, type: string): boolean {
  if (pattern === '*') return true;
  if (pattern.endsWith('.*')) return type.startsWith(pattern.slice(0, -1));
  return pattern === type;
}

/**
 * Whether a subscription wants an event.
 * @param patterns exact types, families or `*`; undefined stands for the default events
 */
export function wantsEvent(patterns: readonly string[] | undefined, type: string): boolean {
  return (patterns ?? DEFAULT_EVENTS).some((pattern) => matchesPattern(pattern, type));
}

/** Matches all system events; `*` matches only those sent by default. */
export const ALL_SYSTEM_EVENTS = 'system.*';

/**
 * Whether an endpoint receives a system event: by type, by family, by `system.*`, or by default.
 */
export function namesSystemEvent(patterns: readonly string[] | undefined, type: string): boolean {
  const isDefault = DEFAULT_SYSTEM_EVENTS.has(type);
  if (patterns === undefined) return isDefault;
  return patterns.some(
    (pattern) =>
      pattern === ALL_SYSTEM_EVENTS ||
      ((pattern !== '*' || isDefault) && matchesPattern(pattern, type)),
  );
}

/** Whether patterns name a type of event of alerts; `*` does not. */
export function namesAlertEvent(patterns: readonly string[] | undefined, type: string): boolean {
  return (patterns ?? []).some((pattern) => pattern !== '*' && matchesPattern(pattern, type));
}

/** The types of the log that patterns name. */
export function loggedTypes(patterns: readonly string[]): LoggedType[] {
  return LOGGED_TYPES.filter((type) =>
    patterns.some(
      (pattern) =>
        matchesPattern(pattern, type) || (pattern === ALL_SYSTEM_EVENTS && isSystem(type)),
    ),
  );
}

function isSystem(type: string): boolean {
  return (SYSTEM_EVENT_TYPES as readonly string[]).includes(type);
}

/** Whether patterns of an alert rule name an event of a watch, or one about runwatch itself. */
export function ruleWants(patterns: readonly string[], type: string): boolean {
  return isSystem(type) ? namesSystemEvent(patterns, type) : wantsEvent(patterns, type);
}

/** True for patterns that name events of watches or about runwatch itself, as rules judge them. */
export function isRulePattern(pattern: string): boolean {
  return (
    isEventPattern(pattern) || SYSTEM_EVENT_TYPES.some((type) => namesSystemEvent([pattern], type))
  );
}

/** True for patterns that a configured endpoint may have; it may also name events of alerts. */
export function isEndpointPattern(pattern: string): boolean {
  return (
    isRulePattern(pattern) || ALERT_EVENT_TYPES.some((type) => namesAlertEvent([pattern], type))
  );
}

/** True for patterns that match some event: a misspelt one would silently mute a subscription. */
export function isEventPattern(pattern: string): boolean {
  return EVENT_TYPES.some((type) => matchesPattern(pattern, type));
}

/**
 * The conditions under which an endpoint gets a watch's events. All given keys must match; of
 * several values of a key, one. Keys are as in the configuration.
 */
export interface WatchMatch {
  workflow_id?: readonly string[] | undefined;
  source?: readonly string[] | undefined;
  metadata?: Readonly<Record<string, readonly string[]>> | undefined;
}

/** The fields of a watch that conditions apply to. `run` is null before the first snapshot. */
export interface MatchedWatch {
  source: string;
  run: { workflow_id: string | null } | null;
  metadata: Readonly<Record<string, string>>;
}

/**
 * Whether a watch meets an endpoint's conditions. A run without a snapshot has no known workflow,
 * so it matches no `workflow_id`.
 * @param match undefined matches every watch
 */
export function matchesWatch(match: WatchMatch | undefined, watch: MatchedWatch): boolean {
  if (match === undefined) return true;
  const { workflow_id: workflows, source: sources, metadata = {} } = match;
  return (
    isAmong(workflows, watch.run?.workflow_id) &&
    isAmong(sources, watch.source) &&
    Object.entries(metadata).every(([key, values]) => isAmong(values, watch.metadata[key]))
  );
}

function isAmong(wanted: readonly string[] | undefined, value: string | null | undefined): boolean {
  return wanted === undefined || (typeof value === 'string' && wanted.includes(value));
}

/** The watch that an event belongs to by its id; null for system events, and for what is no id. */
export function watchOfEvent(eventId: string): WatchKey | null {
  const part = /^evt_[0-9a-z]+_(.+)$/.exec(eventId)?.[1];
  if (part === undefined) return null;
  const [, source = USUAL_SOURCE, run = ''] = /^(?:([^~]+)~)?(~?[^~].*)$/.exec(part) ?? [];
  if (run.startsWith('~')) return { source, runId: run.slice(1).replaceAll('~', '.') };
  const hex = Buffer.from(run, 'base64url').toString('hex');
  const parts = /^(.{8})(.{4})(.{4})(.{4})(.{12})$/.exec(hex);
  return parts === null ? null : { source, runId: parts.slice(1).join('-') };
}

/** The watch that a delivery belongs to by its id; null where that names none. */
export function watchOfDelivery(id: string): WatchKey | null {
  const rest = /^dlv_[0-9a-f]{12}_(.+)$/.exec(id)?.[1];
  return rest === undefined ? null : watchOfEvent(`evt_${rest}`);
}
