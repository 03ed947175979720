import { groupBy } from '../core/arrays.ts';
import { isWidened } from '../core/cadence/load.ts';
import type { ClockStep } from '../core/clock.ts';
import type { ClaimedMember } from '../redis/leases.ts';
import type { ClaimedRequest, ClaimedRequests } from '../redis/stores/request-claim.ts';
import type {
  ReleasedUntil,
  ScheduleSurvey,
  ScheduleStore,
} from '../redis/stores/schedule-store.ts';
import type { Process } from '../process.ts';
import type { Claimed } from './slots.ts';
import type { Source } from './source.ts';
import { isoTime } from '../core/event/event.ts';
import type { RateLimit } from '../core/source/rate-limit.ts';
import { overdueCause, overdueHelp, overdueMessage, type Overdue } from '../core/source/overdue.ts';

/** How long a source counts as paused after its pause, ms: a probe may be in flight. */
const JUST_PAUSED_MS = 5_000;

/** The delay of a run that this process has claimed a second time, ms. */
const OVERLAP_MS = 1_000;

/** What is due for less than this a slot is about to claim, ms. */
const UNCLAIMED_MS = 250;

/** A request that this process may make until it settles or releases the claim. */
export interface RequestClaim extends Omit<ClaimedRequest, 'dueAt' | 'now'> {
  /** From when the request was due to its claim, without pauses of the source, ms. */
  lagMs: number;
  /** From the start of the claim to now, ms. */
  ageMs: () => number;
  /** True after half of the lease: the request must not be sent any more. */
  isStale: () => boolean;
}

/**
 * The schedule of one source, as one process uses it. It claims the most urgent requests that are due, which one
 * script chooses by `core/source/request-order.ts`, and makes them. The write of a result sets the next due time,
 * which `core/watch/observe.ts` and `core/feed` decide.
 */
export class Schedule {
  /** Tokens of this process; the store's claims with other tokens of its id are lost. */
  private readonly tokens = new Set<string>();
  private readonly inFlight = new Set<string>();
  /** Claims without an answer so far: which of their tokens were given is not known. */
  private readonly asking = new Set<string>();
  private pausedUntil = -Infinity;
  private isSurveyed = false;

  constructor(private readonly source: Source) {}

  /** Claims the most urgent requests that are due. */
  async claim(most: number): Promise<Claimed> {
    const { process, name, limiter } = this.source;
    const { monotonic } = process;
    const leavesMs = limiter.leavesFor();
    if (leavesMs !== null) return { claims: [], next: { is: 'limited', ms: leavesMs } };
    const token = process.newToken();
    const startedAt = monotonic();
    this.asking.add(token);
    const { claimed, next } = await this.store
      .claim(name, {
        token,
        most,
        limit: limiter.limit,
        secondHoldMs: limiter.secondHoldMs,
        leaseMs: this.leaseMs,
        roundMs: limiter.load().roundMs,
        isShort: isWidened(process.config.polling.max_interval, limiter.load()),
      })
      .finally(() => this.asking.delete(token));
    if (next.is === 'paused') this.pausedUntil = monotonic() + next.ms;
    return { claims: await this.taken(claimed, startedAt), next };
  }

  /** Ends a claim without a result. */
  async release(held: ClaimedMember, until: ReleasedUntil): Promise<void> {
    const { name, slots } = this.source;
    await this.store.release(name, [held], until).finally(() => this.drop(held));
    if (typeof until === 'object') slots.dueIn(until.inMs);
    else if (until === 'as before') slots.due();
  }

  /** Keeps a claim for another lease. @returns false where another process has it by now */
  renew(held: ClaimedMember): Promise<boolean> {
    return this.store.renew(this.source.name, held, this.leaseMs);
  }

  /** Releases a claim so that another process makes the request at once. */
  async handBack(held: ClaimedMember): Promise<void> {
    await this.release(held, 'as before');
    await this.source.wakeAll();
  }

  /** A write has ended this claim; its member is due again after a time, null for never. */
  settled(held: ClaimedMember, nextMs: number | null): void {
    this.drop(held);
    if (nextMs !== null) this.source.slots.dueIn(nextMs);
  }

  /** A write has entered this many watches that are due soon. */
  async entered(count: number): Promise<void> {
    if (count === 0) return;
    this.source.slots.due();
    await this.source.wakeAll();
  }

  /** Makes runs due now; runs without a watch are ignored. */
  async expedite(runIds: readonly string[]): Promise<void> {
    if (runIds.length === 0) return;
    await this.store.expedite(this.source.name, runIds);
    await this.entered(runIds.length);
  }

  /** Moves polls from one due time to another; a poll with a new due time does not move. */
  async defer(moves: readonly { runId: string; from: number; to: number }[]): Promise<void> {
    const moved = moves.map(({ runId, from, to }) => ({ member: runId, from, to }));
    await this.store.defer(this.source.name, moved);
  }

  /** Enters what feeds request, due now; what is there already is due within so many ms. */
  async enterFeed(
    kind: 'list' | 'stream' | 'plan',
    members: readonly { member: string; withinMs: number }[],
  ): Promise<void> {
    if (members.length === 0) return;
    await this.store.enterWithin(this.source.name, kind, members);
    this.source.slots.due();
  }

  /** Enters active watches that are missing. @returns how many were */
  async enterMissing(runIds: readonly string[]): Promise<number> {
    const entered = await this.store.enterMissing(this.source.name, 'watch', runIds);
    if (entered > 0) this.source.slots.due();
    return entered;
  }

  /** The number of watches that are scheduled or claimed. */
  countWatches(): Promise<number> {
    return this.store.countWatches(this.source.name);
  }

