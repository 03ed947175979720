import type { RequestKind } from '../core/cadence/load.ts';
import { listMemberOf, type ListKey } from '../core/feed/list-standing.ts';
import type { RateLimit } from '../core/source/limiter.ts';
import type {
  ClaimReply,
  HeldClaim,
  OverdueStore,
  ReleasedUntil,
  ScheduleStore,
  ScheduleSurvey,
  WatchStore,
} from './ports.ts';
import { groupBySource } from './register-watches.ts';
import type { Turn } from './slots.ts';

/** For how long a source counts as paused after it was, ms: a probe may be under way. */
const JUST_PAUSED_MS = 5_000;

/** How long a claim that was made while an earlier one of this process is under way waits, ms. */
const OVERLAP_MS = 1_000;

export interface ScheduleDependencies {
  source: string;
  store: ScheduleStore;
  /** This process, as its tokens name it. */
  process: string;
  newToken: () => string;
  limit: RateLimit;
  /** How long it takes to poll every watch of the source once, ms. */
  roundMs: () => number;
  /** One deadline of a poll covers permit, retries and body; a claim is leased for twice that, ms. */
  deadlineMs: number;
  /** Wakes the other processes. */
  wakeOthers: () => Promise<void>;
  /** So many requests are due now, or one is after so many ms. */
  onDue: (count: number) => void;
  onDueIn: (ms: number) => void;
  /** Milliseconds of a clock that only runs forward. */
  clock: () => number;
}

/** A request that this process may make, until it is settled or given back. */
export interface RequestClaim extends Omit<ClaimReply, 'is' | 'dueAt' | 'now' | 'usedUpMs'> {
  /** For how long it was due and could have been made, ms. */
  lagMs: number;
  /** How long ago the claim was asked for, ms: it may be sent for half of its lease only. */
  ageMs: () => number;
  isStale: () => boolean;
}

/**
 * The schedule of one source: the one owner of when something is requested. What is due is claimed by
 * the process that makes the request; the write of what that came to says when it is due next.
 */
export class Schedule {
  /** Tokens that are asked for or held: what the store has beside them is given back. */
  private readonly tokens = new Set<string>();
  private readonly underWay = new Set<string>();
  private pausedUntil = -Infinity;

  constructor(private readonly deps: ScheduleDependencies) {}

  /** Claims the most urgent request that is due. */
  async claim(): Promise<Turn<RequestClaim>> {
    const { source, store, limit, clock } = this.deps;
    const token = this.deps.newToken();
    const askedAt = clock();
    this.tokens.add(token);
    const ask = { token, limit, leaseMs: this.leaseMs, roundMs: this.deps.roundMs() };
    const reply = await store.claim(source, ask).catch((error: unknown) => {
      this.tokens.delete(token);
      throw error;
    });
    if (reply.is === 'claimed') return this.claimed(reply, askedAt);
    this.tokens.delete(token);
    if (reply.is === 'idle') return { is: 'idle', ms: reply.ms };
    const ms = reply.ms ?? 0;
    if (reply.is === 'paused') this.pausedUntil = clock() + ms;
    return { is: 'held', ms };
  }

  /** Gives a claim back. */
  async release(held: HeldClaim, until: ReleasedUntil): Promise<void> {
    const { source, store, onDueIn } = this.deps;
    await store.release(source, [held], until).finally(() => this.drop(held));
    if (typeof until === 'object') onDueIn(until.inMs);
    else if (until === 'as before') this.onDue(1);
  }

  /** Gives a claim back for another process to make the request at once. */
  async handBack(held: HeldClaim): Promise<void> {
    await this.release(held, 'as before');
    await this.deps.wakeOthers();
  }

  /** The write of what a claim came to has ended it; its member is due again after so many ms. */
  settled(held: HeldClaim, nextMs: number | null): void {
    this.drop(held);
    if (nextMs !== null) this.deps.onDueIn(nextMs);
  }

  /** Watches have entered the schedule, due soon, by the write that registered them. */
  async entered(count: number): Promise<void> {
    if (count === 0) return;
    this.onDue(count);
    await this.deps.wakeOthers();
  }

  /** Polls runs now, as far as they are watched. */
  async expedite(runIds: readonly string[]): Promise<void> {
    if (runIds.length === 0) return;
    await this.deps.store.expedite(this.deps.source, runIds);
    await this.entered(runIds.length);
  }

  /** Moves the polls of runs that are still due when they were read to be. */
  async defer(moves: readonly { runId: string; from: number; to: number }[]): Promise<void> {
    const moved = moves.map(({ runId, from, to }) => ({ member: runId, from, to }));
    await this.deps.store.defer(this.deps.source, moved);
  }

  /** Makes sure that a list is read now and then. */
  async enterList(list: ListKey): Promise<void> {
    await this.enter('list', [listMemberOf(list)]);
  }

  /** Enters active watches that are missing. @returns how many were */
  enterMissing(runIds: readonly string[]): Promise<number> {
    return this.enter('watch', runIds);
  }

  /** Watches that are scheduled or claimed. */
  countWatches(): Promise<number> {
    return this.deps.store.countWatches(this.deps.source);
  }

  /** Looks how the schedule stands, and sees to it that what is due is worked on. */
  async survey(): Promise<ScheduleSurvey> {
    const survey = await this.deps.store.survey(this.deps.source);
    if (survey.due > 0) this.onDue(survey.due);
    else if (survey.oldestMs !== null) this.deps.onDueIn(-survey.oldestMs);
    return survey;
  }

  /** Whether the source is paused, as far as this process has seen. */
  isPaused(): boolean {
    // Some time after, for what was due meanwhile is late for no want of requests.
    return this.deps.clock() < this.pausedUntil + JUST_PAUSED_MS;
  }

