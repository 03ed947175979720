import { findServer, startPrivateRedis } from './redis-process.ts';
import type { PrivateRedis } from './redis-process.ts';
import { ALL_DATABASES } from './redis.ts';
import { SUITE_REDIS } from './suite-redis.ts';

export interface SuiteGlobals {
  suiteRedis?: PrivateRedis;
}

/**
 * One Redis for the whole suite, whichever of its projects comes first; a machine without a server may name one
 * by `REDIS_URL`.
 */
export default async function globalSetup(): Promise<void> {
  const globals = globalThis as SuiteGlobals;
  if (globals.suiteRedis !== undefined) return;
  const given = process.env['REDIS_URL'];
  if (findServer() === null && given !== undefined) {
    process.env[SUITE_REDIS] = given;
    return;
  }
  const redis = await startPrivateRedis({ args: ['--databases', String(ALL_DATABASES)] });
  globals.suiteRedis = redis;
  process.env[SUITE_REDIS] = redis.url;
}
