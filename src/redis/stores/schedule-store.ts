import type { Redis } from 'ioredis';
import { POLL_KINDS, REQUEST_KINDS, type RequestKind } from '../../core/source/request-order.ts';
import { sum } from '../../core/arrays.ts';
import { isRunMember } from '../../core/feed/page-name.ts';
import type { ClockStep } from '../../core/clock.ts';
import type { PlannedEvent } from '../../core/delivery/planned-event.ts';
import { replies } from '../connection.ts';
import type { Keys } from '../keys.ts';
import { ClaimStore, type ClaimedMember } from '../leases.ts';
import { STORE_NOW } from '../lua/clock.ts';
import { EVEN_IF_FULL } from '../lua/full.ts';
import { CLAIMS } from '../lua/leases.ts';
import { IS_POLL, SCHEDULE } from '../lua/schedule.ts';
import { TAKE_DUE } from '../lua/times.ts';
import { script } from '../script.ts';
import { storeNow } from '../store-clock.ts';
import { effectsOf, TURN_STATE } from './event-plan.ts';
import { claimRequests, type ClaimedRequests, type ClaimRequestsOptions } from './request-claim.ts';

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

/*
 * The further keys of these scripts are the due sets of a source; their further arguments are members.
 */

/** Makes members, its further arguments, due now, as far as they are in the schedule. */
const EXPEDITE = script(
  'rwExpedite',
  { keys: ['clock', 'claims'] },
  `
${SCHEDULE}
local plan = schedule(keys.claims, further)
local now = storeNow(keys.clock)
for place = rest, #ARGV do plan.expedite(ARGV[place], now, now) end
`,
);

/**
 * Moves members from the time that was read to another, each given with both. One that is claimed, or has another
 * time by now, does not change; nor does one that a hint or user made due, although it was due before.
 */
const DEFER = script(
  'rwDefer',
  { keys: ['clock', 'claims'] },
  `
${SCHEDULE}
local plan = schedule(keys.claims, further)
local now = storeNow(keys.clock)
for place = rest, #ARGV, 3 do
  local kind, at = plan.kindOf(ARGV[place])
  local isExpedited = kind == 'prompt' and at <= now
  if kind and not isExpedited and math.abs(at - ARGV[place + 1]) < 1 then
    plan.put(ARGV[place], kind, ARGV[place + 2])
  end
end
`,
);

/**
 * Enters members, some hundreds at most and each once, that are missing; those that are there do not change.
 * Returns how many were missing.
 */
const ENTER_MISSING = script(
  'rwEnterMissing',
  { keys: ['clock', 'claims'], args: ['kind'], reply: (missing: number) => missing },
  `
${SCHEDULE}
local plan = schedule(keys.claims, further)
local now = storeNow(keys.clock)
local members, entered = {unpack(ARGV, rest)}, 0
local there = {redis.call('HMGET', keys.claims, unpack(members))}
for place = 1, #KINDS do there[#there + 1] = redis.call('ZMSCORE', KEYS[further + place - 1], unpack(members)) end

local function isThere(place)
  for _, found in ipairs(there) do
    if found[place] then return true end
  end
end

for place, member in ipairs(members) do
  if not isThere(place) then
    plan.put(member, args.kind, now)
    entered = entered + 1
  end
end
return entered
`,
);

/** Enters members, or makes them due earlier: each is given with within how many ms it is due. */
const ENTER_WITHIN = script(
  'rwEnterWithin',
  { keys: ['clock', 'claims'], args: ['kind'] },
  `
${SCHEDULE}
local plan = schedule(keys.claims, further)
local now = storeNow(keys.clock)
for place = rest, #ARGV, 2 do
  local known = plan.kindOf(ARGV[place]) or holder(keys.claims, ARGV[place])
  plan.enter(ARGV[place], args.kind, known and now + ARGV[place + 1] or now)
end
`,
);

/**
 * How a source's schedule stands. Returns [now, polls, claimed requests, polls that are due, the earliest due time of
 * a poll or '', that of anything or ''].
 */
