import type { Redis } from 'ioredis';
import type { Claim } from '../core/claim.ts';
import type { Gate, GateLimits, StoredGate } from '../core/gate.ts';
import { gatePlan, heldMs, readClaims } from './delivery-claims.ts';
import { gateWrite, readGate } from './gate-record.ts';
import type { Keys } from './keys.ts';
import { replies } from './replies.ts';

/** A wish for deliveries of one gate. */
interface ClaimRequest {
  gate: string;
  limits: GateLimits;
  /** How many at most. */
  most: number;
}

/** The gates of endpoints, and the places for attempts at them, shared by all processes. */
export class GateStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async get(name: string): Promise<StoredGate> {
    return readGate(name, await this.redis.hgetall(this.keys.gate(name)));
  }

  async getMany(names: readonly string[]): Promise<StoredGate[]> {
    const pipeline = this.redis.pipeline();
    for (const name of names) pipeline.hgetall(this.keys.gate(name));
    const found = await replies<Record<string, string>>(pipeline);
    return names.map((name, at) => readGate(name, found[at] ?? {}));
  }

  /** Writes a gate. @returns false when somebody else has written it since it was read */
  async write(before: StoredGate, after: Gate, now: number): Promise<boolean> {
    const write = gateWrite(this.keys, before, after, now);
    const written = await this.redis.rwWriteGate(write.key, JSON.stringify(write));
    return written === 1;
  }

  /** Claims deliveries that are due, as far as there are places for them, the longest due first. */
  async claim(requests: ClaimRequest[], now: number): Promise<Claim[]> {
    const found = await Promise.all(
      requests.map(async ({ gate, limits, most }) => {
        const plan = JSON.stringify(gatePlan(this.keys, gate, limits, now));
        return readClaims(gate, await this.redis.rwClaim(this.keys.gate(gate), plan, now, most));
      }),
    );
    return found.flat();
  }

  /** Gates that it will be worth asking for deliveries by a time, the first first. */
  async dueBy(time: number, limit: number): Promise<{ gate: string; at: number }[]> {
    const { gatesDue } = this.keys;
    const flat = await this.redis.zrangebyscore(
      gatesDue,
      '-inf',
      time,
      'WITHSCORES',
      'LIMIT',
      0,
      limit,
    );
    return Array.from({ length: flat.length / 2 }, (_, at) => ({
      gate: flat[at * 2] ?? '',
      at: Number(flat[at * 2 + 1]),
    }));
  }

  /** True for the one delivery that may probe a failing endpoint, for as long as an attempt takes. */
  async takeProbe(gate: string, deliveryId: string, limits: GateLimits): Promise<boolean> {
    const key = this.keys.probe(gate);
    const taken = await this.redis.set(key, deliveryId, 'PX', heldMs(limits), 'NX');
    return taken === 'OK' || (await this.redis.get(key)) === deliveryId;
  }

  /** Gates that have parked deliveries. */
  async parked(): Promise<string[]> {
    return this.redis.smembers(this.keys.gatesParked);
  }

  /** The parked deliveries of a gate, the longest parked first. */
  async parkedAt(gate: string, limit: number): Promise<string[]> {
    return this.redis.zrange(this.keys.parked(gate), 0, String(limit - 1));
  }

  /** True for the one process that may release deliveries of a gate for this time. */
  async mayRelease(gate: string, ms: number): Promise<boolean> {
    return (await this.redis.set(this.keys.releasing(gate), '1', 'PX', ms, 'NX')) === 'OK';
  }

  async isProbed(gate: string): Promise<boolean> {
    return (await this.redis.exists(this.keys.probe(gate))) === 1;
  }
}
