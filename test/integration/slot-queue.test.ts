import { afterEach, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { createSlotQueue } from '../../src/queue/slot-queue.ts';
import { createRedisConnections } from '../../src/redis/connection.ts';
import { testRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

test('slots that lose their locks, as in an outage, are one and the same fault', async () => {
  const { url, prefix } = testRedis();
  const settings = { url, prefix };
  const connections = createRedisConnections({ settings, log: pino({ level: 'silent' }) });
  cleanups.push(() => connections.close());
  await connections.ready();
  const { commands: redis, blocking } = connections;
  const messages: string[] = [];
  const queue = createSlotQueue({
    name: 'slots',
    prefix: `{${prefix}}:lost-locks`,
    producer: redis,
    consumer: blocking,
    onError: ({ message }) => void messages.push(message),
  });
  cleanups.push(() => queue.close());
  let running = 0;
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => (end = resolve));
  const worker = queue.work(async () => {
    running += 1;
    await ended;
  }, 3);
  cleanups.push(async () => worker.close(true));
  await queue.add(3);
  await waitFor(() => running === 3);
  const locks = await redis.keys(`{${prefix}}:lost-locks:slots:*:lock`);
  expect(locks).toHaveLength(3);
  await redis.del(...locks);
  end();
  await waitFor(() => messages.length >= 3);
  expect([...new Set(messages)]).toEqual([expect.stringContaining(' a slot')]);
});
