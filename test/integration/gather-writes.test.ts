import { afterAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { hookCommands } from '../../src/redis/connection.ts';
import { asItIs } from '../../src/redis/failures.ts';
import { startPrivateRedis } from '../support/redis.ts';

const server = await startPrivateRedis();
const failure = { asError: asItIs, onRefusal: () => undefined, refusalDelayMs: 0 };
const redis = hookCommands(new Redis(server.url), failure);
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

async function readsOfServer(): Promise<number> {
  return Number(/total_reads_processed:(\d+)/.exec(await redis.info('stats'))?.[1]);
}

test('commands of one turn reach Redis together, in order', async () => {
  const before = await readsOfServer();
  const replies = await Promise.all(Array.from({ length: 100 }, () => redis.incr('counter')));
  expect(replies).toEqual(replies.map((_, at) => at + 1));
  // One for the commands, one for the question how many there were.
  expect((await readsOfServer()) - before).toBeLessThanOrEqual(3);
});

test('what was issued before the end is done and answered', async () => {
  const other = hookCommands(new Redis(server.url), failure);
  await other.ping();
  const written = other.set('last', 'word');
  const ended = other.quit();
  expect(await written).toBe('OK');
  expect(await ended).toBe('OK');
  expect(await redis.get('last')).toBe('word');
});
