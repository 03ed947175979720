import type { Redis } from 'ioredis';
import type { Keys } from './keys.ts';

/** The name of a store's present life, in Redis. Errors of the connection pass through. */
export class EpochStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** The epoch of the store, which is the given one where it has none yet. */
  async open(epoch: string): Promise<string> {
    await this.redis.setnx(this.keys.epoch, epoch);
    return (await this.redis.get(this.keys.epoch)) ?? epoch;
  }
}
