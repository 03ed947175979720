import type { RateLimit } from '../budget.ts';

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
