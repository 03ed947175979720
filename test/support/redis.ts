import { randomBytes } from 'node:crypto';
import { SUITE_REDIS } from './suite-redis.ts';

export { startPrivateRedis } from './redis-process.ts';
export type { PrivateRedis, PrivateRedisOptions } from './redis-process.ts';

export interface TestRedis {
  /** A value for `REDIS_URL`; ioredis takes it too. */
  url: string;
  /** No other test file uses it. */
  prefix: string;
}

/** The suite's Redis, with its own key prefix for the calling test file. */
export function testRedis(): TestRedis {
  const url = process.env[SUITE_REDIS];
  if (url === undefined) throw new Error(`${SUITE_REDIS} is unset: global-setup has not run`);
  return { url, prefix: `t-${randomBytes(6).toString('hex')}` };
}
