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
export function overdueText({ source, polls, oldestMs, wantedRequests, limit }: Overdue): string {
  const runs = `${polls.toLocaleString('en')} ${polls === 1 ? 'run' : 'runs'} overdue`;
  const asked = `source ${source} may be asked ${rateText(limit.requests, limit)}`;
  const cure = `${rateText(wantedRequests, limit)} would do, or profile frugal`;
  return `${runs}, oldest ${ageText(oldestMs)}; ${asked}; ${cure}`;
}

function rateText(requests: number, { perMs }: RateLimit): string {
  const perS = (requests * 1_000) / perMs;
  return perS >= 1 ? `${Math.round(perS)}/s` : `${Math.round(perS * 60)}/min`;
}

function ageText(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} m` : `${Math.round(minutes / 60)} h`;
}
