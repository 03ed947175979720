/** A source of randomness: uniform in [0, 1). Callers pass it in so that tests can control it. */
export type Random = () => number;

/** Longest pause that a server can ask for with `Retry-After`; a longer one is cut to it. */
export const MAX_RETRY_AFTER_MS = 86_400_000;

interface Backoff {
  baseMs: number;
  maxMs: number;
  /** What each further failure multiplies the bound by, 2 by default. */
  factor?: number;
}

/**
 * Full-jitter exponential backoff: uniform in [0, min(max, base × factorⁿ)]. It never falls below a
 * tenth of that bound, so that no failure causes an immediate retry. Source: "Exponential Backoff
 * And Jitter", AWS Architecture Blog, 2015.
 * @param failures number of failed attempts in a row, from 1
 */
export function fullJitter(backoff: Backoff, failures: number, random: Random): number {
  const { baseMs, maxMs, factor = 2 } = backoff;
  const bound = Math.min(maxMs, baseMs * factor ** Math.min(Math.max(failures - 1, 0), 30));
  return Math.round(bound * Math.max(0.1, random()));
}

/** Lengthens a delay by up to `share` of it. The result is never shorter than the delay. */
export function jitterUp(ms: number, share: number, random: Random): number {
  return Math.round(ms * (1 + share * random()));
}

/** Spreads a delay evenly by ± `share` of it. */
export function jitterAround(ms: number, share: number, random: Random): number {
  return Math.round(ms * (1 - share + 2 * share * random()));
}

/**
 * Parses `Retry-After`: seconds or an HTTP date (RFC 9110, section 10.2.3). Some servers send
 * seconds with a fraction; those parse too.
 * @returns milliseconds from `now`, within [0, {@link MAX_RETRY_AFTER_MS}]; null when absent or
 * unreadable
 */
export function parseRetryAfter(header: string | undefined, now: number): number | null {
  const text = header?.trim() ?? '';
  if (text === '') return null;
  const isDate = /^[a-z]{3}/i.test(text);
  const ms = isDate ? Date.parse(text) - now : seconds(text) * 1_000;
  return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS);
}

/** NaN unless the text is a number in decimal digits. */
function seconds(text: string): number {
  return /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
}
