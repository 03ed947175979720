import type { Redis } from 'ioredis';
import { chunksOf } from '../../core/arrays.ts';
import type { ClockStep } from '../../core/clock.ts';
import type { Delivery, Wish } from '../../core/delivery/delivery.ts';
import { isOutstanding } from '../../core/delivery/state.ts';
import type { EndpointLimits } from '../../core/delivery/endpoint-state.ts';
import { poolOf, type Receiver } from '../../core/delivery/receiver.ts';
import { PlanKeys, type Keys } from '../keys.ts';
import { Lease } from '../leases.ts';
import { AUDIT, auditArgument } from '../lua/audit.ts';
import { STORE_NOW } from '../lua/clock.ts';
import { EVEN_IF_FULL } from '../lua/full.ts';
import { findNumbers } from '../numbers.ts';
import { script } from '../script.ts';
import { compareDeliveries } from './delivery-comparison.ts';
import {
  claimsOf,
  POSTPONE_DELIVERIES,
  RECORD_ATTEMPT,
  receiverPlan,
  replayMember,
  REQUEUE_DELIVERY,
  stepArgs,
  WITHHOLD_DELIVERY,
  type AttemptStep,
  type DeliveryStep,
  type Postponed,
  type PostponedSteps,
  type ReplayRequest,
} from './delivery-step.ts';
import { deliveryPlan, PLAN_DELIVERIES } from './event-plan.ts';
import type { HistoryStore } from './history-store.ts';
import {
  CLAIM_DELIVERIES,
  claimArgs,
  createPoolPlans,
  keysOfReceiver,
  leaseMs,
  readClaims,
  type ClaimReply,
  type NextClaims,
  type PoolClaims,
} from './pool-claims.ts';

/** A pool, and what holds for attempts at it. */
interface Pool {
  pool: string;
  limits: EndpointLimits;
}

/** A wish for deliveries of one pool. */
interface ClaimRequest extends Pool, NextClaims {
  /** When this is asked, by the monotonic clock. */
  askedAt: number;
}

/** A delivery by its id, and its number in the order of their creation. */
export interface NumberedId {
  id: string;
  number: string;
}

/** What a comparison of outstanding deliveries found. */
export interface Compared {
  /** Deliveries that stood nowhere, or were due too late. */
  placed: number;
  /** Deliveries without a record. */
  lost: number;
  /** Pools at which something is due that was not before. */
  pools: string[];
  /** Where to go on; null at the end. */
  next: string | null;
}

/** Deliveries compared by one step of a script. */
const COMPARE_CHUNK = 100;

/** Deliveries made due by one step of a script. */
const RETRY_CHUNK = 500;

/** A watch may be packed between two steps of adding a delivery to it. */
const ADD_TRIES = 3;

/**
 * Adds deliveries, as {@link PLAN_DELIVERIES} does, outside any other step, if their events are live: those are the
 * first so many of its further keys.
 */
const ADD_DELIVERIES = script(
  'rwAddDeliveries',
  {
    keys: ['replays'],
    args: ['plan', 'events', 'audited?', 'replay?'],
    reply: (added: number) => added === 1,
  },
  `
${PLAN_DELIVERIES}
${AUDIT}
for at = 1, tonumber(args.events) do
  if redis.call('EXISTS', KEYS[further + at - 1]) == 0 then return 0 end
end
if args.audited then audit(cjson.decode(args.audited)) end
plan(cjson.decode(args.plan), {})
if args.replay then redis.call('ZREM', keys.replays, args.replay) end
return 1
`,
);

/** Claims deliveries of one pool. */
const CLAIM = script(
  'rwClaim',
  {
    keys: ['clock', 'poolsDue'],
    args: ['pool', 'token', 'turn', 'most'],
    reply: (reply: ClaimReply) => reply,
  },
  `
${STORE_NOW}
${CLAIM_DELIVERIES}
local p, now = cjson.decode(args.pool), storeNow(keys.clock)
return claimAndReschedule(p, now, tonumber(args.most), args.token, args.turn)
`,
);

