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

/** A queue of slots, and what it reports. */
async function openQueue() {
  const { url, prefix } = testRedis();
  const settings = { url, prefix };
  const connections = createRedisConnections({ settings, log: pino({ level: 'silent' }) });
  cleanups.push(() => connections.close());
  await connections.ready();
  const { commands: redis, blocking } = connections;
  const messages: string[] = [];
  const queue = createSlotQueue({
    name: 'slots',
    process: 'p1',
    prefix: `{${prefix}}:lost-locks`,
    producer: redis,
    consumer: blocking,
    onError: ({ message }) => void messages.push(message),
  });
  cleanups.push(() => queue.close());
  let running = 0;
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => (end = resolve));
  const work = () => {
    const worker = queue.work(async () => {
      running += 1;
      await ended;
    });
    cleanups.push(async () => worker.close(true));
  };
  return {
    queue,
    redis,
    blocking,
    prefix,
    messages,
    work,
    running: () => running,
    end: () => end(),
  };
}

test('a slot is added only where none waits, and a worker takes one at a time', async () => {
  const { queue, work, running, end } = await openQueue();
  for (let asked = 0; asked < 3; asked += 1) await queue.ask();
  work();
  await waitFor(() => running() === 1);
  await queue.ask();
  await queue.ask();
  expect([await queue.countAtWork(), running()]).toEqual([1, 1]);
  end();
  await waitFor(async () => running() === 2 && (await queue.countAtWork()) === 0);
});

test('a slot that was announced to a worker that hangs is announced to the next one', async () => {
  const { queue, redis, blocking, prefix, work, running, end } = await openQueue();
  const keyOf = (name: string) => `{${prefix}}:lost-locks:slots:${name}`;
  // A frozen worker waits for longest, and takes no slot when it hears of one.
  const frozen = blocking.duplicate();
  cleanups.push(async () => frozen.disconnect());
  const id = await frozen.client('ID');
  const isBlocked = async (client: string) =>
    String(await redis.client('LIST'))
      .split('\n')
      .some((line) => ` ${line}`.includes(client) && / flags=\w*b/.test(line));
  const heard = frozen.bzpopmin(keyOf('marker'), 0);
  await waitFor(() => isBlocked(` id=${id} `));
  work();
  await waitFor(() => isBlocked(`{${prefix}}:lost-locks:`));
  await queue.ask();
  expect(await heard).not.toBeNull();
  expect(running()).toBe(0);
  await waitFor(() => running() === 1);
  expect(await redis.llen(keyOf('wait'))).toBe(1);
  expect(await queue.processesAtWork()).toEqual(new Set(['p1']));
  end();
});

test('slots that lose their locks, as in an outage, are one and the same fault', async () => {
  const { queue, redis, prefix, messages, work, running, end } = await openQueue();
  for (let slot = 1; slot <= 3; slot += 1) {
    work();
    await queue.ask();
    await waitFor(() => running() === slot);
  }
  const locks = await redis.keys(`{${prefix}}:lost-locks:slots:*:lock`);
  expect(locks).toHaveLength(3);
  await redis.del(...locks);
  end();
  await waitFor(() => messages.length >= 3);
  expect([...new Set(messages)]).toEqual([expect.stringContaining(' a slot')]);
});
