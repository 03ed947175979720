import type { Redis } from 'ioredis';
import {
  patienceMs,
  POLL_KINDS,
  REQUEST_KINDS,
  type RequestKind,
} from '../../core/cadence/load.ts';
import { sum } from '../../core/arrays.ts';
import { isRunMember } from '../../core/feed/page-name.ts';
import type { ClockStep } from '../../core/clock.ts';
import type { PlannedEvent } from '../../core/delivery/outbox.ts';
import { holdMs, type RateLimit } from '../../core/source/limiter.ts';
import type { StoredWatch } from '../commit.ts';
import { replies } from '../connection.ts';
import { declaredKeys, type Keys } from '../keys.ts';
import { ClaimStore, type ClaimedMember } from '../leases.ts';
import { raisedPlan } from './event-plan.ts';
import { readWatch } from './watch-record.ts';

/** What a process asks for when it can make requests to a source. */
export interface ClaimRequestsOptions {
  /** The token of each claimed request is this one, a dot and its place. */
  token: string;
  most: number;
  /** The rate limit that the claim takes permits of. */
  limit: RateLimit;
  leaseMs: number;
  /** How long it takes to poll every watch of the source once, ms. */
  roundMs: number;
  /** True where a short rate limit widens intervals: what is left of it goes to those watches. */
  isShort?: boolean;
}

/** A request that a process may make now. Times are milliseconds since the epoch by the store's clock. */
export interface ClaimedRequest {
  /** A run id, or the name of a page or plan. */
  member: string;
  kind: RequestKind;
  token: string;
  dueAt: number;
  /** When it was claimed. */
  now: number;
  /** Null for a page or plan, and for a run without a watch. */
  stored: StoredWatch | null;
  /** Whether the source has any trouble, which the answer may change. */
  isTroubled: boolean;
  /** Failed probes so far, if this request probes a closed source; else null. */
  failedProbes: number | null;
  /** Requests that count against the rate limit. */
  count: number;
}

/**
 * When another claim is worthwhile, ms from now: when the earliest request is due, null where nothing is
 * scheduled at all; or when the source or its rate limit lets one through.
 */
export type NextClaim =
  | { is: 'idle'; ms: number | null }
  | { is: 'paused' | 'limited'; ms: number };

/** What a process may request now, the most urgent first. */
export interface ClaimedRequests {
  claimed: ClaimedRequest[];
  next: NextClaim;
}

/** What identifies a claim. */
export interface HeldClaim {
  member: string;
  token: string;
}

/** When a released member is due again; `never` removes it from the schedule. */
export type ReleasedUntil = { inMs: number } | 'as before' | 'never';

/** The size of a source's schedule. */
export interface ScheduleSurvey {
  /** Scheduled polls, and claimed requests. */
  members: number;
  /** Requests that are claimed. */
  claims: number;
  /** Polls that are due and not claimed. */
  due: number;
  /** How long the earliest poll has been due, ms; below zero if it is due later, null for none. */
  oldestMs: number | null;
  /** When the first request of any kind is due, ms from now; null for none. */
  nextMs: number | null;
  /** How long the store took to answer, ms. */
  answerMs: number;
}

/** A source that no process has checked for so long is configured no more, ms. */
const OVERDUE_KEPT_MS = 30 * 86_400_000;

