import type { Redis } from 'ioredis';
import type { Keys } from './keys.ts';

/** The ids of the keys that values in Redis may be sealed by. Errors of the connection pass through. */
export class SealingKeyStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async all(): Promise<string[]> {
    return this.redis.smembers(this.keys.sealingKeys);
  }

  /** To be called before anything is sealed by the key. */
  async add(keyId: string): Promise<void> {
    await this.redis.sadd(this.keys.sealingKeys, keyId);
  }

  /** To be called once nothing is sealed by these keys any more. */
  async remove(keyIds: readonly string[]): Promise<void> {
    if (keyIds.length > 0) await this.redis.srem(this.keys.sealingKeys, ...keyIds);
  }
}
