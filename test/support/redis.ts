import { randomBytes } from 'node:crypto';
import { isAbsolute } from 'node:path';
import { SUITE_REDIS } from './suite-redis.ts';

export { startPrivateRedis } from './redis-process.ts';
export type { PrivateRedis, PrivateRedisOptions } from './redis-process.ts';

export interface TestRedis {
  /** A value for `REDIS_URL`; ioredis takes it too. */
  url: string;
  /** No other test file uses it. */
  prefix: string;
}

/** Of each worker; its databases are taken one after the other, and then again. */
const DATABASES = 256;
const MOST_WORKERS = 16;
/** How many the suite's Redis has. */
export const ALL_DATABASES = MOST_WORKERS * DATABASES;
let taken = 0;

/**
 * The suite's Redis, with a database and a key prefix of its own. What goes through all keys of a database would
 * else go through those of the whole suite, and hold up all other tests as long.
 */
export function testRedis(): TestRedis {
  const url = process.env[SUITE_REDIS];
  if (url === undefined) throw new Error(`${SUITE_REDIS} is unset: global-setup has not run`);
  const prefix = `t-${randomBytes(6).toString('hex')}`;
  // One that was named by a variable may have few databases.
  if (!isAbsolute(url)) return { url, prefix };
  const worker = Number(process.env['JEST_WORKER_ID'] ?? 0) % MOST_WORKERS;
  const database = worker * DATABASES + (taken % DATABASES);
  taken += 1;
  return { url: `${url}?db=${database}`, prefix };
}