/** The due times of requests to sources: the only truth of when something is requested. */
export class ScheduleStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Claims the most urgent requests that are due, with their permits. */
  async claim(source: string, ask: ClaimRequestsOptions): Promise<ClaimedRequests> {
    const { keys } = this;
    const reply = await this.redis.rwClaimRequests(
      keys.clock,
      keys.requestClaims(source),
      keys.budget(source),
      keys.requestShares(source),
      ...keys.requestsDue(source),
      ...keys.sourceAdmission(source),
      ask.token,
      ask.most,
      ask.limit.requests,
      holdMs(ask.limit),
      ask.leaseMs,
      keys.watch({ source, runId: '' }),
      ...REQUEST_KINDS.map((kind) => patienceMs(kind, ask.roundMs)),
      ask.isShort ? 1 : 0,
    );
    return claimedRequests(source, ask.token, reply);
  }

  /** Gives claims of this process back. @returns how many it still held */
  async release(
    source: string,
    claims: readonly ClaimedMember[],
    until: ReleasedUntil,
  ): Promise<number> {
    if (claims.length === 0) return 0;
    return this.redis.rwReleaseClaims(
      ...this.keys.schedule(source),
      typeof until === 'string' ? until : 'in',
      typeof until === 'string' ? 0 : Math.max(0, Math.round(until.inMs)),
      ...claims.flatMap(({ member, token }) => [member, token]),
    );
  }

  /** How many requests of a kind are due. @param now by the store's clock */
  async countDue(source: string, kind: RequestKind, now: number): Promise<number> {
    const key = this.keys.requestsDue(source)[REQUEST_KINDS.indexOf(kind)];
    return key === undefined ? 0 : this.redis.zcount(key, '-inf', now);
  }

  /** Keeps a claim for another lease. @returns false where another process has it by now */
  async renew(source: string, { member, token }: ClaimedMember, leaseMs: number): Promise<boolean> {
    const { clock, requestClaims } = this.keys;
    const claims = requestClaims(source);
    return (await this.redis.rwRenewClaim(clock, claims, member, token, leaseMs)) === 1;
  }

  /** What a process has claimed, a chunk at a time. */
  heldBy(source: string, process: string): AsyncIterable<ClaimedMember[]> {
    return this.claimsOf(source).heldBy(process);
  }

  /** Claims of a process, and those with an expired lease, a chunk at a time. */
  async *heldByOrLapsed(source: string, process: string): AsyncIterable<ClaimedMember[]> {
    let now: number | undefined;
    for await (const chunk of this.claimsOf(source).all()) {
      const time = (now ??= (await this.redis.rwReadClock(this.keys.clock))[0]);
      yield chunk.filter(
        ({ token, notes: [leaseUntil] }) =>
          token.startsWith(`${process}.`) || Number(leaseUntil) < time,
      );
    }
  }

  /** Makes requests due now, as far as they are scheduled. */
  async expedite(source: string, members: readonly string[]): Promise<void> {
    if (members.length === 0) return;
    await this.redis.rwExpedite(...this.keys.schedule(source), ...members);
  }

  /** Moves requests that are still due when they were read to be; times by the store's clock. */
  async defer(
    source: string,
    moves: readonly { member: string; from: number; to: number }[],
  ): Promise<void> {
    if (moves.length === 0) return;
    const flat = moves.flatMap(({ member, from, to }) => [member, from, Math.round(to)]);
    await this.redis.rwDefer(...this.keys.schedule(source), ...flat);
  }

  /** Enters what is missing, due at once. @returns how many were */
  async enterMissing(
    source: string,
    kind: RequestKind,
    members: readonly string[],
  ): Promise<number> {
    if (members.length === 0) return 0;
    return this.redis.rwEnterMissing(...this.keys.schedule(source), kind, ...members);
  }

  /** Enters members, due now; those that are there are due within so many ms. */
  async enterWithin(
    source: string,
    kind: RequestKind,
    members: readonly { member: string; withinMs: number }[],
  ): Promise<void> {
    if (members.length === 0) return;
    const flat = members.flatMap(({ member, withinMs }) => [member, Math.round(withinMs)]);
    await this.redis.rwEnterWithin(...this.keys.schedule(source), kind, ...flat);
  }

  async survey(source: string): Promise<ScheduleSurvey> {
    const keys = this.keys.schedule(source);
    // With nothing to do, which is asked all day, one command is enough.
    const isEmpty = (await this.redis.exists(...keys.slice(1))) === 0;
    if (isEmpty) {
      return { members: 0, claims: 0, due: 0, oldestMs: null, nextMs: null, answerMs: 0 };
    }
    const askedAt = performance.now();
    const [now, members, claims, due, earliest, first] = await this.redis.rwSurvey(...keys);
    const answerMs = performance.now() - askedAt;
    const oldestMs = earliest === '' ? null : now - Number(earliest);
    const nextMs = first === '' ? null : Number(first) - now;
    return { members, claims, due, oldestMs, nextMs, answerMs };
  }

  /** Watches that are scheduled or claimed. */
  async countWatches(source: string): Promise<number> {
    const pipeline = this.redis.multi().hkeys(this.keys.requestClaims(source));
    const sets = this.keys.requestsDue(source).slice(0, POLL_KINDS);
    for (const key of sets) pipeline.zcard(key);
    const [claimed, ...scheduled] = await replies<string[] | number>(pipeline);
    return (claimed as string[]).filter(isRunMember).length + sum(scheduled as number[]);
  }

  /** When requests are due, by the store's clock; null for those that are claimed, or not scheduled. */
  async dueTimes(source: string, members: readonly string[]): Promise<(number | null)[]> {
    if (members.length === 0) return [];
    const pipeline = this.redis.pipeline();
    const sets = this.keys.requestsDue(source).slice(0, REQUEST_KINDS.length);
    for (const key of sets) pipeline.zmscore(key, ...members);
    const found = await replies<(string | null)[]>(pipeline);
    return members.map((_, at) => {
      const score = found.map((scores) => scores[at]).find((one) => typeof one === 'string');
      return typeof score === 'string' ? Number(score) : null;
    });
  }

  /**
   * Notes that polls are overdue, or keep up again, with the event that says so.
   * @returns the pools at which deliveries are due now; null where that was noted already
   */
  async noteOverdue(
    source: string,
    isOverdue: boolean,
    event: PlannedEvent | null,
  ): Promise<string[] | null> {
    const effects = event === null ? null : raisedPlan(this.keys, [event]);
    return this.redis.rwTurnState(
      ...declaredKeys(this.keys, [this.keys.pollsOverdue(source)], effects),
      isOverdue ? OVERDUE_KEPT_MS : 0,
      effects === null ? '' : JSON.stringify(effects),
      '1',
    );
  }

  /** Moves what was scheduled while the store's clock was ahead by a step; again does no harm. */
  async moveBack(source: string, { ms, from }: ClockStep): Promise<void> {
    await this.redis.rwMoveBack(...this.keys.requestsDue(source), ms, from);
  }

  private claimsOf(source: string): ClaimStore {
    return new ClaimStore(this.redis, this.keys.requestClaims(source));
  }
}

