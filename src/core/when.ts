/** A time as users give it: a moment, or how long ago. Milliseconds, moments since the epoch. */
export type When = { at: number } | { agoMs: number };

/** The moment that is meant. */
function momentOf(when: When, now: number): number {
  return 'at' in when ? when.at : now - when.agoMs;
}

/** Whether nothing can lie between two times, whatever the time is now. */
export function isEmptyRange({ since, until }: WhenRange): boolean {
  if (since === undefined || until === undefined) return false;
  if ('at' in since && 'at' in until) return since.at >= until.at;
  return 'agoMs' in since && 'agoMs' in until && since.agoMs <= until.agoMs;
}

/** Bounds of a time as users give them. */
export interface WhenRange {
  since?: When;
  until?: When;
}

/** A query with its times as moments. */
export function withMoments<Query extends WhenRange>(
  { since, until, ...rest }: Query,
  now: number,
): Omit<Query, keyof WhenRange> & { since?: number; until?: number } {
  return {
    ...rest,
    ...(since !== undefined && { since: momentOf(since, now) }),
    ...(until !== undefined && { until: momentOf(until, now) }),
  };
}
