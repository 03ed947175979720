import type { Redis } from 'ioredis';
import { replies } from '../connection.ts';
import type { Keys } from '../keys.ts';

/** Most sessions of one token that are remembered, the last to expire: each is some 60 bytes. */
const MOST_OF_TOKEN = 10_000;

/** Sessions that sign-outs ended, until they would have expired. Errors of the connection pass through. */
export class EndedSessionStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly mostOfToken = MOST_OF_TOKEN,
  ) {}

  async add({ owner, id }: { owner: string; id: string }, forMs: number): Promise<void> {
    const [key, now] = [this.keys.endedSessions(owner), Date.now()];
    const pipeline = this.redis.multi();
    pipeline.zadd(key, now + forMs, id);
    pipeline.zremrangebyscore(key, '-inf', now);
    pipeline.zremrangebyrank(key, 0, -1 - this.mostOfToken);
    pipeline.pexpire(key, forMs);
    await replies(pipeline);
  }

  async has({ owner, id }: { owner: string; id: string }): Promise<boolean> {
    return (await this.redis.zscore(this.keys.endedSessions(owner), id)) !== null;
  }
}
