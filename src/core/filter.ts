import { EVENT_TYPES, TOLD_BY_DEFAULT } from './event.ts';

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

/** True for patterns that can ever match: a misspelt one would silently mute a subscription. */
export function isEventPattern(pattern: string): boolean {
  return EVENT_TYPES.some((type) => matchesPattern(pattern, type));
}
