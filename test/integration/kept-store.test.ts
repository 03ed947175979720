import { join } from 'node:path';
import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { loadConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/schema.ts';
import { openKeptStore, planMigration, summarize } from '../../src/daemon/kept-store.ts';
import { createLifecycle } from '../../src/lifecycle.ts';
import { sizesByKind } from '../../src/redis/key-sizes.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { tempDir } from '../support/daemon-process.ts';
import { fillStore } from '../support/kept-runs.ts';
import { startPrivateRedis, testRedis, type PrivateRedis } from '../support/redis.ts';
import { closeConnection, openStores } from '../support/stores.ts';

const place = testRedis();
const stores = openStores(place);
let home: string;
let ruled: PrivateRedis;

beforeAll(async () => {
  [home, ruled] = await Promise.all([tempDir(), startPrivateRedis()]);
  await stores.forms.claim('0');
  await stores.epochs.begin('abcdefgh');
  await fillStore(stores);
});

afterAll(async () => {
  await stores.close();
  await ruled.stop();
  await rm(home, { recursive: true, force: true });
});

function configOf(env: Record<string, string>): Config {
  const loaded = loadConfig({
    purpose: 'command',
    env: { RUNWATCH_DATA_DIR: home, NOXUS_API_KEY: 'nox', ...env },
    cwd: home,
  });
  if (loaded.kind === 'invalid') throw new Error(JSON.stringify(loaded.problems));
  return loaded.config;
}

async function open(config: Config) {
  const log = createLogger({ level: 'silent', destination: process.stderr });
  const lifecycle = createLifecycle(log);
  const opened = await openKeptStore({ config, log, lifecycle }).catch(async (error: unknown) => {
    await lifecycle.stop(1_000);
    throw error;
  });
  return { ...opened, close: () => lifecycle.stop(1_000) };
}

/** The store of this file, as a verb reaches it. */
async function openOwn() {
  const config = configOf({ REDIS_URL: `unix://${place.url}` });
  return open({ ...config, redis: { ...config.redis, prefix: place.prefix } });
}

test('a summary has the form, the epoch, what is kept and the size of each kind', async () => {
  const kept = await openOwn();
  const summary = await summarize(kept);
  expect(summary).toMatchObject({
    form: { found: summary.form.known, problem: null },
    epoch: { name: 'abcdefgh', before: 0 },
    redis: { is: 'given', place: expect.stringMatching(/^\//) },
    processes: [],
    kept: {
      watches: { active: 2, ended: 3, packed: 1 },
      deliveries: { pending: 4, skipped: 2, delivered: 0 },
      retention: { watches: '30d', deliveries: '30d' },
      oldest_goes_at: expect.stringMatching(/^\d{4}-.*Z$/),
    },
  });
  const all = await stores.keysLeft();
  expect(summary.sizes.reduce((sum, { keys }) => sum + keys, 0)).toBe(all.length);
  const watches = summary.sizes.find(({ kind }) => kind === 'watch');
  expect(watches?.keys).toBe(5);
  const used = await stores.redis.memory(
    'USAGE',
    stores.keys.watch({ source: 'default', runId: 'active' }),
  );
  expect(watches?.bytes).toBeGreaterThan(used ?? Infinity);
  await kept.close();
});

test('a summary of records in another form has no counts of them, and says what reads it', async () => {
  const { redis, keys } = stores;
  const known = (await stores.forms.read()).form ?? '';
  await redis.set(keys.schema, '999');
  const kept = await openOwn();
  const summary = await summarize(kept);
  await redis.set(keys.schema, known);
  await kept.close();
  expect(summary.form).toEqual({
    found: '999',
    known,
    written_by: '0',
    problem: expect.stringContaining('records of form 999'),
  });
  expect(summary.kept).toBeNull();
  expect(summary.sizes.length).toBeGreaterThan(10);
});

test('a store of the newest form has nothing to migrate', async () => {
  const kept = await openOwn();
  const { refusal, steps } = await planMigration(kept);
  await kept.close();
  expect({ refusal, steps }).toEqual({ refusal: null, steps: [] });
});

test('a data directory without data is named, and no server is started there', async () => {
  await expect(open(configOf({}))).rejects.toMatchObject({
    code: 'store_missing',
    message: expect.stringContaining(`${home} holds no data of Redis`),
  });
  const gone = join(home, 'gone');
  await expect(open(configOf({ RUNWATCH_DATA_DIR: gone }))).rejects.toMatchObject({
    message: expect.stringContaining(`${gone} does not exist`),
  });
});

test('sizes of very many keys are estimated from some of them', async () => {
  const { redis } = stores;
  const keys = createKeys(`${place.prefix}-many`);
  const pipeline = redis.pipeline();
  for (let at = 0; at < 5_000; at += 1) pipeline.set(keys.event(`e${at}`), 'x'.repeat(100));
  await pipeline.exec();
  const each = (await redis.memory('USAGE', keys.event('e1'))) ?? 0;
  const [size] = await sizesByKind(redis, keys);
  expect(size).toMatchObject({ kind: 'event', keys: 5_000 });
  // Names of keys differ by up to three letters.
  expect(size?.bytes ?? 0).toBeGreaterThan(5_000 * each * 0.9);
  expect(size?.bytes ?? 0).toBeLessThan(5_000 * each * 1.1);
});

test('where the user of Redis may not ask for sizes, keys are counted all the same', async () => {
  const keys = createKeys('runwatch');
  const admin = new Redis(ruled.url);
  await admin.call('ACL', 'SETUSER', 'bare', 'on', '>secret', '~*', '&*', '+@all', '-memory');
  await admin.set(keys.event('e1'), 'x');
  const bare = new Redis(ruled.url, { username: 'bare', password: 'secret' });
  expect(await sizesByKind(bare, keys)).toEqual([{ kind: 'event', keys: 1, bytes: null }]);
  await closeConnection(bare);
  await closeConnection(admin);
});
