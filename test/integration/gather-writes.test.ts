import { afterAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { gatherWrites } from '../../src/redis/connection.ts';
import { startPrivateRedis } from '../support/redis.ts';

const server = await startPrivateRedis();
const redis = gatherWrites(new Redis(server.url));
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
  const other = gatherWrites(new Redis(server.url));
  await other.ping();
  const written = other.set('last', 'word');
  const ended = other.quit();
  expect(await written).toBe('OK');
  expect(await ended).toBe('OK');
  expect(await redis.get('last')).toBe('word');
});