/**
 * Gives claims back, by their ids and tokens: their deliveries are due at once. Returns how many were given back;
 * those whose token is another by now were not.
 */
const RELEASE_DELIVERIES = script(
  'rwReleaseDeliveries',
  {
    keys: ['clock', 'poolsDue', 'dueBell'],
    args: ['pool'],
    reply: (released: number) => released,
  },
  `
${EVEN_IF_FULL}
${STORE_NOW}
${CLAIM_DELIVERIES}
evenIfFull(keys.clock)
local p, now, released = cjson.decode(args.pool), storeNow(keys.clock), 0
for at = rest, #ARGV, 2 do
  local id = ARGV[at]
  local dueAt = letGo(p.claims, id, ARGV[at + 1])
  if dueAt then
    redis.call('ZREM', p.taken, id)
    backToDue(p, id, dueAt)
    released = released + 1
  end
end
reschedule(p, now)
if released > 0 then redis.call('PUBLISH', keys.dueBell, p.pool) end
return released
`,
);

/** Pools that are worth asking, the first first, and the store's time. */
const DUE_POOLS = script(
  'rwDuePools',
  {
    keys: ['clock', 'poolsDue'],
    args: ['most'],
    reply: ([now, pools]: [number, string[]]) => ({ now, pools }),
  },
  `
${EVEN_IF_FULL}
${STORE_NOW}
evenIfFull(keys.clock)
return {storeNow(keys.clock), redis.call('ZRANGE', keys.poolsDue, 0, args.most - 1, 'WITHSCORES')}
`,
);

/**
 * Makes all that waits at a receiver due at once: what is parked, and what waits for its next attempt.
 * What is being attempted is due when that fails. In steps of so many at the most, so that Redis is never busy for
 * long. Returns how many deliveries were moved up, and how many are being attempted.
 */
const RETRY_RECEIVER = script(
  'rwRetryReceiver',
  {
    keys: ['clock', 'poolsDue', 'dueBell'],
    args: ['pool', 'receiver', 'most'],
    reply: ([moved, attempted]: [number, number]) => ({ moved, attempted }),
  },
  `
${STORE_NOW}
${CLAIM_DELIVERIES}
local p, name, now = cjson.decode(args.pool), args.receiver, storeNow(keys.clock)
local ids = redis.call('ZRANGEBYSCORE', p.dues .. name, '(' .. now, '+inf', 'LIMIT', 0, args.most)
for _, id in ipairs(ids) do redis.call('ZADD', p.dues .. name, now, id) end
local attempted = 0
for _, id in ipairs(redis.call('ZRANGE', p.isShared and p.takens .. urlOf(name) or p.taken, 0, -1)) do
  local key = p.deliveries .. id
  local doc = redis.call('HGET', key, 'doc')
  -- Other receivers may have the same URL.
  if doc and cjson.decode(doc).endpoint == name then
    redis.call('HSETNX', key, 'wish', 'due')
    attempted = attempted + 1
  end
end
if p.isShared then rescheduleWebhook(p, openReceiver(p, name, 0), false) end
reschedule(p, now)
redis.call('PUBLISH', keys.dueBell, p.pool)
return {#ids, attempted}
`,
);