  /** How many requests of a kind are due. */
  countDue(kind: 'prompt' | 'stream'): Promise<number> {
    const { process, name } = this.source;
    return this.store.countDue(name, kind, process.now());
  }

  /** Reads the size of the schedule, and sees to claims that are lost, and to what is due that no slot claims. */
  async survey(): Promise<ScheduleSurvey> {
    const survey = await this.store.survey(this.source.name);
    if (survey.claims > 0) await this.tend();
    const { nextMs } = survey;
    const { slots } = this.source;
    // What held up claims may be over, and the message of that may be lost.
    if (nextMs !== null && nextMs < -UNCLAIMED_MS) slots.free();
    // At the start of a process no other one may know what is due next.
    else if (nextMs !== null && !this.isSurveyed) slots.dueIn(Math.max(0, nextMs));
    this.isSurveyed = true;
    return survey;
  }

  /** Whether this process has seen the source paused, now or a moment ago. */
  isPaused(): boolean {
    // Polls that became due during the pause are late for another reason than the rate limit.
    return this.source.process.monotonic() < this.pausedUntil + JUST_PAUSED_MS;
  }

  /** Makes the claims of a dead process due at once. */
  async takeOver(dead: string): Promise<void> {
    await this.releaseAll(this.store.heldBy(this.source.name, dead));
  }

  /** Releases claims with an expired lease, and claims of this process that it does not hold. */
  async tend(): Promise<void> {
    const { process, name } = this.source;
    await this.releaseAll(this.store.heldByOrLapsed(name, process.id));
  }

  /** Adapts the due times to a store clock that was set back by a step. */
  moveBack(step: ClockStep): Promise<void> {
    return this.store.moveBack(this.source.name, step);
  }

  private get store(): ScheduleStore {
    return this.source.process.stores.requests;
  }

  /** One deadline of a poll covers permit, retries and body. */
  private get leaseMs(): number {
    return 2 * this.source.deadlineMs;
  }

  private isHeld(token: string): boolean {
    return this.tokens.has(token) || this.asking.has(token.slice(0, token.lastIndexOf('.')));
  }

  private drop({ member, token }: ClaimedMember): void {
    if (this.tokens.delete(token)) this.inFlight.delete(member);
  }

  /** Without runs that are still being read: another process has released their claims meanwhile. */
  private async taken(
    claimed: ClaimedRequests['claimed'],
    startedAt: number,
  ): Promise<RequestClaim[]> {
    for (const { token } of claimed) this.tokens.add(token);
    const again = claimed.filter(({ member }) => this.inFlight.has(member));
    const claims = claimed
      .filter(({ member }) => !this.inFlight.has(member))
      .map((request) => this.taking(request, startedAt));
    if (again.length > 0) await this.delay(again);
    return claims;
  }

  private taking({ dueAt, now, ...request }: ClaimedRequest, startedAt: number): RequestClaim {
    this.inFlight.add(request.member);
    const { monotonic } = this.source.process;
    const ageMs = () => monotonic() - startedAt;
    const isStale = () => ageMs() > this.leaseMs / 2;
    // During a pause the request could not be sent.
    const lagMs = Math.min(now - dueAt, Math.max(0, monotonic() - this.pausedUntil));
    return { ...request, lagMs, ageMs, isStale };
  }

  private async delay(claimed: readonly ClaimedRequest[]): Promise<void> {
    const { name, slots } = this.source;
    try {
      await this.store.release(name, claimed, { inMs: OVERLAP_MS });
      slots.dueIn(OVERLAP_MS);
    } finally {
      // `tend` releases the claims if this call has failed.
      for (const { token } of claimed) this.tokens.delete(token);
    }
  }

  private async releaseAll(chunks: AsyncIterable<ClaimedMember[]>): Promise<void> {
    let released = 0;
    for await (const chunk of chunks) {
      const lost = chunk.filter(({ token }) => !this.isHeld(token));
      released += await this.store.release(this.source.name, lost, 'as before');
    }
    if (released > 0) await this.entered(released);
  }
}

/** The number of watches compared at a time. */
const CHUNK = 500;

/**
 * Enters active watches that are missing from the schedules, for example after Redis lost a write. It
 * compares the two counts. The first time, and where the counts differ, it compares every watch.
 */
export class ScheduleRepair {
  /** Active watches of sources that are not configured, at the last comparison. */
  private foreign: number | null = null;

  /** @param schedules by the name of their source */
  constructor(
    private readonly process: Process,
    private readonly schedules: ReadonlyMap<
      string,
      Pick<Schedule, 'enterMissing' | 'countWatches'>
    >,
  ) {}

  async repair(): Promise<void> {
    if (await this.isComplete()) return;
    const { stores, log } = this.process;
    const found = { active: 0, missing: 0 };
    let others = 0;
    for await (const chunk of stores.watches.active(CHUNK)) {
      found.active += chunk.length;
      for (const [source, keys] of groupBy(chunk, (key) => key.source)) {
        const schedule = this.schedules.get(source);
        if (schedule === undefined) others += keys.length;
        else found.missing += await schedule.enterMissing(keys.map(({ runId }) => runId));
      }
    }
    this.foreign = others;
    if (found.missing > 0) log.warn(found, 'watches that were missing from the schedule');
  }

  private async isComplete(): Promise<boolean> {
    if (this.foreign === null) return false;
    let scheduled = this.foreign;
    for (const schedule of this.schedules.values()) scheduled += await schedule.countWatches();
    return scheduled === (await this.process.stores.watches.countActive());
  }
}

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