const SURVEY = script(
  'rwSurvey',
  {
    keys: ['clock', 'claims'],
    reply: (
      reply: [
        now: number,
        members: number,
        claims: number,
        due: number,
        earliest: string,
        first: string,
      ],
    ) => reply,
  },
  `
${EVEN_IF_FULL}
${STORE_NOW}
${IS_POLL}
evenIfFull(keys.clock)
local now = storeNow(keys.clock)
local members, due, earliest, first = 0, 0, '', ''
local claimed = redis.call('HKEYS', keys.claims)
for _, member in ipairs(claimed) do
  if isPoll(member) then members = members + 1 end
end
for place = further, #KEYS do
  local isPoll = place < further + ${POLL_KINDS}
  local head = tonumber(redis.call('ZRANGE', KEYS[place], 0, 0, 'WITHSCORES')[2])
  if head and (first == '' or head < first) then first = head end
  if head and isPoll then
    members = members + redis.call('ZCARD', KEYS[place])
    if earliest == '' or head < earliest then earliest = head end
    if head <= now then due = due + redis.call('ZCOUNT', KEYS[place], '-inf', now) end
  end
end
return {now, members, #claimed, due, earliest, first}
`,
);

/** Moves what was scheduled while the clock was ahead back by a step, once that was taken out of it. */
const MOVE_BACK = script(
  'rwMoveBack',
  { keys: [], args: ['ms', 'from'] },
  `
local step, from = tonumber(args.ms), args.from
for place = 1, #KEYS do
  local late = redis.call('ZRANGEBYSCORE', KEYS[place], from, '+inf', 'WITHSCORES')
  for one = 1, #late, 2 do
    redis.call('ZADD', KEYS[place], late[one + 1] - step, late[one])
  end
end
`,
);

/**
 * Gives claims back, each by its member and token. They are due after so many ms, at the time since when they were
 * due, or no more. Returns how many there were.
 */
const RELEASE_CLAIMS = script(
  'rwReleaseClaims',
  {
    keys: ['clock', 'claims'],
    args: ['due', 'ms'],
    reply: (released: number) => released,
  },
  `
${EVEN_IF_FULL}
${SCHEDULE}
evenIfFull(keys.clock)
local plan = schedule(keys.claims, further)
local now = storeNow(keys.clock)
local released = 0
for place = rest, #ARGV, 2 do
  local token, dueAt, notes = holder(keys.claims, ARGV[place])
  if token == ARGV[place + 1] then
    local claim = {dueAt = dueAt, notes = notes}
    local next = {at = args.due == 'in' and now + args.ms or nil}
    if args.due == 'never' then
      -- It may have been registered again since it was read; a claim of one that is over drops it.
      local mark = plan.markOf(claim)
      next = mark and {at = mark} or nil
    end
    plan.finish(ARGV[place], claim, now, next)
    released = released + 1
  end
end
return released
`,
);

/** Keeps a claim for another lease, if the token still holds it. */
const RENEW_CLAIM = script(
  'rwRenewClaim',
  {
    keys: ['clock', 'claims'],
    args: ['member', 'token', 'leaseMs'],
    reply: (held: number) => held === 1,
  },
  `
${STORE_NOW}
${CLAIMS}
local token, dueAt, notes = holder(keys.claims, args.member)
if token ~= args.token then return 0 end
local noted = string.match(notes, '^%d+ (.*)$')
hold(keys.claims, args.member, token, dueAt, string.format('%.0f %s', storeNow(keys.clock) + args.leaseMs, noted))
return 1
`,
);

/** A source that no process has checked for so long is configured no more, ms. */
const OVERDUE_KEPT_MS = 30 * 86_400_000;

