/** How many requests a source accepts in a period. */
export interface RateLimit {
  requests: number;
  /** Milliseconds. */
  perMs: number;
}

/** A request for a permit from the rate limiter. */
export interface PermitRequest {
  /** An opaque name of the request. */
  request: string;
  limit: RateLimit;
  /** Set where the request may probe a closed source: how long the probe may take at most, ms. */
  probeMs?: number | undefined;
  /** Set where it takes a second permit: how long that counts, ms. */
  secondHoldMs?: number | undefined;
  /** How long a permit of the source counts at the longest, ms; absent, as long as this one. */
  longestHoldMs?: number | undefined;
}

/** The right to send one request. */
export interface Permit {
  /** The request was answered. */
  settle(): void;
  /**
   * The request is over, answered or not: another one may probe the source. Absent where it is no probe, or what
   * claimed it sees to that.
   */
  endProbe?(): void;
}

/** Longest time from permit to arrival for which a request is still counted exactly, ms. */
const MOST_GRACE_MS = 1_000;

/**
 * How long after its permit an unanswered request may still arrive, by the rate limiter's estimate.
 * It is half of the limit's period, at most a second, and the request counts for that much longer.
 * @returns milliseconds
 */
export function graceMs({ perMs }: RateLimit): number {
  return Math.min(perMs / 2, MOST_GRACE_MS);
}

/** How long an unanswered request counts against the limit. @returns milliseconds */
export function holdMs(limit: RateLimit): number {
  return Math.ceil(limit.perMs + graceMs(limit)) + 1;
}

/**
 * How long the second permit of an unanswered request counts: the second request goes once the first is answered.
 * @param timeoutMs how long the first may take
 * @returns milliseconds
 */
export function secondHoldMs(limit: RateLimit, timeoutMs: number): number {
  return holdMs(limit) + timeoutMs;
}

/** Over which time the limit's requests may come at once, ms: a limit by the second is used as it comes. */
const BURST_MS = 1_000;

/**
 * How the requests of a limit with a longer period are spread over it, so that they are not spent at its
 * beginning: one after the other at equal distances, but for a burst of what one second is worth.
 */
export interface Pace {
  /** Between two requests, ms. */
  spacingMs: number;
  /** Requests that may come at once after a silence. */
  burst: number;
}

/** The pace of a limit; null where its period is too short to need one. */
export function paceOf({ requests, perMs }: RateLimit): Pace | null {
  if (perMs <= BURST_MS) return null;
  const spacingMs = perMs / requests;
  return { spacingMs, burst: Math.max(1, Math.floor(BURST_MS / spacingMs)) };
}

/** The time in which the limit lets every active watch be polled once. @returns milliseconds */
export function roundMs(active: number, { requests, perMs }: RateLimit): number {
  return (active * perMs) / requests;
}

/** Fewest requests under way that a source is given, and the most in a process where nothing else is said. */
const LEAST = 16;
export const MOST_UNDER_WAY = 1_024;

/** What decides how many requests to a source need to be under way. */
export interface AskedSource {
  limit: RateLimit;
  /** How long an answer may take, ms. */
  timeoutMs: number;
}

/**
 * The most requests that one process has under way to a source. As many are needed as the rate limit can
 * begin during the slowest answer (Little's law), so that a slow source is polled as often as a fast one.
 * Where all sources together need more than a process has, each gets its share.
 */
export function autoConcurrency(source: AskedSource, all: readonly AskedSource[]): number {
  const needed = Math.max(LEAST, Math.ceil(neededBy(source)));
  return Math.min(needed, Math.max(LEAST, shareOf(MOST_UNDER_WAY, source, all)));
}

/** What a source has of a number of requests that all sources together have under way; one at the least. */
export function shareOf(most: number, source: AskedSource, all: readonly AskedSource[]): number {
  const total = all.reduce((sum, one) => sum + neededBy(one), 0);
  return Math.max(1, Math.floor((most * neededBy(source)) / total));
}

function neededBy({ limit, timeoutMs }: AskedSource): number {
  return (limit.requests * timeoutMs) / limit.perMs;
}
