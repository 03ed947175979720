import { afterEach, expect, test } from '@jest/globals';
import { pino } from 'pino';
import type { ProcessConfiguration } from '../../src/daemon/processes.ts';
import { StoreConditions } from '../../src/daemon/store-conditions.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { createRedisConnections } from '../../src/redis/connection.ts';
import { FormStore } from '../../src/redis/stores/form-store.ts';
import { testProcess } from '../support/daemon.ts';
import { startPrivateRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function start() {
  const server = await startPrivateRedis();
  cleanups.push(() => server.stop());
  const lines: { msg: string }[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const settings = { url: server.url, prefix: 'conditions' };
  const connections = createRedisConnections({ settings, log });
  cleanups.push(() => connections.close());
  await connections.ready();
  const redis = connections.commands;
  const keys = createKeys('conditions');
  const forms = new FormStore(redis, keys);
  await forms.claim('0');
  let looks = 0;
  const configurations: ProcessConfiguration[] = [];
  const foreign = async () => {
    const form = await forms.foreign();
    looks += 1;
    return form;
  };
  const process = testProcess({ connections, stores: { forms: { foreign } }, log });
  const conditions = new StoreConditions(
    process,
    { configurations: async () => configurations },
    5,
  );
  conditions.start();
  cleanups.push(() => conditions.stop());
  const looked = async (times: number) => {
    const until = looks + times;
    await waitFor(() => looks >= until);
  };
  await looked(2);
  return { redis, keys, conditions, configurations, looked, lines };
}

test('a Redis whose policy changes and that evicts keys is reported, once each in the log', async () => {
  const { redis, conditions, looked, lines } = await start();
  const before = lines.length;
  expect(conditions.troubles()).toEqual([]);
  await redis.config('SET', 'maxmemory-policy', 'allkeys-random');
  await waitFor(() => conditions.troubles().length === 1);
  expect(conditions.troubles()).toEqual([
    expect.stringMatching(
      /^maxmemory-policy is allkeys-random now.*set maxmemory-policy noeviction/,
    ),
  ]);
  await redis.mset(Array.from({ length: 200 }, (_, at) => [`key-${at}`, 'x'.repeat(1_000)]).flat());
  await redis.config('SET', 'maxmemory', '1');
  await redis.config('SET', 'maxmemory', '0');
  await redis.config('SET', 'maxmemory-policy', 'noeviction');
  await waitFor(() => conditions.troubles().join().startsWith('Redis has evicted'));
  await looked(3);
  expect(conditions.troubles()).toHaveLength(1);
  expect(conditions.troubles()[0]).toMatch(/^Redis has evicted \d+ keys? by 20/);
  expect(lines.slice(before).every(({ msg }) => msg === 'store.endangered')).toBe(true);
});

test('records that a newer version wrote in another form are reported while the daemon runs', async () => {
  const { redis, keys, conditions, looked, lines } = await start();
  await redis.set(keys.schema, '99');
  await waitFor(() => conditions.troubles().length > 0);
  await looked(3);
  expect(conditions.troubles()).toEqual([expect.stringMatching(/records of form 99.*knows form/)]);
  expect(lines.filter(({ msg }) => msg === 'store.endangered')).toHaveLength(1);
});

test('daemons that differ in sections of their configuration are reported, with which, until they agree', async () => {
  const { conditions, configurations, looked, lines } = await start();
  const one = { name: 'a:1', sections: { rules: 'x', sources: 's', polling: 'p' } };
  const two = { name: 'b:2', sections: { rules: 'y', sources: 't', polling: 'p' } };
  configurations.push(one, { ...one, name: 'c:3' });
  await looked(3);
  expect(conditions.disagreement()).toBeNull();

  configurations.push(two);
  await waitFor(() => conditions.disagreement() !== null);
  await looked(3);
  expect(conditions.disagreement()).toMatchObject({
    sections: ['rules', 'sources'],
    text: expect.stringMatching(
      /^daemons differ in rules, sources \(a:1, c:3 unlike b:2\): give all .* the same file/,
    ),
  });
  expect(lines.filter(({ msg }) => msg === 'daemons.differ')).toHaveLength(1);
  configurations.pop();
  await waitFor(() => conditions.disagreement() === null);
});
