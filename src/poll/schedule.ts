import { groupBy } from '../core/arrays.ts';
import type { ClockStep } from '../core/clock.ts';
import type { RateLimit } from '../core/source/limiter.ts';
import type { Overdue } from '../core/source/overdue.ts';
import type { ReadTimes } from '../core/source/read-times.ts';
import type {
  ClaimedRequest,
  HeldClaim,
  ReleasedUntil,
  ScheduleSurvey,
} from '../core/source/schedule.ts';
import type { ScheduleStore, WatchStore } from './ports.ts';
import type { NextClaim } from './source-slots.ts';

/** How long a source counts as paused after its pause, ms: a probe may be in flight. */
const JUST_PAUSED_MS = 5_000;

/** The delay of a run that this process has claimed a second time, ms. */
const OVERLAP_MS = 1_000;

/** The list feed of a source, as its schedule sees it. */
export interface FeedView {
  /** Requests each ms with which polls would be as prompt as profiles ask for; 0 if unknown. */
  wantedPerMs(): number;
  /** How often the plan lets runs be read; null if there is none. */
  readTimes(): ReadTimes | null;
}

export interface ScheduleDependencies {
  source: string;
  store: ScheduleStore;
  /** This process, as its tokens name it. */
  process: string;
  newToken: () => string;
  limit: RateLimit;
  /** How long it takes to poll every watch of the source once, ms. */
  roundMs: () => number;
  /** Whether a short rate limit widens the longest interval. */
  isShort: () => boolean;
  /** One deadline of a poll covers permit, retries and body; a claim is leased for twice that, ms. */
  deadlineMs: number;
  /** Wakes the other processes. */
  wakeOthers: () => Promise<void>;
  /** This many requests are due now. */
  onDue: (count: number) => void;
  /** A request is due after this time. */
  onDueIn: (ms: number) => void;
  /** Milliseconds of a clock that only runs forward. */
  clock: () => number;
}

/** A request that this process may make until it settles or releases the claim. */
export interface RequestClaim extends Omit<ClaimedRequest, 'is' | 'dueAt' | 'now' | 'usedUpMs'> {
  /** From when the request was due to its claim, without pauses of the source, ms. */
  lagMs: number;
  /** From the start of the claim to now, ms. */
  ageMs: () => number;
  /** True after half of the lease: the request must not be sent any more. */
  isStale: () => boolean;
}

/**
 * The schedule of one source, which decides when each run and list is requested. A process claims a
 * due request and makes it. The write of its result sets the next due time.
 */
export class Schedule {
  /** Tokens of this process; the store's claims with other tokens of its id are lost. */
  private readonly tokens = new Set<string>();
  private readonly inFlight = new Set<string>();
  private pausedUntil = -Infinity;

  constructor(private readonly deps: ScheduleDependencies) {}

  /** What the source's list feed knows; it sets this. */
  feed: FeedView = { wantedPerMs: () => 0, readTimes: () => null };

  /** Claims the most urgent request that is due. */
  async claim(): Promise<NextClaim<RequestClaim>> {
    const { source, store, limit, clock } = this.deps;
    const token = this.deps.newToken();
    const startedAt = clock();
    this.tokens.add(token);
    const request = {
      token,
      limit,
      leaseMs: this.leaseMs,
      roundMs: this.deps.roundMs(),
      isShort: this.deps.isShort(),
    };
    const reply = await store.claim(source, request).catch((error: unknown) => {
      this.tokens.delete(token);
      throw error;
    });
    if (reply.is === 'claimed') return this.claimed(reply, startedAt);
    this.tokens.delete(token);
    if (reply.is === 'idle') return { is: 'idle', ms: reply.ms };
    const ms = reply.ms ?? 0;
    if (reply.is === 'paused') this.pausedUntil = clock() + ms;
    return { is: 'held', ms };
  }

  /** Ends a claim without a result. */
  async release(held: HeldClaim, until: ReleasedUntil): Promise<void> {
    const { source, store, onDueIn } = this.deps;
    await store.release(source, [held], until).finally(() => this.drop(held));
    if (typeof until === 'object') onDueIn(until.inMs);
    else if (until === 'as before') this.onDue(1);
  }

  /** Keeps a claim for another lease. @returns false where another process has it by now */
  renew(held: HeldClaim): Promise<boolean> {
    return this.deps.store.renew(this.deps.source, held, this.leaseMs);
  }

