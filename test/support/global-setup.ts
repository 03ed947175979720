import { findServer, startPrivateRedis } from './redis-process.ts';
import type { PrivateRedis } from './redis-process.ts';
import { ALL_DATABASES } from './redis.ts';
import { SUITE_REDIS } from './suite-redis.ts';

export interface SuiteGlobals {
  suiteRedis?: PrivateRedis;
}

/** One Redis for the whole suite; a machine without a server may name one by `REDIS_URL`. */
export default async function globalSetup(): Promise<void> {
  const given = process.env['REDIS_URL'];
  if (findServer() === null && given !== undefined) {
    process.env[SUITE_REDIS] = given;
    return;
  }
  const redis = await startPrivateRedis({ args: ['--databases', String(ALL_DATABASES)] });
  (globalThis as SuiteGlobals).suiteRedis = redis;
  process.env[SUITE_REDIS] = redis.url;
}
