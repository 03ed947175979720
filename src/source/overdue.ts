import { isoTime } from '../core/event/event.ts';
import type { RateLimit } from '../core/source/limiter.ts';
import { overdueCause, overdueHelp, overdueMessage, type Overdue } from '../core/source/overdue.ts';
import type { ScheduleSurvey } from '../redis/stores/schedule-store.ts';
import type { Source } from './source.ts';

/** Polls are overdue if one is due for this long at two checks in a row, ms. */
const OVERDUE_MS = 10_000;

/** The recommended rate limit is enough to make all due polls within this time, s. */
const CLEARED_WITHIN_S = 60;

/** Detects that the polls of a source are overdue, and reports it once for all processes. */
export class OverdueMonitor {
  private checksBehind = 0;
  /** The quickest answer of the store at these checks, ms. */
  private quickestMs = Infinity;
  private found: Overdue | null = null;
  /** Whether it is noted that polls keep up. At first another process may have left a note that they do not. */
  private isClear = false;
  /** Since when polls have been overdue; null where a process that has ended knew it. */
  private since: number | null = null;

  constructor(private readonly source: Source) {}

  /** Null if the polls are not overdue. */
  current(): Overdue | null {
    return this.found;
  }

  /**
   * @param survey.oldestMs how long the earliest request has been due; null or below zero for none
   * @param survey.answerMs how long the store took to answer
   */
  async check({
    due,
    oldestMs,
    answerMs,
  }: Pick<ScheduleSurvey, 'due' | 'oldestMs' | 'answerMs'>): Promise<void> {
    const { name: source, limiter, lists } = this.source;
    const { limit } = limiter;
    this.checksBehind = (oldestMs ?? 0) > OVERDUE_MS ? this.checksBehind + 1 : 0;
    this.quickestMs = Math.min(answerMs, this.checksBehind > 1 ? this.quickestMs : Infinity);
    if (this.checksBehind > 0) this.isClear = false;
    if (this.checksBehind >= 2) {
      const wantedRequests = Math.max(
        wantedLimit(limit, due),
        Math.ceil(lists.wantedPerMs() * limit.perMs),
      );
      const usedShare = await limiter.usedShare();
      const cause = overdueCause(limit, { answerMs: this.quickestMs, usedShare });
      this.found = { source, polls: due, oldestMs: oldestMs ?? 0, wantedRequests, limit, cause };
      await this.note(this.found);
    } else if (this.checksBehind === 0) {
      this.found = null;
      if (!this.isClear) await this.note(null);
      this.isClear = true;
    }
  }

  /** Notes for all processes that polls are overdue, or with null that they keep up; of these, one reports it. */
  protected async note(overdue: Overdue | null): Promise<void> {
    const { process, name } = this.source;
    const at = process.now();
    if (overdue !== null) this.since ??= at - overdue.oldestMs;
    await process.raise(
      overdue === null
        ? { type: 'polling.caught_up', level: 'info', data: caughtUpData(name, this.since, at) }
        : { type: 'polling.overdue', level: 'warn', data: overdueData(overdue, at) },
      (event) => process.stores.requests.noteOverdue(name, overdue !== null, event),
    );
    if (overdue === null) this.since = null;
  }
}

function wantedLimit({ requests, perMs }: RateLimit, due: number): number {
  return requests + Math.ceil((due * perMs) / (CLEARED_WITHIN_S * 1_000));
}

/** @param since when polls became overdue; null where a process that has ended knew it */
export function caughtUpData(source: string, since: number | null, now: number) {
  return {
    source,
    message: 'no poll is overdue any more',
    since: since === null ? null : isoTime(since),
    lasted_ms: since === null ? null : Math.max(0, Math.round(now - since)),
    help: 'nothing: polls are in time again',
  };
}

export function overdueData(overdue: Overdue, now: number) {
  const { source, polls, oldestMs, wantedRequests, limit } = overdue;
  return {
    source,
    message: overdueMessage(overdue),
    polls,
    oldest_ms: Math.round(oldestMs),
    since: isoTime(now - oldestMs),
    rate_limit: { requests: limit.requests, per_ms: limit.perMs },
    rate_limit_that_would_do: { requests: wantedRequests, per_ms: limit.perMs },
    help: overdueHelp(overdue),
  };
}
