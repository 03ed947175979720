import { spanText } from '../time.ts';
import type { RateLimit } from './rate-limit.ts';

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
  cause: OverdueCause;
}

/** Why polls are overdue: what is short. */
export type OverdueCause =
  | { is: 'limit' }
  /** `answerMs`: how long Redis takes to answer at the least. */
  | { is: 'redis'; answerMs: number }
  /** `usedShare`: of the rate limit. */
  | { is: 'processes'; usedShare: number };

/** Redis is slow from here on, ms, and from this share of the limit's period: a poll waits for it twice. */
const SLOW_MS = 100;
const SLOW_SHARE = 0.1;

/** A rate limit that is used to this share is the reason. */
const USED_UP = 0.8;

/**
 * Why polls are overdue.
 * @param answerMs how long Redis took to answer, at the least
 * @param usedShare of the rate limit, by all processes
 */
export function overdueCause(
  { perMs }: RateLimit,
  { answerMs, usedShare }: { answerMs: number; usedShare: number },
): OverdueCause {
  // A request counts from its claim to the write of its answer, so that a slow Redis uses the limit up, too.
  if (answerMs >= Math.max(SLOW_MS, SLOW_SHARE * perMs)) return { is: 'redis', answerMs };
  return usedShare >= USED_UP ? { is: 'limit' } : { is: 'processes', usedShare };
}

/** What an operator needs to know of overdue polls: how many, how old, and what would help. */
export function overdueText(overdue: Overdue): string {
  const { cause } = overdue;
  const parts = [runsText(overdue), allowanceText(overdue)];
  switch (cause.is) {
    case 'limit':
      parts.push(`${wantedText(overdue)} would do, or profile frugal`);
      break;
    case 'redis':
      parts.push(`${redisText(cause)}, which is too slow for that`);
      break;
    case 'processes':
      parts.push(`${processesText(cause)}: daemons do not keep up`);
      break;
  }
  return parts.join('; ');
}

/** What is behind, for an event. */
export function overdueMessage(overdue: Overdue): string {
  const { cause } = overdue;
  const message = `${runsText(overdue)}; the rate limit is ${rateText(overdue.limit.requests, overdue.limit)}`;
  switch (cause.is) {
    case 'limit':
      return message;
    case 'redis':
      return `${message}; ${redisText(cause)}`;
    case 'processes':
      return `${message}; ${processesText(cause)}`;
  }
}

/** The remedy for overdue polls. */
export function overdueHelp(overdue: Overdue): string {
  switch (overdue.cause.is) {
    case 'limit':
      return `raise rate_limit of the source to ${wantedText(overdue)}, or set profile frugal`;
    case 'redis':
      return 'bring Redis nearer to the daemons, or see what keeps it busy';
    case 'processes':
      return 'give daemons more CPU time, run another one, or raise polling.concurrency where it is a number';
  }
}

function redisText({ answerMs }: { answerMs: number }): string {
  return `Redis answers in ${Math.round(answerMs)} ms`;
}

function processesText({ usedShare }: { usedShare: number }): string {
  return `${Math.round(100 * usedShare)} % of it are used`;
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
