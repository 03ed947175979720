import {
  ALERT_EVENT_TYPES,
  BATCH_EVENT_TYPES,
  DEFAULT_EVENTS,
  DEFAULT_SYSTEM_EVENTS,
  EVENT_TYPES,
  LOGGED_TYPES,
  SYSTEM_EVENT_TYPES,
  type BatchEventType,
  type LoggedType,
} from './event.ts';
import { valueOf } from '../records.ts';

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

/**
 * Whether a subscription wants the events of batches: unless it names others.
 * @param patterns exact types, families or `*`; undefined stands for the default events
 */
export function wantsBatchEvent(
  patterns: readonly string[] | undefined,
  type: BatchEventType,
): boolean {
  return patterns === undefined || patterns.some((pattern) => matchesPattern(pattern, type));
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
    EVENT_TYPES.some((type) => matchesPattern(pattern, type)) ||
    SYSTEM_EVENT_TYPES.some((type) => namesSystemEvent([pattern], type))
  );
}

/** True for patterns that a configured endpoint may have; it may also name events of alerts. */
export function isEndpointPattern(pattern: string): boolean {
  return (
    isRulePattern(pattern) ||
    isEventPattern(pattern) ||
    ALERT_EVENT_TYPES.some((type) => namesAlertEvent([pattern], type))
  );
}

/** True for patterns that match some event: a misspelt one would silently mute a subscription. */
export function isEventPattern(pattern: string): boolean {
  return [...EVENT_TYPES, ...BATCH_EVENT_TYPES].some((type) => matchesPattern(pattern, type));
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
    Object.entries(metadata).every(([key, values]) => isAmong(values, valueOf(watch.metadata, key)))
  );
}

/** Whether a value is one of those that are wanted; without any, every value is. */
export function isAmong(
  wanted: readonly string[] | undefined,
  value: string | null | undefined,
): boolean {
  return wanted === undefined || (typeof value === 'string' && wanted.includes(value));
}