/** Moves due times that were written while the clock was ahead back by a step, once that was taken out of it. */
const MOVE_BACK = script(
  'rwMoveDeliveriesBack',
  { keys: ['clock', 'poolsDue'], args: ['pool', 'ms', 'from'] },
  `
${STORE_NOW}
${CLAIM_DELIVERIES}
local p, now = cjson.decode(args.pool), storeNow(keys.clock)
local function moveBack(name)
  local late = redis.call('ZRANGEBYSCORE', p.dues .. name, args.from, '+inf', 'WITHSCORES')
  for at = 1, #late, 2 do
    redis.call('ZADD', p.dues .. name, math.max(now, late[at + 1] - args.ms), late[at])
  end
  if p.isShared then rescheduleWebhook(p, openReceiver(p, name, 0), false) end
end
if p.isShared then
  local held = redis.call('ZRANGEBYSCORE', p.held, args.from, '+inf', 'WITHSCORES')
  for at = 1, #held, 2 do redis.call('ZADD', p.held, held[at + 1] - args.ms, held[at]) end
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', p.poolDue, '(' .. now, '+inf')) do moveBack(name) end
else
  poolOf(p)
  if p.paceMs and p.heldUntil >= tonumber(args.from) then
    p.heldUntil = p.heldUntil - args.ms
    redis.call('SET', p.hold, string.format('%.3f %.3f', p.heldUntil, p.paceMs), 'KEEPTTL')
  end
  moveBack(p.pool)
end
reschedule(p, now)
`,
);

/**
 * The outbox: deliveries that are due, their claims, and the steps by which they move on, each one
 * script. Errors of the connection pass through.
 */
