import { spanText } from '../time.ts';
import type { RateLimit } from './limiter.ts';

/** The overdue polls of a source. */
export interface Overdue {
  source: string;
  /** Polls that are due and not started. */
  polls: number;
  /** How long the oldest has been due, ms. */
  oldestMs: number;
  /** Requests per period of the recommended rate limit. */
  wantedRequests: number;
  limit: RateLimit;
}

/** What an operator needs to know of overdue polls: how many, how old, and what would help. */
export function overdueText(overdue: Overdue): string {
  return `${runsText(overdue)}; ${allowanceText(overdue)}; ${wantedText(overdue)} would do, or profile frugal`;
}

/** What is behind, for an event. */
export function overdueMessage(overdue: Overdue): string {
  return `${runsText(overdue)}; the rate limit is ${rateText(overdue.limit.requests, overdue.limit)}`;
}

/** The remedy for overdue polls. */
export function overdueHelp(overdue: Overdue): string {
  return `raise rate_limit of the source to ${wantedText(overdue)}, or set profile frugal`;
}

/** What the rate limit of a source allows, for people. */
export function allowanceText({ source, limit }: Pick<Overdue, 'source' | 'limit'>): string {
  return `source ${source} may be asked ${rateText(limit.requests, limit)}`;
}

/** The rate limit that would do, for people. */
export function wantedText({ wantedRequests, limit }: Pick<Overdue, 'wantedRequests' | 'limit'>) {
  return rateText(wantedRequests, limit);
}

/** A number of runs, for people. */
export function countText(runs: number): string {
  return `${runs.toLocaleString('en')} ${runs === 1 ? 'run' : 'runs'}`;
}

function runsText({ polls, oldestMs }: Overdue): string {
  return `${countText(polls)} overdue, oldest ${spanText(oldestMs)}`;
}

function rateText(requests: number, { perMs }: RateLimit): string {
  const perS = (requests * 1_000) / perMs;
  return perS >= 1 ? `${Math.round(perS)}/s` : `${Math.round(perS * 60)}/min`;
}
