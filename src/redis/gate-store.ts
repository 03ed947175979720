import type { Redis } from 'ioredis';
import type { StoredDelivery } from '../core/delivery.ts';
import { NEW_GATE, type Gate, type GateLimits, type StoredGate } from '../core/gate.ts';
import type { Keys } from './keys.ts';
import { replies } from './replies.ts';

/** A place that a process which died has held is free after this much more than the deadline, ms. */
const GRACE_MS = 5_000;

/**
 * What came of asking for a place: the delivery waits for one, somebody else probes, it has changed
 * since it was read, an earlier one of its lane goes first, or the rate allows it later.
 */
export type PlaceTaken = 'go' | (typeof REFUSALS)[number] | { later: number };

const REFUSALS = ['full', 'probed', 'changed', 'behind'] as const;

/** The gates of endpoints, and the places for attempts at them, shared by all processes. */
export class GateStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async get(name: string): Promise<StoredGate> {
    return parseGate(name, await this.redis.hmget(this.keys.gate(name), 'version', 'doc'));
  }

  async getMany(names: readonly string[]): Promise<StoredGate[]> {
    const pipeline = this.redis.pipeline();
    for (const name of names) pipeline.hmget(this.keys.gate(name), 'version', 'doc');
    const found = await replies<(string | null)[]>(pipeline);
    return names.map((name, at) => parseGate(name, found[at] ?? []));
  }

  /** Writes a gate. @returns false when somebody else has written it since it was read */
  async write(before: StoredGate, after: Gate): Promise<boolean> {
    const { name, version } = before;
    return (
      (await this.redis.rwWriteGate(this.keys.gate(name), version, JSON.stringify(after))) === 1
    );
  }

  /** Asks for a place among the attempts at an endpoint; `full` puts the delivery in line for one. */
  async takePlace(
    request: { stored: StoredDelivery; gate: string; isProbe: boolean; limits: GateLimits },
    now: number,
  ): Promise<PlaceTaken> {
    const { gate, isProbe, limits } = request;
    const { delivery, version } = request.stored;
    const heldMs = limits.deadlineMs + GRACE_MS;
    const taken = await this.redis.rwTakePlace(
      this.keys.places(gate),
      delivery.id,
      JSON.stringify({
        delivery: this.keys.delivery(delivery.id),
        version,
        lane: this.keys.lane(delivery),
        ...placeKeys(this.keys, gate, limits, now),
        outbox: this.keys.outbox,
        probe: this.keys.probe(gate),
        ...(isProbe && { probeMs: heldMs }),
        pace: this.keys.pace(gate),
        ...(limits.rate !== null && { paceMs: 1_000 / limits.rate }),
      }),
      now,
    );
    if (taken === 'go') return taken;
    // Jobs are put off to whole milliseconds.
    return REFUSALS.find((refusal) => refusal === taken) ?? { later: Math.ceil(Number(taken)) };
  }

  /** Gates for whose places deliveries wait. */
  async waiting(): Promise<string[]> {
    return this.redis.smembers(this.keys.gatesWaiting);
  }

  /** Gives places that have become free, or were held by a process that died, to those that wait. */
  async refill(gate: string, limits: GateLimits, now: number): Promise<string[]> {
    const plan = { ...placeKeys(this.keys, gate, limits, now), outbox: this.keys.outbox };
    return this.redis.rwRefillPlaces(this.keys.places(gate), JSON.stringify(plan), now);
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

function parseGate(name: string, [version, doc]: (string | null)[]): StoredGate {
  if (!version || !doc) return { name, gate: NEW_GATE, version: 0 };
  return { name, gate: JSON.parse(doc) as Gate, version: Number(version) };
}

/** What the scripts need to know of a gate's places. */
export function placeKeys(keys: Keys, gate: string, limits: GateLimits, now: number) {
  return {
    name: gate,
    places: keys.places(gate),
    waiting: keys.waiting(gate),
    gatesWaiting: keys.gatesWaiting,
    limit: limits.concurrency,
    heldUntil: now + limits.deadlineMs + GRACE_MS,
  };
}