  /** Releases a claim so that another process makes the request at once. */
  async handBack(held: HeldClaim): Promise<void> {
    await this.release(held, 'as before');
    await this.deps.wakeOthers();
  }

  /** A write has ended this claim; its member is due again after a time, null for never. */
  settled(held: HeldClaim, nextMs: number | null): void {
    this.drop(held);
    if (nextMs !== null) this.deps.onDueIn(nextMs);
  }

  /** A write has entered this many watches that are due soon. */
  async entered(count: number): Promise<void> {
    if (count === 0) return;
    this.onDue(count);
    await this.deps.wakeOthers();
  }

  /** Makes runs due now; runs without a watch are ignored. */
  async expedite(runIds: readonly string[]): Promise<void> {
    if (runIds.length === 0) return;
    await this.deps.store.expedite(this.deps.source, runIds);
    await this.entered(runIds.length);
  }

  /** Moves polls from one due time to another; a poll with a new due time does not move. */
  async defer(moves: readonly { runId: string; from: number; to: number }[]): Promise<void> {
    const moved = moves.map(({ runId, from, to }) => ({ member: runId, from, to }));
    await this.deps.store.defer(this.deps.source, moved);
  }

  /** Enters what feeds request, due now; what is there already is due within so many ms. */
  async enterFeed(
    kind: 'list' | 'stream' | 'plan',
    members: readonly { member: string; withinMs: number }[],
  ): Promise<void> {
    if (members.length === 0) return;
    await this.deps.store.enterWithin(this.deps.source, kind, members);
    this.onDue(1);
  }

  /** Enters active watches that are missing. @returns how many were */
  async enterMissing(runIds: readonly string[]): Promise<number> {
    const entered = await this.deps.store.enterMissing(this.deps.source, 'watch', runIds);
    if (entered > 0) this.onDue(entered);
    return entered;
  }

  /** The number of watches that are scheduled or claimed. */
  countWatches(): Promise<number> {
    return this.deps.store.countWatches(this.deps.source);
  }

  /** Reads the size of the schedule, and wakes slots for the requests that are due. */
  async survey(): Promise<ScheduleSurvey> {
    const survey = await this.deps.store.survey(this.deps.source);
    if (survey.due > 0) this.onDue(survey.due);
    else if (survey.nextMs !== null) this.deps.onDueIn(survey.nextMs);
    return survey;
  }

  /** Whether this process has seen the source paused, now or a moment ago. */
  isPaused(): boolean {
    // Polls that became due during the pause are late for another reason than the rate limit.
    return this.deps.clock() < this.pausedUntil + JUST_PAUSED_MS;
  }

  /** Makes the claims of a dead process due at once. */
  takeOver(dead: string): Promise<void> {
    return this.releaseAll(this.deps.store.heldBy(this.deps.source, dead));
  }

  /** Releases claims with an expired lease, and claims of this process that it does not hold. */
  async tend(): Promise<void> {
    const { source, store, process } = this.deps;
    await this.releaseAll(store.heldByOrLapsed(source, process));
  }

  /** Adapts the due times to a store clock that was set back by a step. */
  moveBack(step: ClockStep): Promise<void> {
    return this.deps.store.moveBack(this.deps.source, step);
  }

  private get leaseMs(): number {
    return 2 * this.deps.deadlineMs;
  }

  /** More slots than permits could not send anything. */
  private onDue(count: number): void {
    this.deps.onDue(Math.min(count, this.deps.limit.requests));
  }

  private drop({ member, token }: HeldClaim): void {
    if (this.tokens.delete(token)) this.inFlight.delete(member);
  }

  private async claimed(
    reply: ClaimedRequest,
    startedAt: number,
  ): Promise<NextClaim<RequestClaim>> {
    const { member, kind, token, stored, isTroubled, failedProbes, count, usedUpMs } = reply;
    if (this.inFlight.has(member)) return this.overlap(reply);
    this.inFlight.add(member);
    const { clock } = this.deps;
    const ageMs = () => clock() - startedAt;
    const isStale = () => ageMs() > this.leaseMs / 2;
    // During a pause the request could not be sent.
    const lagMs = Math.min(reply.now - reply.dueAt, Math.max(0, clock() - this.pausedUntil));
    const source = { isTroubled, failedProbes };
    const claim = { member, kind, token, stored, ...source, count, lagMs, ageMs, isStale };
    return { is: 'claimed', claim, heldMs: usedUpMs };
  }

