import { afterAll, beforeAll, expect, test } from '@jest/globals';
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
  // More than one chunk of the log, so that a walk has somewhere to go.
  const many = Array.from({ length: 300 }, (_, at) => `many-${at}`);
  await Promise.all(many.map((id) => register(id)));
});

const find = (kind: 'run' | 'event' | 'delivery', prefix: string, limit = 10) =>
  lookup.find({ kind, prefix, limit });

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

test('lookup within sources finds their runs, and says nothing of others', async () => {
  const within = (prefix: string, sources: string[], limit = 1) =>
    lookup.find({ kind: 'run', prefix, limit, sources });
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
