import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { planDeliveries } from '../../src/core/delivery/delivery.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { LookupStore } from '../../src/redis/stores/lookup-store.ts';
import { newWatch, NOON, observeContext, snapshot } from '../support/builders.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores();
const { redis, watches, close } = stores;
const lookup = new LookupStore(stores);
afterAll(close);

const UUIDS = [
  '6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d',
  '6f1c0000-5b1e-4a55-9d3c-0c5f0a1b2c3d',
  'aa000000-5b1e-4a55-9d3c-0c5f0a1b2c3d',
] as const;

async function register(runId: string, source = 'default'): Promise<void> {
  const after = newWatch({ runId, source, subscriptions: [{ kind: 'endpoint', endpoint: 'ops' }] });
  await watches.commit({ before: null, after, events: [], deliveries: [] });
}

beforeAll(async () => {
  for (const id of UUIDS) await register(id);
  for (const source of ['default', 'eu']) await register('run-1', source);
  await register('run-10');
  for (const id of ['acme/shop/123', 'acme/shop/1234', 'acme/tools/1234', 'umbrella/acme']) {
    await register(id);
  }
  await register('acme/shop/9', 'eu');
  const many = Array.from({ length: 300 }, (_, at) => `many-${at}`);
  for (const id of many) await register(id);
});

/** The members of all blocks of a source. */
async function membersOf(source: string): Promise<string[]> {
  const firsts = await redis.zrange(stores.keys.runIdBlocks(source), 0, '-1');
  const blocks = ['', ...firsts].map((first) => stores.keys.runIds(source, first));
  return (await Promise.all(blocks.map((block) => redis.zrange(block, 0, '-1')))).flat();
}

const find = (kind: 'run' | 'event' | 'delivery', prefix: string, limit = 10) =>
  resultOf(lookup.find({ kind, prefix, limit }));

/** What was found, without the sources that were looked through. */
async function resultOf(result: ReturnType<LookupStore['find']>) {
  const { sources: _, ...rest } = await result;
  return rest;
}

test('lookup finds runs by how their ids begin', async () => {
  const { found, more } = await find('run', '6f1c');
  expect(more).toBe(false);
  expect(found.map(({ id }) => id).sort()).toEqual([UUIDS[1], UUIDS[0]]);
  expect(await find('run', 'aa')).toEqual({
    found: [{ kind: 'run', id: UUIDS[2], source: 'default' }],
    more: false,
  });
  expect(await find('run', 'zz')).toEqual({ found: [], more: false });
});

test('lookup of a whole id gives it alone, once for each source', async () => {
  const { found } = await find('run', 'run-1');
  expect(found.map(({ id, source }) => `${source} ${id}`).sort()).toEqual([
    'default run-1',
    'eu run-1',
  ]);
});

test('lookup takes characters of patterns as they are', async () => {
  expect((await find('run', '6f1.')).found).toEqual([]);
  expect((await find('run', '%')).found).toEqual([]);
  expect((await find('run', '')).found).toHaveLength(10);
});

test('lookup says that there are more than it shows', async () => {
  const { found, more } = await find('run', 'many-', 3);
  expect(found).toHaveLength(3);
  expect(more).toBe(true);
});

test('lookup finds runs by how the last parts of their ids begin', async () => {
  const ids = async (prefix: string) => (await find('run', prefix)).found.map(({ id }) => id);
  expect(await ids('12')).toEqual(['acme/tools/1234', 'acme/shop/1234', 'acme/shop/123']);
  expect(await ids('acme/shop')).toEqual(['acme/shop/9', 'acme/shop/1234', 'acme/shop/123']);
  expect(await ids('umb')).toEqual(['umbrella/acme']);
  // Parts in the middle are not looked for, nor is what a set of ids holds between part and id.
  expect(await ids('shop')).toEqual([]);
  expect(await ids('123 a')).toEqual([]);
});

