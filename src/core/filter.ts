import {
  DEFAULT_SYSTEM_EVENTS,
  EVENT_TYPES,
  SYSTEM_EVENT_TYPES,
  TOLD_BY_DEFAULT,
} from './event.ts';

/** Matches an event type against one pattern: an exact type, a family such as `run.*`, or `*`. */
function matchesPattern(pattern: string, type: string): boolean {
  if (pattern === '*') return true;
  if (pattern.endsWith('.*')) return type.startsWith(pattern.slice(0, -1));
  return pattern === type;
}

/**
 * Tells whether a subscription wants an event.
 * @param patterns exact types, families or `*`; undefined stands for the types told by default
 */
export function wantsEvent(patterns: readonly string[] | undefined, type: string): boolean {
  return (patterns ?? TOLD_BY_DEFAULT).some((pattern) => matchesPattern(pattern, type));
}

/** Stands for all events about runwatch itself, of which "*" means only those sent by default. */
export const ALL_SYSTEM_EVENTS = 'system.*';

/** Whether an endpoint receives a system event: by its type, its family, all of them, or by default. */
export function namesSystemEvent(patterns: readonly string[] | undefined, type: string): boolean {
  const isDefault = DEFAULT_SYSTEM_EVENTS.includes(type);
  if (patterns === undefined) return isDefault;
  return patterns.some(
    (pattern) =>
      pattern === ALL_SYSTEM_EVENTS ||
      ((pattern !== '*' || isDefault) && matchesPattern(pattern, type)),
  );
}

/** True for patterns that a configured endpoint may have: it may name system events, too. */
export function isEndpointPattern(pattern: string): boolean {
  return (
    isEventPattern(pattern) || SYSTEM_EVENT_TYPES.some((type) => namesSystemEvent([pattern], type))
  );
}

/** True for patterns that can ever match: a misspelt one would silently mute a subscription. */
export function isEventPattern(pattern: string): boolean {
  return EVENT_TYPES.some((type) => matchesPattern(pattern, type));
}

/**
 * What a watch must be like for an endpoint to be told of it. Everything that is given must match;
 * of several values one has to. Keys as they are configured.
 */
export interface WatchMatch {
  workflow_id?: readonly string[] | undefined;
  source?: readonly string[] | undefined;
  metadata?: Readonly<Record<string, readonly string[]>> | undefined;
}

/** What of a watch can be matched. `run` is null until something was seen of it. */
export interface MatchedWatch {
  source: string;
  run: { workflow_id: string | null } | null;
  metadata: Readonly<Record<string, string>>;
}

/**
 * Tells whether a watch is what an endpoint asks for. The workflow of a run of which nothing was
 * ever seen is not known, so it matches no `workflow_id`.
 * @param match undefined asks for nothing
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
