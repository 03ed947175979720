import type { RateLimit } from '../budget.ts';

/** Requests at once that a source is granted at the least, and all sources of a process together. */
const LEAST = 16;
const MOST = 1_024;

/** What decides how many requests a source can need at once. */
export interface AskedSource {
  limit: RateLimit;
  /** How long an answer may take, ms. */
  timeoutMs: number;
}

/**
 * How many requests to a source may be under way in one process: as many as its rate limit can begin
 * while the slowest answer is awaited (Little's law), so that a slow Noxus is asked as often as a fast
 * one. Where all sources together would need more than a process should hold, each gets its share.
 */
export function autoConcurrency(source: AskedSource, all: readonly AskedSource[]): number {
  const total = all.reduce((sum, one) => sum + neededBy(one), 0);
  const share = Math.min(1, MOST / total);
  return Math.min(MOST, Math.max(LEAST, Math.ceil(neededBy(source) * share)));
}

function neededBy({ limit, timeoutMs }: AskedSource): number {
  return (limit.requests * timeoutMs) / limit.perMs;
}
