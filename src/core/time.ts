const UNIT_MS = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
} as const;

const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d|w)$/;

/** What an error message says was expected in place of an invalid duration. */
export const DURATION_HINT = 'a duration such as 250ms, 10s, 5m, 2h or 7d';

/**
 * Reads a duration such as `250ms`, `10s`, `5m`, `2h`, `7d` or `1w`.
 * @returns whole milliseconds, or null when the text is not a duration
 */
export function parseDuration(text: string): number | null {
  const match = DURATION.exec(text.trim());
  if (match === null) return null;
  const unit = match[2] as keyof typeof UNIT_MS;
  return Math.round(Number(match[1]) * UNIT_MS[unit]);
}

/** Writes milliseconds in the largest unit up to days that divides them: 90000 → `90s`, 120000 → `2m`. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    if (ms >= UNIT_MS[unit] && ms % UNIT_MS[unit] === 0) return `${ms / UNIT_MS[unit]}${unit}`;
  }
  return `${ms}ms`;
}

/** An amount of a unit of time, `min` being a minute. */
type Amount = readonly [value: number, unit: 'd' | 'h' | 'min' | 's'];

/**
 * A span in its two largest units, rounded to the smaller one: 7,199 s are two hours. An amount of zero is
 * left out, unless it is the only one.
 */
export function inTwoUnits(ms: number): Amount[] {
  const seconds = Math.round(Math.max(0, ms) / 1_000);
  if (seconds < 60) return [[seconds, 's']];
  if (seconds < 3_600) return split(seconds, 60, ['min', 's']);
  const minutes = Math.round(ms / 60_000);
  if (minutes < 1_440) return split(minutes, 60, ['h', 'min']);
  return split(Math.round(ms / 3_600_000), 24, ['d', 'h']);
}

function split(amount: number, each: number, [large, small]: [Amount[1], Amount[1]]): Amount[] {
  const whole: Amount = [Math.floor(amount / each), large];
  return amount % each === 0 ? [whole] : [whole, [amount % each, small]];
}

/** A span for people: `0.8 s`, `41 s`, `1 h 59 min`, `2 d`. */
export function spanText(ms: number): string {
  if (ms < 9_950) return `${Number((Math.max(0, ms) / 1_000).toFixed(1))} s`;
  return inTwoUnits(ms)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(' ');
}

/** A span in its largest unit, for what need not be exact: `41 s`, `8 min`, `2 h`, `3 d`. */
export function shortText(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 100) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} d`;
}

const ISO_TIME = /^(\d{4}-\d\d-\d\d)(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/;

/**
 * Reads a time with its zone, or a day, which begins in UTC.
 * @returns milliseconds since the epoch, or null when the text is neither
 */
export function parseIsoTime(text: string): number | null {
  const [time, day = ''] = ISO_TIME.exec(text.trim()) ?? [];
  const [at, midnight] = [Date.parse(time ?? ''), Date.parse(day)];
  if (Number.isNaN(at) || Number.isNaN(midnight)) return null;
  // `Date` takes February 30 for a day of March.
  return new Date(midnight).toISOString().startsWith(day) ? at : null;
}

/** A time as users give it: a moment, or how long ago. Milliseconds, moments since the epoch. */
export type When = { at: number } | { agoMs: number };

/** The moment that is meant. */
export function momentOf(when: When, now: number): number {
  return 'at' in when ? when.at : now - when.agoMs;
}

/** Whether nothing can lie between two times, whatever the time is now. */
export function isEmptyRange({ since, until }: WhenRange): boolean {
  if (since === undefined || until === undefined) return false;
  if ('at' in since && 'at' in until) return since.at >= until.at;
  return 'agoMs' in since && 'agoMs' in until && since.agoMs <= until.agoMs;
}

/** The end of something as users give it: a moment, or how long from now. Milliseconds. */
export type Until = { at: number } | { inMs: number };

/** The moment at which it ends. */
export function endOf(until: Until, now: number): number {
  return 'at' in until ? until.at : now + until.inMs;
}

/** Bounds of a time as users give them. */
export interface WhenRange {
  since?: When | undefined;
  until?: When | undefined;
}

/** Bounds of a time as a store takes them, ms since the epoch. */
interface Moments {
  since?: number | undefined;
  until?: number | undefined;
}

/** A filter of a store with its times as users give them. */
type Asked<Filter> = Omit<Filter, keyof WhenRange> & WhenRange;

/**
 * A filter with its times as moments. The types refuse a field that the filter of the store lacks, and that
 * the store would pass over.
 */
export function withMoments<Filter extends Moments, Given extends Asked<Filter>>(
  given: Given & Record<Exclude<keyof Given, keyof Filter>, never>,
  now: number,
): Filter {
  const { since, until, ...rest }: Asked<Filter> = given;
  const moments: Moments = {
    since: since && momentOf(since, now),
    until: until && momentOf(until, now),
  };
  return { ...rest, ...moments } as Filter;
}
