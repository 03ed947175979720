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

/** The time in which the limit lets every active watch be polled once. @returns milliseconds */
export function roundMs(active: number, { requests, perMs }: RateLimit): number {
  return (active * perMs) / requests;
}

/** Lowest limit of concurrent requests per source, and the limit for all sources of a process. */
const LEAST = 16;
const MOST = 1_024;

/** What decides how many concurrent requests a source needs. */
export interface AskedSource {
  limit: RateLimit;
  /** How long an answer may take, ms. */
  timeoutMs: number;
}

/**
 * The limit of concurrent requests to a source in one process. It is as many as the rate limit can
 * begin during the slowest answer (Little's law), so that a slow Noxus is polled as often as a fast
 * one. Where all sources together exceed the limit of a process, each gets its share.
 */
export function autoConcurrency(source: AskedSource, all: readonly AskedSource[]): number {
  const total = all.reduce((sum, one) => sum + neededBy(one), 0);
  const share = Math.min(1, MOST / total);
  return Math.min(MOST, Math.max(LEAST, Math.ceil(neededBy(source) * share)));
}

function neededBy({ limit, timeoutMs }: AskedSource): number {
  return (limit.requests * timeoutMs) / limit.perMs;
}