/** The due times of requests to sources: the only truth of when something is requested. */
export class ScheduleStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Claims the most urgent requests that are due, with their permits. */
  claim(source: string, ask: ClaimRequestsOptions): Promise<ClaimedRequests> {
    return claimRequests(this.redis, this.keys, source, ask);
  }

  /** Gives claims of this process back. @returns how many it still held */
  async release(
    source: string,
    claims: readonly ClaimedMember[],
    until: ReleasedUntil,
  ): Promise<number> {
    if (claims.length === 0) return 0;
    return RELEASE_CLAIMS.run(
      this.redis,
      this.keys.schedule(source),
      typeof until === 'string'
        ? { due: until, ms: 0 }
        : { due: 'in', ms: Math.max(0, Math.round(until.inMs)) },
      {
        further: this.keys.requestsDue(source),
        rest: claims.flatMap(({ member, token }) => [member, token]),
      },
    );
  }

  /** How many requests of a kind are due. @param now by the store's clock */
  async countDue(source: string, kind: RequestKind, now: number): Promise<number> {
    const key = this.keys.requestsDue(source)[REQUEST_KINDS.indexOf(kind)];
    return key === undefined ? 0 : this.redis.zcount(key, '-inf', now);
  }

  /** Keeps a claim for another lease. @returns false where another process has it by now */
  async renew(source: string, { member, token }: ClaimedMember, leaseMs: number): Promise<boolean> {
    const about = { member, token, leaseMs };
    return RENEW_CLAIM.run(this.redis, this.keys.schedule(source), about);
  }

  /** What a process has claimed, a chunk at a time. */
  heldBy(source: string, process: string): AsyncIterable<ClaimedMember[]> {
    return this.claimsOf(source).heldBy(process);
  }

  /** Claims of a process, and those with an expired lease, a chunk at a time. */
  async *heldByOrLapsed(source: string, process: string): AsyncIterable<ClaimedMember[]> {
    let now: number | undefined;
    for await (const chunk of this.claimsOf(source).all()) {
      const time = (now ??= await storeNow(this.redis, this.keys));
      yield chunk.filter(
        ({ token, notes: [leaseUntil] }) =>
          token.startsWith(`${process}.`) || Number(leaseUntil) < time,
      );
    }
  }

  /** Makes requests due now, as far as they are scheduled. */
  async expedite(source: string, members: readonly string[]): Promise<void> {
    if (members.length === 0) return;
    const { schedule, requestsDue } = this.keys;
    const behind = { further: requestsDue(source), rest: members };
    await EXPEDITE.run(this.redis, schedule(source), {}, behind);
  }

  /** Moves requests that are still due when they were read to be; times by the store's clock. */
  async defer(
    source: string,
    moves: readonly { member: string; from: number; to: number }[],
  ): Promise<void> {
    if (moves.length === 0) return;
    const flat = moves.flatMap(({ member, from, to }) => [member, from, Math.round(to)]);
    const { schedule, requestsDue } = this.keys;
    const behind = { further: requestsDue(source), rest: flat };
    await DEFER.run(this.redis, schedule(source), {}, behind);
  }

  /** Enters what is missing, due at once. @returns how many were */
  async enterMissing(
    source: string,
    kind: RequestKind,
    members: readonly string[],
  ): Promise<number> {
    if (members.length === 0) return 0;
    const { schedule, requestsDue } = this.keys;
    const behind = { further: requestsDue(source), rest: members };
    return ENTER_MISSING.run(this.redis, schedule(source), { kind }, behind);
  }

  /** Enters members, due now; those that are there are due within so many ms. */
  async enterWithin(
    source: string,
    kind: RequestKind,
    members: readonly { member: string; withinMs: number }[],
  ): Promise<void> {
    if (members.length === 0) return;
    const flat = members.flatMap(({ member, withinMs }) => [member, Math.round(withinMs)]);
    const { schedule, requestsDue } = this.keys;
    const behind = { further: requestsDue(source), rest: flat };
    await ENTER_WITHIN.run(this.redis, schedule(source), { kind }, behind);
  }

  async survey(source: string): Promise<ScheduleSurvey> {
    const [schedule, due] = [this.keys.schedule(source), this.keys.requestsDue(source)];
    // With nothing to do, which is asked all day, one command is enough.
    const isEmpty = (await this.redis.exists(schedule.claims, ...due)) === 0;
    if (isEmpty) {
      return { members: 0, claims: 0, due: 0, oldestMs: null, nextMs: null, answerMs: 0 };
    }
    const askedAt = performance.now();
    const survey = await SURVEY.run(this.redis, schedule, {}, { further: due });
    const [now, members, claims, polls, earliest, first] = survey;
    const answerMs = performance.now() - askedAt;
    const oldestMs = earliest === '' ? null : now - Number(earliest);
    const nextMs = first === '' ? null : Number(first) - now;
    return { members, claims, due: polls, oldestMs, nextMs, answerMs };
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
    const state = this.keys.pollsOverdue(source);
    const { effects, named } = effectsOf(this.keys, event);
    const about = { keptMs: isOverdue ? OVERDUE_KEPT_MS : 0, says: '1', effects };
    return TURN_STATE.run(this.redis, { state }, about, { further: named });
  }

  /** Moves what was scheduled while the store's clock was ahead by a step; again does no harm. */
  async moveBack(source: string, { ms, from }: ClockStep): Promise<void> {
    const further = this.keys.requestsDue(source);
    await MOVE_BACK.run(this.redis, {}, { ms, from }, { further });
  }

  private claimsOf(source: string): ClaimStore {
    return new ClaimStore(this.redis, this.keys.requestClaims(source));
  }
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
    return TAKE_DUE.run(this.redis, { times: this.keys.goneChecks }, { now, leaseMs, most });
  }

  /** Sets when a run is looked for next; null for no more. */
  async putCheck(id: string, at: number | null): Promise<void> {
    if (at === null) await this.redis.zrem(this.keys.goneChecks, id);
    else await this.redis.zadd(this.keys.goneChecks, 'XX', Math.round(at), id);
  }
}
