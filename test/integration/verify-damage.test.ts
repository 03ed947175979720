import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { newDelivery } from '../../src/core/delivery/delivery.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { kindOfKey } from '../../src/redis/key-sizes.ts';
import { Verifier } from '../../src/redis/verify/verifier.ts';
import { NOON, observeContext, snapshot } from '../support/builders.ts';
import { dumpRedis } from '../support/dump-redis.ts';
import { aBatch, aRun, fillStore, raise, runKey, skip, someAlerts } from '../support/kept-runs.ts';
import { testRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';

const place = testRedis();
const stores = openStores(place);
const { redis, keys, watches, deliveries, history, retention } = stores;

beforeAll(async () => {
  await fillStore(stores);
  for (const id of await aRun(stores, 'acme/shop/12', 'completed')) await skip(stores, id);
  expect(await history.pack(runKey('acme/shop/12'))).toBe('packed');
  await aBatch(stores);
  await someAlerts(stores);
});

afterAll(() => stores.close());

const problems = async () => (await new Verifier(redis, keys).verify()).problems;

type Damage = [name: string, damage: () => Promise<unknown>];

const half = (bytes: Buffer | null) => bytes?.subarray(0, Math.floor(bytes.length / 2)) ?? '';

/** What may happen to a key. Each does one damage. */
async function damagesOf(key: string): Promise<Damage[]> {
  const lost: Damage = ['lost', () => redis.del(key)];
  switch (await redis.type(key)) {
    case 'string':
      return [lost, ['cut off', async () => redis.set(key, half(await redis.getBuffer(key)))]];
    case 'list':
      return [lost, ['without an item', () => redis.lpop(key)]];
    case 'hash': {
      const fields = (await redis.hkeys(key)).toSorted();
      return [lost, ...fields.slice(0, FIELDS).flatMap((field) => damagesOfField(key, field))];
    }
    default:
      return [lost, ...damagesOfMember(key, (await redis.zrange(key, 0, '0'))[0] ?? '')];
  }
}

/** Fields of one hash that are damaged. */
const FIELDS = 8;

function damagesOfField(key: string, field: string): Damage[] {
  return [
    [`without ${field}`, () => redis.hdel(key, field)],
    [
      `with half of ${field}`,
      async () => redis.hset(key, field, half(await redis.hgetBuffer(key, field))),
    ],
  ];
}

function damagesOfMember(key: string, member: string): Damage[] {
  return [
    ['without a member', () => redis.zrem(key, member)],
    ['with another score', () => redis.zincrby(key, 1e15, member)],
    [
      'with another member',
      async () => {
        await redis.zadd(key, (await redis.zscore(key, member)) ?? 0, `${member}0`);
        await redis.zrem(key, member);
      },
    ],
  ];
}

/**
 * What is not found, by kind: no record says it. docs/operations.md and the table of docs/store.md say what follows.
 */
const ANY = ['lost', 'without a member', 'with another score', 'with another member'];
const NOT_FOUND: Readonly<Record<string, readonly string[]>> = {
  'alert-group': ['with half of version'],
  'alert-groups': ANY,
  'alerts-due': ANY,
  'batches-due': ANY.slice(0, 3),
  clock: ['lost', 'cut off'],
  'delivery-number': ['lost', 'cut off'],
  'event-place': ['lost', 'cut off'],
  'pools-due': ANY,
  'run-figures': ['lost', 'without default/workflow-1'],
  'watch-number': ['lost', 'cut off'],
};

/** Does each damage to a key by itself. @returns those that are not found */
async function notFoundOf(key: string): Promise<string[]> {
  const kept = (await redis.dumpBuffer(key)) ?? '';
  const names: string[] = [];
  for (const [name, damage] of await damagesOf(key)) {
    await damage();
    if ((await problems()).length === 0) names.push(name);
    await redis.restore(key, 0, kept, 'REPLACE');
  }
  return names;
}

test('each damage of each kind of key is found, but for those that no record speaks against', async () => {
  expect(await problems()).toEqual([]);
  const before = await dumpRedis(place.url, place.prefix);
  const all = await stores.keysLeft();
  const notFound: Record<string, string[]> = {};
  for (const kind of new Set(all.map((key) => kindOfKey(keys, key)))) {
    const key = all.find((one) => kindOfKey(keys, one) === kind) ?? '';
    const names = await notFoundOf(key);
    if (names.length > 0) notFound[kind] = names;
  }
  expect(await dumpRedis(place.url, place.prefix)).toEqual(before);
  expect(notFound).toEqual(NOT_FOUND);
});

const RUNS = ['a', 'b', 'shop/c'];
const STATUSES = ['queued', 'running', 'awaiting_human_feedback', 'completed', 'failed', 'stopped'];
const STEPS = [...STATUSES, 'settle', 'pack', 'forget', 'raise'] as const;

/** What a daemon does to a run, or beside runs, by the same writers. */
async function take(step: string, runId: string, at: number): Promise<void> {
  const key = runKey(runId);
  if (step === 'pack') await history.pack(key);
  else if (step === 'forget') await retention.forget(key);
  else if (step === 'raise') await raise(stores, 'endpoint.failing');
  else if (step === 'settle') await settle(runId);
  else if ((await watches.get(key)) === null) await aRun(stores, runId, step);
  else await poll(runId, step, at);
}

async function settle(runId: string): Promise<void> {
  const { items } = await deliveries.list({ runs: [runKey(runId)] }, { limit: 50 });
  for (const { id, state } of items) if (state === 'pending') await skip(stores, id);
}

async function poll(runId: string, status: string, at: number): Promise<void> {
  const before = await watches.get(runKey(runId));
  if (before?.watch.state !== 'active') return;
  const run = snapshot({ id: runId, status });
  const seen = observe(before.watch, { kind: 'run', run }, observeContext(NOON + at));
  const planned = seen.events.map((event) => newDelivery(seen.watch, event, 'ops', NOON + at));
  const over = seen.watch.state === 'active' ? {} : { schedule: { does: 'leave' as const } };
  const change = { before, after: seen.watch, events: seen.events, deliveries: planned, ...over };
  expect(await watches.commit(change)).not.toBeNull();
}

test('what the writers of a daemon leave has no problem, whatever they do', async () => {
  const steps = fc.tuple(fc.constantFrom(...STEPS), fc.constantFrom(...RUNS));
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { minLength: 5, maxLength: 25 }), async (taken) => {
      for (const [at, [step, runId]] of taken.entries()) await take(step, runId, at * 1_000);
      expect(await problems()).toEqual([]);
    }),
    { numRuns: 25 },
  );
});
