import type { Redis } from 'ioredis';
import type { ClockStep } from '../../core/clock.ts';
import { isOutstanding, type Delivery, type Wish } from '../../core/delivery/delivery.ts';
import type { EndpointLimits } from '../../core/delivery/endpoint-state.ts';
import { isWebhook, poolOf, type Receiver } from '../../core/delivery/receiver.ts';
import type {
  AttemptStep,
  DeliveryStep,
  NextClaims,
  PoolClaims,
  ReplayRequest,
} from '../../core/delivery/outbox.ts';
import { declaredKeys, type Keys } from '../keys.ts';
import { Lease } from '../leases.ts';
import { deliveryPlan } from './event-plan.ts';
import { findNumbers } from '../numbers.ts';
import type { HistoryStore } from './history-store.ts';
import {
  claimArgs,
  comparisonPlan,
  createPoolPlans,
  leaseMs,
  readClaims,
  receiverKeys,
  receiverPlan,
  stepPlan,
  type ClaimReply,
  type PoolPlan,
} from './outbox-plan.ts';

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

const NO_CLAIMS: NextClaims = { most: 0, token: '' };

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
   */
  async add(deliveries: readonly Delivery[]): Promise<void> {
    const plan = deliveryPlan(this.keys, deliveries);
    const events = [...new Set(deliveries.map(({ eventId }) => this.keys.event(eventId)))];
    for (let tries = 0; tries < ADD_TRIES; tries += 1) {
      for (const delivery of deliveries) await this.makeLive(delivery);
      const added = await this.redis.rwAddDeliveries(
        ...declaredKeys(this.keys, events, plan),
        JSON.stringify(plan),
        events.length,
      );
      if (added === 1) return;
    }
  }

  /** Claims deliveries that are due, as far as there are slots for them. */
  async claim(request: ClaimRequest): Promise<PoolClaims> {
    const { pool, limits, most, token } = request;
    const plan = this.planOf(pool, limits);
    const declared = this.declared(pool, plan);
    const reply = await this.redis.rwClaim(...declared, plan.json, ...claimArgs(token), most);
    return readClaims(reply, request);
  }

  /** Gives claims of a pool back: their deliveries are due at once. @returns how many were ours */
  async release(
    { pool, limits }: Pool,
    held: readonly { id: string; token: string }[],
  ): Promise<number> {
    const plan = this.planOf(pool, limits);
    const given = held.map(({ id }) => this.keys.delivery(id));
    const claims = held.flatMap(({ id, token }) => [id, token]);
    const declared = this.declared(pool, plan, given);
    return this.redis.rwReleaseDeliveries(...declared, plan.json, ...claims);
  }

  /**
   * Records the result of an attempt, and claims the next deliveries of the pool.
   * @returns the claims, or which record another process has changed meanwhile, or what a user wants
   */
  async recordAttempt(step: AttemptStep): Promise<PoolClaims | 'delivery' | 'endpoint' | Wish> {
    const shows = step.shows && receiverPlan(this.keys, step.shows, step.now);
    const delivery = {
      ...stepPlan(this.keys, step),
      mayProbe: step.shows?.endpoint.state.breaker === 'open',
    };
    const { declared, args } = this.script(step, delivery, shows);
    const texts = [
      shows === undefined ? '' : JSON.stringify(shows),
      JSON.stringify(step.after),
      JSON.stringify(step.attempt),
    ];
    const askedAt = performance.now();
    return claimsOf(
      await this.redis.rwRecordAttempt(...declared, ...args, ...texts),
      step,
      askedAt,
    );
  }

  /**
   * Withholds a delivery without an attempt: it is postponed, parked, skipped or superseded.
   * @returns the claims that the step has made, or 'delivery' where another process has changed it, or
   *   what a user wants
   */
  async withhold(step: DeliveryStep): Promise<PoolClaims | 'delivery' | Wish> {
    const { declared, args } = this.script(step, stepPlan(this.keys, step));
    const askedAt = performance.now();
    const reply = await this.redis.rwWithholdDelivery(
      ...declared,
      ...args,
      JSON.stringify(step.after),
    );
    return claimsOf(reply, step, askedAt);
  }

  /** Makes a delivery due for a user, at once or when its attempt ends. @returns false where it has changed */
  async requeue(step: DeliveryStep): Promise<boolean> {
    if (!isOutstanding(step.before.delivery.state)) await this.makeLive(step.after);
    const { declared, args } = this.script(step, stepPlan(this.keys, step));
    const doc = JSON.stringify(step.after);
    return (await this.redis.rwRequeueDelivery(...declared, ...args, doc)) === 1;
  }

  /** Pools that are worth asking, the first first, by how many ms from now; past times are negative. */
  async duePools(limit: number): Promise<{ pool: string; inMs: number }[]> {
    const { clock, poolsDue } = this.keys;
    // With nothing to do, which is asked all day, one command is enough.
    if ((await this.redis.exists(poolsDue)) === 0) return [];
    const [now, flat] = await this.redis.rwDuePools(clock, poolsDue, limit);
    return Array.from({ length: flat.length / 2 }, (_, at) => ({
      pool: flat[at * 2] ?? '',
      inMs: Number(flat[at * 2 + 1]) - now,
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
    const plan = comparisonPlan(keys);
    const declared = declaredKeys(keys, [keys.clock, keys.poolsDue, keys.damage], plan);
    for (let at = 0; at < numbers.length; at += COMPARE_CHUNK) {
      const some = numbers.slice(at, at + COMPARE_CHUNK);
      const reply = await redis.rwCompareDeliveries(...declared, JSON.stringify(plan), ...some);
      compared.placed += reply[0];
      compared.lost += reply[1];
      compared.pools.push(...reply[2]);
    }
    return compared;
  }

  /** Moves what was scheduled at a pool while the store's clock was ahead by a step. */
  async moveBack({ pool, limits }: Pool, { ms, from }: ClockStep): Promise<void> {
    const plan = this.planOf(pool, limits);
    const declared = this.declared(pool, plan);
    await this.redis.rwMoveDeliveriesBack(...declared, plan.json, ms, from);
  }

  /**
   * Makes all that waits for its next attempt at a receiver due now, and what is being attempted due when
   * that fails. @returns how many
   */
  async retry(receiver: Receiver, limits: EndpointLimits): Promise<number> {
    const plan = this.planOf(poolOf(receiver), limits);
    const declared = this.declared(receiver, plan);
    for (let total = 0; ;) {
      const step = [plan.json, receiver, RETRY_CHUNK] as const;
      const [moved, attempted] = await this.redis.rwRetryReceiver(...declared, ...step);
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

  async endReplays(requests: readonly ReplayRequest[]): Promise<void> {
    await this.redis.zrem(this.keys.replays, ...requests.map(replayMember));
  }

  private async makeLive(delivery: Delivery): Promise<void> {
    if (delivery.runId !== '') await this.history.unpack(delivery);
  }

  /** The keys of a step, and its plans as JSON. */
  private script(step: DeliveryStep, delivery: object, ...more: unknown[]) {
    const { endpoint } = step.after;
    const pool = this.planOf(poolOf(endpoint), step.limits);
    return {
      declared: this.declared(endpoint, pool, delivery, ...more),
      args: [JSON.stringify(delivery), pool.json, ...claimArgs(step.next?.token ?? '')],
    };
  }

  private declared(
    receiver: Receiver,
    { named }: PoolPlan,
    ...plans: unknown[]
  ): [number, ...string[]] {
    const { clock, poolsDue, dueBell } = this.keys;
    // Those of a configured endpoint are in the plan of its pool.
    const own = isWebhook(receiver) ? receiverKeys(this.keys, receiver) : [];
    return declaredKeys(this.keys, [clock, poolsDue, dueBell, ...named, ...own], ...plans);
  }
}

/** Neither ids nor names hold spaces. */
function replayMember({ id, to }: ReplayRequest): string {
  return to === undefined ? id : `${id} ${to}`;
}

function claimsOf<Changed extends string>(
  reply: Changed | ClaimReply,
  { next = NO_CLAIMS }: DeliveryStep,
  askedAt: number,
): Changed | PoolClaims {
  return typeof reply === 'string' ? reply : readClaims(reply, { token: next.token, askedAt });
}