test('lookup of a whole last part gives the runs that have it, before those whose parts begin so', async () => {
  const ids = async (prefix: string) => (await find('run', prefix)).found.map(({ id }) => id);
  expect(await ids('123')).toEqual(['acme/shop/123']);
  expect(await ids('1234')).toEqual(['acme/tools/1234', 'acme/shop/1234']);
  expect(await ids('acme')).toEqual(['umbrella/acme']);
  await register('acme');
  expect(await ids('acme')).toEqual(['acme']);
});

test('lookup shows the newest of the runs that begin so', async () => {
  for (const id of ['job-b', 'job-c', 'job-a', 'job-d']) await register(id);
  const { found, more } = await find('run', 'job-', 3);
  expect(found.map(({ id }) => id)).toEqual(['job-d', 'job-a', 'job-c']);
  expect(more).toBe(true);
});

test('lookup asks Redis a bounded number of times, however many runs begin so', async () => {
  const sent = jest.spyOn(redis, 'sendCommand');
  for (const prefix of ['many-', 'many-1', 'nothing']) await find('run', prefix);
  expect(sent.mock.calls.length).toBeLessThan(3 * 110);
  sent.mockRestore();
});

test('lookup within sources finds their runs, and says nothing of others', async () => {
  const within = (prefix: string, sources: string[], limit = 1) =>
    resultOf(lookup.find({ kind: 'run', prefix, limit, sources }));
  expect(await within('run-1', ['eu'])).toEqual({
    found: [{ kind: 'run', id: 'run-1', source: 'eu' }],
    more: false,
  });
  // Runs of others have the whole id, or begin so: none of that shows.
  expect(await within('run-10', ['eu'])).toEqual({ found: [], more: false });
  expect(await within('many-', ['eu'])).toEqual({ found: [], more: false });
  expect(await within('run', ['eu'])).toEqual({
    found: [{ kind: 'run', id: 'run-1', source: 'eu' }],
    more: false,
  });
  expect((await within('many-', ['eu', 'default'])).more).toBe(true);
});

test('lookup finds events and deliveries by how their ids begin', async () => {
  const before = await watches.get({ source: 'default', runId: UUIDS[0] });
  const run = snapshot({ id: UUIDS[0], status: 'failed' });
  const seen = observe(before!.watch, { kind: 'run', run }, observeContext(NOON));
  const wants = () => true;
  const planned = planDeliveries(seen.watch, seen.events, seen.watch.subscriptions, {
    wants,
    now: NOON,
  });
  await watches.commit({ before, after: seen.watch, events: seen.events, deliveries: planned });
  const [event] = seen.events;
  const [delivery] = planned;
  expect(await find('event', 'evt_failed_')).toEqual({
    found: [{ kind: 'event', id: event!.id }],
    more: false,
  });
  expect(await find('event', event!.id)).toMatchObject({ found: [{ id: event!.id }] });
  expect(await find('delivery', delivery!.id.slice(0, 8))).toMatchObject({
    found: [{ kind: 'delivery', id: delivery!.id }],
  });
  expect(await find('delivery', delivery!.id)).toMatchObject({ found: [{ id: delivery!.id }] });
  expect((await find('delivery', 'dlv_nothing')).found).toEqual([]);
});

test('a lookup no longer finds the run of an erased watch', async () => {
  await redis.del(stores.keys.watch({ source: 'default', runId: 'run-10' }));
  expect((await find('run', 'run-10')).found).toEqual([]);
});

test('a forgotten run leaves nothing among the ids of runs', async () => {
  const key = { source: 'default', runId: 'acme/shop/123' };
  const before = await watches.get(key);
  const run = snapshot({ id: key.runId, status: 'completed' });
  const seen = observe(before!.watch, { kind: 'run', run }, observeContext(NOON));
  await watches.commit({ before, after: seen.watch, events: seen.events, deliveries: [] });
  const ids = async () => membersOf('default');
  const own = ['acme/shop/123', '123 acme/shop/123'];
  expect((await ids()).filter((id) => own.includes(id)).sort()).toEqual(own.toSorted());
  await stores.retention.forget(key);
  expect((await ids()).filter((id) => own.includes(id))).toEqual([]);
});
