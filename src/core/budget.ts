/** How many requests a source takes, and in what time. */
export interface RateLimit {
  requests: number;
  /** Milliseconds. */
  perMs: number;
}

/** Asks for leave to send one request. */
export interface RequestAsk {
  /** The request's name, by which nothing else is known. */
  request: string;
  limit: RateLimit;
  /** Whether it may be the probe of a closed source, and how long that may take at the most, ms. */
  probeMs?: number | undefined;
}

/** What became of it. */
export interface Admission {
  admitted: boolean;
  /** How many requests count against the limit now. */
  count: number;
  /** For how long the budget is used up from now on, ms; 0 where it is not. */
  usedUpMs: number;
}

/** The most time that a request may take from its leave to its arrival and still be counted right, ms. */
const MOST_GRACE_MS = 1_000;

/**
 * How long after its leave a request that was not answered may still arrive, as far as the budget
 * reckons with it: half of the limit's time, a second at the most. It counts for so much longer.
 * @returns milliseconds
 */
export function graceMs({ perMs }: RateLimit): number {
  return Math.min(perMs / 2, MOST_GRACE_MS);
}

/** For how long a request counts that is never answered. @returns milliseconds */
export function holdMs(limit: RateLimit): number {
  return Math.ceil(limit.perMs + graceMs(limit)) + 1;
}

/** The time in which the limit lets every active watch be polled once. @returns milliseconds */
export function roundMs(active: number, { requests, perMs }: RateLimit): number {
  return (active * perMs) / requests;
}
