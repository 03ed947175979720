import type { Redis } from 'ioredis';
import type {
  EndpointLimits,
  EndpointState,
  StoredEndpoint,
} from '../../core/delivery/endpoint-state.ts';
import { poolOf, type Receiver } from '../../core/delivery/receiver.ts';
import {
  claimPlan,
  leaseMs,
  readClaims,
  receiverKeys,
  type ClaimRequest,
  type PoolClaims,
} from './delivery-claims.ts';
import { declaredKeys } from '../declared-keys.ts';
import { readEndpoint, stateWrite } from './endpoint-record.ts';
import type { Keys } from '../keys.ts';
import { replies } from '../replies.ts';

/** Deliveries moved up by one step of a script. */
const RETRY_CHUNK = 500;

/** A claim that is given back. */
export interface HeldDelivery {
  id: string;
  token: string;
}

/** The states of endpoints, and the claims on deliveries to them, shared by all processes. */
export class EndpointStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async get(receiver: Receiver): Promise<StoredEndpoint> {
    return readEndpoint(receiver, await this.redis.hgetall(this.keys.endpointState(receiver)));
  }

  async getMany(receivers: readonly Receiver[]): Promise<StoredEndpoint[]> {
    const pipeline = this.redis.pipeline();
    for (const receiver of receivers) pipeline.hgetall(this.keys.endpointState(receiver));
    const found = await replies<Record<string, string>>(pipeline);
    return receivers.map((receiver, at) => readEndpoint(receiver, found[at] ?? {}));
  }

  /** Writes a state. @returns false when it is not what was read any more */
  async write(
    before: StoredEndpoint,
    after: EndpointState,
    { limits, now }: { limits: EndpointLimits; now: number },
  ): Promise<boolean> {
    const { receiver } = before;
    const write = stateWrite(this.keys, before, after, now);
    const plan = claimPlan(this.keys, { pool: poolOf(receiver), limits });
    const written = await this.redis.rwWriteEndpoint(
      ...this.declared(plan, receiver, write),
      JSON.stringify(write),
      JSON.stringify(plan),
      receiver,
    );
    return written === 1;
  }

  /** Claims deliveries that are due, as far as there are slots for them. */
  async claim(request: ClaimRequest): Promise<PoolClaims> {
    const plan = claimPlan(this.keys, request);
    const declared = this.declared(plan, request.pool);
    const reply = await this.redis.rwClaim(...declared, JSON.stringify(plan), request.most);
    return readClaims(reply, request);
  }

  /** Gives claims of a pool back: their deliveries are due at once. @returns how many were ours */
  async release(
    { pool, limits }: { pool: string; limits: EndpointLimits },
    held: readonly HeldDelivery[],
  ): Promise<number> {
    const plan = claimPlan(this.keys, { pool, limits });
    const given = held.map(({ id }) => this.keys.delivery(id));
    const claims = held.flatMap(({ id, token }) => [id, token]);
    return this.redis.rwReleaseDeliveries(
      ...this.declared(plan, pool, given),
      JSON.stringify(plan),
      ...claims,
    );
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

  /** What is due at a pool within a step by which the clock was set back is due now. */
  async moveBack({ pool, limits }: { pool: string; limits: EndpointLimits }, stepMs: number) {
    const plan = claimPlan(this.keys, { pool, limits });
    const declared = this.declared(plan, pool);
    await this.redis.rwMoveDeliveriesBack(...declared, JSON.stringify(plan), stepMs);
  }

  /** Makes all that waits for its next attempt at a receiver due now. @returns how many */
  async retry(receiver: Receiver, limits: EndpointLimits): Promise<number> {
    const plan = claimPlan(this.keys, { pool: poolOf(receiver), limits });
    const declared = this.declared(plan, receiver);
    for (let total = 0; ;) {
      const step = [JSON.stringify(plan), receiver, RETRY_CHUNK] as const;
      const moved = await this.redis.rwRetryReceiver(...declared, ...step);
      total += moved;
      if (moved < RETRY_CHUNK) return total;
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
    const key = this.keys.probe(receiver);
    const taken = await this.redis.set(key, deliveryId, 'PX', leaseMs(limits), 'NX');
    return taken === 'OK' || (await this.redis.get(key)) === deliveryId;
  }

  /** Webhooks of watches that are not well, those that changed last first. */
  async unwell(limit: number): Promise<StoredEndpoint[]> {
    const { endpointsUnwell } = this.keys;
    const names = await this.redis.zrevrange(endpointsUnwell, 0, limit - 1);
    const found = await this.getMany(names);
    const gone = found.filter(({ version }) => version === 0).map(({ receiver }) => receiver);
    if (gone.length > 0) await this.redis.zrem(endpointsUnwell, ...gone);
    return found.filter(({ version }) => version > 0);
  }

  private declared(plan: object, receiver: Receiver, ...more: unknown[]): [number, ...string[]] {
    const { clock, poolsDue, dueBell } = this.keys;
    const byPlace = [clock, poolsDue, dueBell];
    return declaredKeys(this.keys, byPlace, plan, receiverKeys(this.keys, receiver), ...more);
  }
}