/** Parts of each claimed request in the reply. */
const PARTS = 5;

function claimedRequests(
  source: string,
  token: string,
  [is, ms, now, isTroubled, failedProbes, ...parts]: readonly (string | number)[],
): ClaimedRequests {
  const shared = {
    now: Number(now),
    isTroubled: isTroubled === 1,
    failedProbes: failedProbes === -1 ? null : Number(failedProbes),
  };
  const claimed: ClaimedRequest[] = [];
  for (let at = 0; at < parts.length; at += PARTS) {
    const [member, kind, dueAt, record, count] = parts.slice(at, at + PARTS);
    const runId = String(member);
    claimed.push({
      ...shared,
      member: runId,
      kind: kind as RequestKind,
      token: `${token}.${claimed.length + 1}`,
      dueAt: Number(dueAt),
      stored: record === '' ? null : readWatch({ source, runId }, String(record)),
      count: Number(count),
    });
  }
  return { claimed, next: nextClaim(is as NextClaim['is'], Number(ms)) };
}

function nextClaim(is: NextClaim['is'], ms: number): NextClaim {
  return is === 'idle' ? { is, ms: ms < 0 ? null : ms } : { is, ms };
}

/** When runs that are gone are looked for. What enters here does so with the end of its watch. */
export class GoneStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Takes what is due by a time, and makes it due again after a lease. @returns ids of watches */
  async takeDue(
    now: number,
    { leaseMs, most }: { leaseMs: number; most: number },
  ): Promise<string[]> {
    return this.redis.rwTakeGone(this.keys.goneChecks, now, leaseMs, most);
  }

  /** Sets when a run is looked for next; null for no more. */
  async putCheck(id: string, at: number | null): Promise<void> {
    if (at === null) await this.redis.zrem(this.keys.goneChecks, id);
    else await this.redis.zadd(this.keys.goneChecks, 'XX', Math.round(at), id);
  }
}
