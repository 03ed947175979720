import type { Redis } from 'ioredis';
import type { Keys } from '../keys.ts';

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