  /** Makes the claims of a process that is dead due at once. */
  takeOver(dead: string): Promise<void> {
    return this.releaseAll(this.deps.store.heldBy(this.deps.source, dead));
  }

  /** Gives back claims under this process's id that it does not hold, and those whose lease is over. */
  async tend(): Promise<void> {
    const { source, store, process } = this.deps;
    await this.releaseAll(store.heldByOrLapsed(source, process));
  }

  /** The store's clock was taken back by so much, ms. */
  moveBack(stepMs: number): Promise<void> {
    return this.deps.store.moveBack(this.deps.source, stepMs);
  }

  private get leaseMs(): number {
    return 2 * this.deps.deadlineMs;
  }

  /** More slots than the rate limit has permits would ask in vain. */
  private onDue(count: number): void {
    this.deps.onDue(Math.min(count, this.deps.limit.requests));
  }

  private drop({ member, token }: HeldClaim): void {
    if (this.tokens.delete(token)) this.underWay.delete(member);
  }

  private async claimed(reply: ClaimReply, askedAt: number): Promise<Turn<RequestClaim>> {
    const { member, kind, token, stored, isTroubled, failedProbes, count, usedUpMs } = reply;
    if (this.underWay.has(member)) return this.overlap(reply);
    this.underWay.add(member);
    const { clock } = this.deps;
    const ageMs = () => clock() - askedAt;
    const isStale = () => ageMs() > this.leaseMs / 2;
    // While the source was paused it could not have been made.
    const lagMs = Math.min(reply.now - reply.dueAt, Math.max(0, clock() - this.pausedUntil));
    const source = { isTroubled, failedProbes };
    const claim = { member, kind, token, stored, ...source, count, lagMs, ageMs, isStale };
    return { is: 'claimed', claim, heldMs: usedUpMs };
  }

  /** This process was given up for dead while it read the run; that read comes to nothing, but ends. */
  private async overlap({ member, token }: ClaimReply): Promise<Turn<RequestClaim>> {
    try {
      await this.deps.store.release(this.deps.source, [{ member, token }], { inMs: OVERLAP_MS });
    } finally {
      // A claim that was not given back is taken for lost, and given back by `releaseLost`.
      this.tokens.delete(token);
    }
    return { is: 'idle', ms: OVERLAP_MS };
  }

  private async enter(kind: RequestKind, members: readonly string[]): Promise<number> {
    const entered = await this.deps.store.enterMissing(this.deps.source, kind, members);
    if (entered > 0) this.onDue(entered);
    return entered;
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

/** Watches compared with the schedule in one go. */
const CHUNK = 500;

interface RepairDependencies {
  watches: Pick<WatchStore, 'active' | 'countActive'>;
  /** Of the configured sources, by name. */
  schedules: ReadonlyMap<string, Pick<Schedule, 'enterMissing' | 'countWatches'>>;
  onRepaired: (repaired: { active: number; missing: number }) => void;
}

/**
 * Enters active watches that are missing from the schedule, as after a write to Redis that was lost.
 * Returns a function that counts both, and compares them one by one at its first call and where the
 * counts differ; so it costs a few commands where all is well.
 */
export function createRepairSchedule({ watches, schedules, onRepaired }: RepairDependencies) {
  /** Active watches of sources that are not configured, as they were when last compared. */
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
      for (const [source, keys] of groupBySource(chunk)) {
        const schedule = schedules.get(source);
        if (schedule === undefined) others += keys.length;
        else found.missing += await schedule.enterMissing(keys.map(({ runId }) => runId));
      }
    }
    foreign = others;
    if (found.missing > 0) onRepaired(found);
  };
}

/** A poll that is due for this long at two looks in a row is told of as overdue, ms. */
const OVERDUE_MS = 10_000;

/** In how long a rate limit that would do works off what is due, besides what comes, s. */
const CLEARED_WITHIN_S = 60;

/** How far behind the polls of a source are. */
export interface Overdue {
  source: string;
  /** Polls that are due and not started. */
  polls: number;
  /** For how long the oldest is due, ms. */
  oldestMs: number;
  /** Requests in the time of the rate limit that would do. */
  wantedRequests: number;
  limit: RateLimit;
}

interface OverdueDependencies {
  source: string;
  limit: RateLimit;
  store: OverdueStore;
  onOverdue: (overdue: Overdue) => Promise<void>;
  onCaughtUp: (source: string) => Promise<void>;
}

/** Watches whether the polls of a source fall behind, and says so once over all processes. */
export class OverdueWatch {
  private behindSince = 0;
  private found: Overdue | null = null;

  constructor(private readonly deps: OverdueDependencies) {}

  /** How far behind they are; null where they keep up. */
  current(): Overdue | null {
    return this.found;
  }

  /** @param oldestMs for how long the earliest request is due; null or below zero where none is */
  async look({ due, oldestMs }: { due: number; oldestMs: number | null }): Promise<void> {
    const { source, limit, store } = this.deps;
    this.behindSince = (oldestMs ?? 0) > OVERDUE_MS ? this.behindSince + 1 : 0;
    if (this.behindSince >= 2) {
      const wantedRequests = wantedLimit(limit, due);
      this.found = { source, polls: due, oldestMs: oldestMs ?? 0, wantedRequests, limit };
      if (await store.overdue(source)) await this.deps.onOverdue(this.found);
    } else if (this.behindSince === 0) {
      const wasBehind = this.found !== null;
      this.found = null;
      if (wasBehind && (await store.caughtUp(source))) await this.deps.onCaughtUp(source);
    }
  }
}

function wantedLimit({ requests, perMs }: RateLimit, due: number): number {
  return requests + Math.ceil((due * perMs) / (CLEARED_WITHIN_S * 1_000));
}
