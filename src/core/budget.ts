/** How many requests a source accepts in a period. */
export interface RateLimit {
  requests: number;
  /** Milliseconds. */
  perMs: number;
}

/** A request for a permit from the rate limiter. */
export interface RequestAsk {
  /** An opaque name of the request. */
  request: string;
  limit: RateLimit;
  /** Set where the request may probe a closed source: how long the probe may take at most, ms. */
  probeMs?: number | undefined;
}

/** The rate limiter's answer. */
export interface Admission {
  admitted: boolean;
  /** How many requests count against the limit now. */
  count: number;
  /** How long from now the budget is used up, ms; 0 where it is not. */
  usedUpMs: number;
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
