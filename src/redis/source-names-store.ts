import type { Redis } from 'ioredis';
import type { Keys } from './keys.ts';

/** Which sources daemons have had configured, and when last. Errors of the connection pass through. */
export class SourceNamesStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Notes that a daemon has these sources configured now, milliseconds since the epoch. */
  async note(names: readonly string[], now: number): Promise<void> {
    const fields = names.flatMap((name) => [name, now]);
    if (fields.length > 0) await this.redis.hset(this.keys.sourceNames, ...fields);
  }

  /** When each was configured last, by name. */
  async all(): Promise<Map<string, number>> {
    const found = await this.redis.hgetall(this.keys.sourceNames);
    return new Map(Object.entries(found).map(([name, at]) => [name, Number(at)]));
  }

  async forget(name: string): Promise<void> {
    await this.redis.hdel(this.keys.sourceNames, name);
  }

  /** How many active watches a source has. */
  async countActive(source: string): Promise<number> {
    const { watches } = this.keys;
    const indexes = [watches('state', 'active'), watches('source', source)];
    // ZINTERCARD would do, but Redis has it only from 7.0 on.
    return (await this.redis.zinter(2, ...indexes)).length;
  }
}