  /** Another process released this claim while the read was in flight, so the run is delayed. */
  private async overlap({ member, token }: ClaimedRequest): Promise<NextClaim<RequestClaim>> {
    try {
      await this.deps.store.release(this.deps.source, [{ member, token }], { inMs: OVERLAP_MS });
    } finally {
      // `tend` releases the claim if this call has failed.
      this.tokens.delete(token);
    }
    return { is: 'idle', ms: OVERLAP_MS };
  }

  private async releaseAll(chunks: AsyncIterable<HeldClaim[]>): Promise<void> {
    let released = 0;
    for await (const chunk of chunks) {
      const lost = chunk.filter(({ token }) => !this.tokens.has(token));
      released += await this.deps.store.release(this.deps.source, lost, 'as before');
    }
    if (released > 0) await this.entered(released);
  }
}

/** The number of watches compared at a time. */
const CHUNK = 500;

interface RepairDependencies {
  watches: Pick<WatchStore, 'active' | 'countActive'>;
  /** By the name of the source. */
  schedules: ReadonlyMap<string, Pick<Schedule, 'enterMissing' | 'countWatches'>>;
  onRepaired: (repaired: { active: number; missing: number }) => void;
}

/**
 * Enters active watches that are missing from the schedule, for example after Redis lost a write.
 * Returns a function that compares the two counts. At its first call, and where the counts differ,
 * it compares every watch.
 */
export function createRepairSchedule({ watches, schedules, onRepaired }: RepairDependencies) {
  /** Active watches of sources that are not configured, at the last comparison. */
  let foreign: number | null = null;

  async function isComplete(): Promise<boolean> {
    if (foreign === null) return false;
    let scheduled = foreign;
    for (const schedule of schedules.values()) scheduled += await schedule.countWatches();
    return scheduled === (await watches.countActive());
  }

  return async function repair(): Promise<void> {
    if (await isComplete()) return;
    const found = { active: 0, missing: 0 };
    let others = 0;
    for await (const chunk of watches.active(CHUNK)) {
      found.active += chunk.length;
      for (const [source, keys] of groupBy(chunk, (key) => key.source)) {
        const schedule = schedules.get(source);
        if (schedule === undefined) others += keys.length;
        else found.missing += await schedule.enterMissing(keys.map(({ runId }) => runId));
      }
    }
    foreign = others;
    if (found.missing > 0) onRepaired(found);
  };
}

/** Polls are overdue if one is due for this long at two checks in a row, ms. */
const OVERDUE_MS = 10_000;

/** The recommended rate limit is enough to make all due polls within this time, s. */
const CLEARED_WITHIN_S = 60;

interface OverdueDependencies {
  source: string;
  limit: RateLimit;
  /** Requests each ms with which polls would be as prompt as their profile asks for; 0 if unknown. */
  wantedPerMs: () => number;
  /** Notes for all processes that polls are overdue, or with null that they keep up; of these, one reports it. */
  note: (overdue: Overdue | null) => Promise<void>;
}

/** Detects that the polls of a source are overdue, and reports it once for all processes. */
export class OverdueMonitor {
  private checksBehind = 0;
  private found: Overdue | null = null;
  /** Whether it is noted that polls keep up. At first another process may have left a note that they do not. */
  private isClear = false;

  constructor(private readonly deps: OverdueDependencies) {}

  /** Null if the polls are not overdue. */
  current(): Overdue | null {
    return this.found;
  }

  /** @param oldestMs how long the earliest request has been due; null or below zero for none */
  async check({ due, oldestMs }: { due: number; oldestMs: number | null }): Promise<void> {
    const { source, limit, note } = this.deps;
    this.checksBehind = (oldestMs ?? 0) > OVERDUE_MS ? this.checksBehind + 1 : 0;
    if (this.checksBehind > 0) this.isClear = false;
    if (this.checksBehind >= 2) {
      const wantedRequests = Math.max(
        wantedLimit(limit, due),
        Math.ceil(this.deps.wantedPerMs() * limit.perMs),
      );
      this.found = { source, polls: due, oldestMs: oldestMs ?? 0, wantedRequests, limit };
      await note(this.found);
    } else if (this.checksBehind === 0) {
      this.found = null;
      if (!this.isClear) await note(null);
      this.isClear = true;
    }
  }
}

function wantedLimit({ requests, perMs }: RateLimit, due: number): number {
  return requests + Math.ceil((due * perMs) / (CLEARED_WITHIN_S * 1_000));
}
