import { groupBy } from '../core/arrays.ts';
import type { ClockStep } from '../core/clock.ts';
import type { RateLimit } from '../core/source/limiter.ts';
import { overdueCause, type Overdue } from '../core/source/overdue.ts';
import type { ReadTimes } from '../core/source/read-times.ts';
import type {
  ClaimedRequest,
  ClaimedRequests,
  HeldClaim,
  ReleasedUntil,
  ScheduleSurvey,
} from '../core/source/schedule.ts';
import type { ScheduleStore, WatchStore } from './ports.ts';
import type { Claimed } from './source-slots.ts';

/** How long a source counts as paused after its pause, ms: a probe may be in flight. */
const JUST_PAUSED_MS = 5_000;

/** The delay of a run that this process has claimed a second time, ms. */
const OVERLAP_MS = 1_000;

/** What is due for less than this a slot is about to claim, ms. */
const UNCLAIMED_MS = 250;

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
  /** Something is due now. */
  onDue: () => void;
  /** A request is due after this time. */
  onDueIn: (ms: number) => void;
  /** Milliseconds of a clock that only runs forward. */
  clock: () => number;
}

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
 * The schedule of one source, which decides when each run and list is requested. A process claims a
 * due request and makes it. The write of its result sets the next due time.
 */
export class Schedule {
  /** Tokens of this process; the store's claims with other tokens of its id are lost. */
  private readonly tokens = new Set<string>();
  private readonly inFlight = new Set<string>();
  /** Claims without an answer so far: which of their tokens were given is not known. */
  private readonly asking = new Set<string>();
  private pausedUntil = -Infinity;
  private isSurveyed = false;

  constructor(private readonly deps: ScheduleDependencies) {}

  /** What the source's list feed knows; it sets this. */
  feed: FeedView = { wantedPerMs: () => 0, readTimes: () => null };

  /** Claims the most urgent requests that are due. */
  async claim(most: number): Promise<Claimed<RequestClaim>> {
    const { source, store, limit, clock } = this.deps;
    const token = this.deps.newToken();
    const startedAt = clock();
    this.asking.add(token);
    const { claimed, next } = await store
      .claim(source, {
        token,
        most,
        limit,
        leaseMs: this.leaseMs,
        roundMs: this.deps.roundMs(),
        isShort: this.deps.isShort(),
      })
      .finally(() => this.asking.delete(token));
    if (next.is === 'paused') this.pausedUntil = clock() + next.ms;
    return { claims: await this.taken(claimed, startedAt), next };
  }

  /** Ends a claim without a result. */
  async release(held: HeldClaim, until: ReleasedUntil): Promise<void> {
    const { source, store, onDueIn } = this.deps;
    await store.release(source, [held], until).finally(() => this.drop(held));
    if (typeof until === 'object') onDueIn(until.inMs);
    else if (until === 'as before') this.deps.onDue();
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
    this.deps.onDue();
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
    this.deps.onDue();
  }

  /** Enters active watches that are missing. @returns how many were */
  async enterMissing(runIds: readonly string[]): Promise<number> {
    const entered = await this.deps.store.enterMissing(this.deps.source, 'watch', runIds);
    if (entered > 0) this.deps.onDue();
    return entered;
  }

  /** The number of watches that are scheduled or claimed. */
  countWatches(): Promise<number> {
    return this.deps.store.countWatches(this.deps.source);
  }

  /** Reads the size of the schedule, and sees to what is due that no slot claims. */
  async survey(): Promise<ScheduleSurvey> {
    const survey = await this.deps.store.survey(this.deps.source);
    const { nextMs } = survey;
    // At the start of a process no other one may know what is due next.
    const isUnclaimed = nextMs !== null && (nextMs < -UNCLAIMED_MS || !this.isSurveyed);
    if (isUnclaimed) this.deps.onDueIn(Math.max(0, nextMs));
    this.isSurveyed = true;
    return survey;
  }

  /** Whether this process has seen the source paused, now or a moment ago. */
  isPaused(): boolean {
    // Polls that became due during the pause are late for another reason than the rate limit.
    return this.deps.clock() < this.pausedUntil + JUST_PAUSED_MS;
  }

  /** Makes the claims of a dead process due at once. */
  async takeOver(dead: string): Promise<void> {
    await this.releaseAll(this.deps.store.heldBy(this.deps.source, dead));
    // Only that process may have known what is due next.
    this.deps.onDue();
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

  private isHeld(token: string): boolean {
    return this.tokens.has(token) || this.asking.has(token.slice(0, token.lastIndexOf('.')));
  }

  private drop({ member, token }: HeldClaim): void {
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
    const { clock } = this.deps;
    const ageMs = () => clock() - startedAt;
    const isStale = () => ageMs() > this.leaseMs / 2;
    // During a pause the request could not be sent.
    const lagMs = Math.min(now - dueAt, Math.max(0, clock() - this.pausedUntil));
    return { ...request, lagMs, ageMs, isStale };
  }

  private async delay(claimed: readonly ClaimedRequest[]): Promise<void> {
    const { source, store, onDueIn } = this.deps;
    try {
      await store.release(source, claimed, { inMs: OVERLAP_MS });
      onDueIn(OVERLAP_MS);
    } finally {
      // `tend` releases the claims if this call has failed.
      for (const { token } of claimed) this.tokens.delete(token);
    }
  }

  private async releaseAll(chunks: AsyncIterable<HeldClaim[]>): Promise<void> {
    let released = 0;
    for await (const chunk of chunks) {
      const lost = chunk.filter(({ token }) => !this.isHeld(token));
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
  /** The share of the rate limit that all processes use now. */
  usedShare: () => Promise<number>;
  /** Notes for all processes that polls are overdue, or with null that they keep up; of these, one reports it. */
  note: (overdue: Overdue | null) => Promise<void>;
}

/** Detects that the polls of a source are overdue, and reports it once for all processes. */
export class OverdueMonitor {
  private checksBehind = 0;
  /** The quickest answer of the store at these checks, ms. */
  private quickestMs = Infinity;
  private found: Overdue | null = null;
  /** Whether it is noted that polls keep up. At first another process may have left a note that they do not. */
  private isClear = false;

  constructor(private readonly deps: OverdueDependencies) {}

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
    const { source, limit, note } = this.deps;
    this.checksBehind = (oldestMs ?? 0) > OVERDUE_MS ? this.checksBehind + 1 : 0;
    this.quickestMs = Math.min(answerMs, this.checksBehind > 1 ? this.quickestMs : Infinity);
    if (this.checksBehind > 0) this.isClear = false;
    if (this.checksBehind >= 2) {
      const wantedRequests = Math.max(
        wantedLimit(limit, due),
        Math.ceil(this.deps.wantedPerMs() * limit.perMs),
      );
      const usedShare = await this.deps.usedShare();
      const cause = overdueCause(limit, { answerMs: this.quickestMs, usedShare });
      this.found = { source, polls: due, oldestMs: oldestMs ?? 0, wantedRequests, limit, cause };
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