export class OutboxStore {
  /** The right to work off the requested replays, of one process at a time. */
  readonly replayLease: Lease;
  private readonly planOf: ReturnType<typeof createPoolPlans>;

  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly history: HistoryStore,
  ) {
    this.replayLease = new Lease(redis, keys, keys.replayLease);
    this.planOf = createPoolPlans(keys);
  }

  /**
   * Adds deliveries that are not there yet; they are due at once. Those of events that are kept no more
   * are not added.
   * @param audit what a user did; null where no user did it
   * @param replay the requested replay that this carries out
   */
  async add(
    deliveries: readonly Delivery[],
    { audit = null, replay }: Pick<DeliveryStep, 'audit' | 'replay'> = {},
  ): Promise<void> {
    const planKeys = new PlanKeys(this.keys);
    const plan = JSON.stringify(deliveryPlan(planKeys, deliveries));
    const events = [...new Set(deliveries.map(({ eventId }) => this.keys.event(eventId)))];
    const { audited, further: audits } = auditArgument(this.keys, audit);
    const further = [...events, ...planKeys.declared, ...audits];
    for (let tries = 0; tries < ADD_TRIES; tries += 1) {
      for (const delivery of deliveries) await this.makeLive(delivery);
      const about = {
        plan,
        events: events.length,
        audited,
        replay: replay && replayMember(replay),
      };
      if (await ADD_DELIVERIES.run(this.redis, this.keys, about, { further })) return;
    }
  }

  /** Claims deliveries that are due, as far as there are slots for them. */
  async claim(request: ClaimRequest): Promise<PoolClaims> {
    const { pool, limits, most, token } = request;
    const plan = this.planOf(pool, limits);
    const about = { pool: plan.json, ...claimArgs(token), most };
    const further = keysOfReceiver(this.keys, pool, plan);
    return readClaims(await CLAIM.run(this.redis, this.keys, about, { further }), request);
  }

  /** Gives claims of a pool back: their deliveries are due at once. @returns how many were ours */
  async release(
    { pool, limits }: Pool,
    held: readonly { id: string; token: string }[],
  ): Promise<number> {
    const plan = this.planOf(pool, limits);
    const given = held.map(({ id }) => this.keys.delivery(id));
    return RELEASE_DELIVERIES.run(
      this.redis,
      this.keys,
      { pool: plan.json },
      {
        further: [...keysOfReceiver(this.keys, pool, plan), ...given],
        rest: held.flatMap(({ id, token }) => [id, token]),
      },
    );
  }

  /**
   * Records the result of an attempt, and claims the next deliveries of the pool.
   * @returns the claims, or which record another process has changed meanwhile, or what a user wants
   */
  async recordAttempt(step: AttemptStep): Promise<PoolClaims | 'delivery' | 'endpoint' | Wish> {
    const planKeys = new PlanKeys(this.keys);
    const mayProbe = step.shows?.endpoint.state.breaker === 'open';
    const args = this.argsOf(step, planKeys, mayProbe);
    const shows = step.shows && receiverPlan(planKeys, step.shows, step.now);
    const askedAt = performance.now();
    const reply = await RECORD_ATTEMPT.run(
      this.redis,
      this.keys,
      {
        ...args,
        attempt: JSON.stringify(step.attempt),
        shows: shows && JSON.stringify(shows),
      },
      { further: planKeys.declared },
    );
    return claimsOf(reply, step, askedAt);
  }

  /**
   * Withholds a delivery without an attempt: it is postponed, parked, skipped or superseded.
   * @returns the claims that the step has made, or 'delivery' where another process has changed it, or
   *   what a user wants
   */
  async withhold(step: DeliveryStep): Promise<PoolClaims | 'delivery' | Wish> {
    const planKeys = new PlanKeys(this.keys);
    const args = this.argsOf(step, planKeys);
    const askedAt = performance.now();
    const further = planKeys.declared;
    const reply = await WITHHOLD_DELIVERY.run(this.redis, this.keys, args, { further });
    return claimsOf(reply, step, askedAt);
  }

  /**
   * Postpones the deliveries of one message to one moment, without an attempt.
   * @param steps the first also says what is claimed next
   */
  async postpone([first, ...others]: PostponedSteps): Promise<Postponed> {
    const planKeys = new PlanKeys(this.keys);
    const { delivery, doc, ...about } = this.argsOf(first, planKeys);
    const more = others.map((step) => this.argsOf(step, planKeys));
    const deliveries = `[${[delivery, ...more.map((one) => one.delivery)].join()}]`;
    const askedAt = performance.now();
    const { left, claims } = await POSTPONE_DELIVERIES.run(
      this.redis,
      this.keys,
      { deliveries, ...about },
      { further: planKeys.declared, rest: [doc, ...more.map((one) => one.doc)] },
    );
    return { left, ...claimsOf<never>(claims, first, askedAt) };
  }

  /** Makes a delivery due for a user, at once or when its attempt ends. @returns false where it has changed */
  async requeue(step: DeliveryStep): Promise<boolean> {
    if (!isOutstanding(step.before.delivery.state)) await this.makeLive(step.after);
    const planKeys = new PlanKeys(this.keys);
    const args = this.argsOf(step, planKeys);
    return REQUEUE_DELIVERY.run(this.redis, this.keys, args, { further: planKeys.declared });
  }

  /** Pools that are worth asking, the first first, by how many ms from now; past times are negative. */
  async duePools(limit: number): Promise<{ pool: string; inMs: number }[]> {
    const { poolsDue } = this.keys;
    // With nothing to do, which is asked all day, one command is enough.
    if ((await this.redis.exists(poolsDue)) === 0) return [];
    const { now, pools } = await DUE_POOLS.run(this.redis, this.keys, { most: limit });
    return Array.from({ length: pools.length / 2 }, (_, at) => ({
      pool: pools[at * 2] ?? '',
      inMs: Number(pools[at * 2 + 1]) - now,
    }));
  }

  /**
   * Compares some outstanding deliveries with where they stand, and puts those that stand nowhere where
   * they belong. One without a record is forgotten and counted as lost.
   * @param from where the last comparison ended; undefined begins with the oldest
   */
  async compare(from: string | undefined, most: number): Promise<Compared> {
    const { redis, keys } = this;
    const outstanding = ['pending', 'parked'].map((state) => keys.deliveries('state', state));
    const compared: Compared = { placed: 0, lost: 0, pools: [], next: null };
    // With nothing to do, which is asked all day, one command is enough.
    if ((await redis.exists(outstanding)) === 0) return compared;
    const query = {
      kind: 'delivery' as const,
      fields: [outstanding],
      order: 'oldest' as const,
      from,
    };
    const { numbers, next } = await findNumbers(redis, keys, query, most);
    compared.next = next;
    for (const some of chunksOf(numbers, COMPARE_CHUNK)) {
      const { placed, lost, pools } = await compareDeliveries(redis, keys, some);
      compared.placed += placed;
      compared.lost += lost;
      compared.pools.push(...pools);
    }
    return compared;
  }

  /** Moves what was scheduled at a pool while the store's clock was ahead by a step. */
  async moveBack({ pool, limits }: Pool, { ms, from }: ClockStep): Promise<void> {
    const plan = this.planOf(pool, limits);
    const further = keysOfReceiver(this.keys, pool, plan);
    await MOVE_BACK.run(this.redis, this.keys, { pool: plan.json, ms, from }, { further });
  }

  /**
   * Makes all that waits for its next attempt at a receiver due now, and what is being attempted due when
   * that fails. @returns how many
   */
  async retry(receiver: Receiver, limits: EndpointLimits): Promise<number> {
    const plan = this.planOf(poolOf(receiver), limits);
    const further = keysOfReceiver(this.keys, receiver, plan);
    const about = { pool: plan.json, receiver, most: RETRY_CHUNK };
    for (let total = 0; ;) {
      const step = await RETRY_RECEIVER.run(this.redis, this.keys, about, { further });
      const { moved, attempted } = step;
      total += moved;
      if (moved < RETRY_CHUNK) return total + attempted;
    }
  }

  /** How many deliveries of a receiver are parked. */
  async countParked(receiver: Receiver): Promise<number> {
    return this.redis.zcard(this.keys.parked(receiver));
  }

  /** True for the one delivery that may probe a failing endpoint, for as long as its claim stands. */
  async takeProbe(
    receiver: Receiver,
    deliveryId: string,
    limits: EndpointLimits,
  ): Promise<boolean> {
    const probe = new Lease(this.redis, this.keys, this.keys.probe(receiver));
    return probe.take(deliveryId, leaseMs(limits));
  }

  /** The first outstanding delivery of the same order; null for none. */
  async firstInOrder(delivery: Delivery): Promise<string | null> {
    return this.redis.lindex(this.keys.ordering(delivery), 0);
  }

  /** The token of the claim on a delivery; undefined for none. */
  async tokenOf(id: string): Promise<string | undefined> {
    const claim = await this.redis.hget(this.keys.deliveryClaims, id);
    return claim?.split(' ')[0];
  }

  /**
   * Notes that deliveries are to go out again: whatever dies, that is done, in the order in which they
   * were created.
   */
  async requestReplays(found: readonly NumberedId[], to?: string): Promise<void> {
    if (found.length === 0) return;
    const members = found.flatMap(({ id, number }) => [number, replayMember({ id, to })]);
    await this.redis.zadd(this.keys.replays, ...members);
  }

  async nextReplays(limit: number): Promise<ReplayRequest[]> {
    const members = await this.redis.zrange(this.keys.replays, 0, String(limit - 1));
    return members.map((member) => {
      const [id = '', to] = member.split(' ');
      return { id, to };
    });
  }

  /** Takes back what is left of requests: those that were carried out were ended in the same step. */
  async endReplays(requests: readonly ReplayRequest[]): Promise<void> {
    await this.redis.zrem(this.keys.replays, ...requests.map(replayMember));
  }

  private async makeLive(delivery: Delivery): Promise<void> {
    if (delivery.runId !== '') await this.history.unpack(delivery);
  }

  private argsOf(step: DeliveryStep, planKeys: PlanKeys, mayProbe = true) {
    const { endpoint } = step.after;
    const pool = this.planOf(poolOf(endpoint), step.limits);
    planKeys.declareAll(keysOfReceiver(this.keys, endpoint, pool));
    return stepArgs(planKeys, { step, pool, mayProbe });
  }
}
