import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { pino } from 'pino';
import { Batches } from '../../src/batches/batches.ts';
import { configSchema } from '../../src/config/schema.ts';
import { batchOf } from '../../src/core/batch.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { createEpochFile } from '../../src/daemon/data-directory.ts';
import { KnownWatches } from '../../src/daemon/known-watches.ts';
import { readKnownStore, StoreGuard } from '../../src/daemon/store-guard.ts';
import { SystemEvents } from '../../src/daemon/system-events.ts';
import { endWatch } from '../../src/watches/end.ts';
import { registerWatches } from '../../src/watches/register.ts';
import { newWatch, NOON } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const stores = openStores();
const { redis, keys, watches, epochs } = stores;
afterAll(() => stores.close());

const config = configSchema.parse({
  data_dir: '/nowhere',
  endpoints: {
    ops: { type: 'log', events: ['store.data_lost'] },
    all: { type: 'log', events: ['system.*'] },
    runs: { type: 'log', events: ['*'] },
  },
});

let dataDir: string;
const guards: StoreGuard[] = [];

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'runwatch-guard-'));
});

afterEach(async () => {
  await Promise.all(guards.splice(0).map((guard) => guard.stop()));
  await empty();
  await rm(dataDir, { recursive: true });
});

/** What a Redis that was emptied holds. */
async function empty(): Promise<void> {
  const left = await stores.keysLeft();
  if (left.length > 0) await redis.del(left);
}

/** A process that guards the store. */
async function startProcess({ name = 'a', isStarted = true } = {}) {
  const lines: Record<string, unknown>[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const known = new KnownWatches(watches);
  let later = 0;
  const losses: string[] = [];
  const process = testProcess({
    config,
    stores,
    metrics: { dataLost: (reason) => void losses.push(reason) },
    now: () => NOON,
    monotonic: () => performance.now() + later,
    log,
  });
  const epochFile = createEpochFile(join(dataDir, name), 'store');
  const guard = new StoreGuard(process, new SystemEvents(process), {
    knownWatches: known,
    epochFile,
    knownStore: await readKnownStore(epochs, epochFile, log),
  });
  const start = () => {
    guards.push(guard);
    guard.start(() => undefined);
  };
  if (isStarted) start();
  const said = (msg: string) => lines.filter((line) => line['msg'] === msg);
  /** Has it compare records although it has just done so. */
  const compareRecords = () => {
    later += 60_000;
    guard.checkRecords();
  };
  return { guard, known, losses, start, said, compareRecords };
}

async function register(runId: string, changes: Partial<Watch> = {}): Promise<Watch> {
  const watch = newWatch({ runId, ...changes });
  expect(await watches.commit({ before: null, after: watch, events: [], deliveries: [] })).toEqual(
    [],
  );
  return watch;
}

const registrations = async () => {
  const { items } = await watches.list({ state: ['active'] }, { limit: 200 });
  return items.map(({ runId }) => runId).toSorted();
};

test('an emptied store is reported once, and its watches are registered again unchanged', async () => {
  const sealed = { kind: 'webhook' as const, receiver: 'https://x/…#abc', sealed: 'v1.secret' };
  const before = await register('run-1', {
    subscriptions: [sealed],
    metadata: { team: 'ml' },
    timeoutAt: NOON + 99_000,
    sequence: 7,
  });
  const cancelled = await register('run-2');
  const [one, two] = [await startProcess(), await startProcess({ name: 'b' })];
  await waitFor(() => one.known.size === 2 && two.known.size === 2);
  for (const { known } of [one, two]) known.forget(cancelled);
  const epoch = one.guard.epoch();

  await empty();
  one.guard.check();
  two.guard.check();
  await waitFor(() => one.guard.trouble() !== null && two.guard.trouble() !== null);
  await waitFor(async () => (await registrations()).length === 1);

  expect(one.guard.epoch()).toBe(two.guard.epoch());
  expect(one.guard.epoch()).not.toBe(epoch);
  const errors = [...one.said('store.data_lost'), ...two.said('store.data_lost')];
  expect(errors).toMatchObject([{ level: 50, reason: 'emptied', watches_missing: 1 }]);
  expect([...one.losses, ...two.losses]).toEqual(['emptied']);
  const after = (await watches.get(before))?.watch;
  expect(after).toEqual({ ...before, nextPollAt: null });
});

test('store.data_lost goes to the endpoints that name it, not to those with *', async () => {
  const { guard } = await startProcess();
  await empty();
  guard.check();
  await waitFor(async () => (await redis.hget(keys.deliveryCounts, 'planned')) === '2');
  const { items } = await stores.deliveries.list({}, { limit: 10 });
  expect(items.map(({ endpoint }) => endpoint).toSorted()).toEqual(['all', 'ops']);
  const body = JSON.parse((await stores.events.body(items[0]?.eventId ?? '')) ?? '');
  expect(body).toMatchObject({
    type: 'store.data_lost',
    data: { reason: 'emptied', known: { events: 0 }, found: { events: 0 } },
  });
  const { since, detected_at: detectedAt, help, remedy, message } = body.data;
  expect([since, help]).toEqual([detectedAt, remedy]);
  expect(message).toContain('emptied');
});

test('a rolled-back store is detected by its counters, also those from other processes', async () => {
  const { guard, losses, said } = await startProcess();
  await register('run-1');
  await waitFor(async () => ((await epochs.read()).watches === 1 ? true : null));
  const before = guard.epoch();
  guard.saw({ epoch: before, events: 9, watches: 4 });
  guard.check();
  await waitFor(() => losses.length > 0);
  expect(said('store.data_lost')).toMatchObject([
    { reason: 'rolled_back', known: { events: 9, watches: 4 }, found: { events: 0, watches: 1 } },
  ]);
  guard.check();
  await waitFor(() => guard.trouble()?.includes('gone back'));
  // What was said before the loss may come late.
  guard.saw({ epoch: before, events: 99, watches: 99 });
  guard.check();
  await waitFor(() => guard.epoch() !== before);
  expect(losses).toEqual(['rolled_back']);
  // Another one right after is noticed, too.
  guard.saw({ epoch: guard.epoch(), events: 5, watches: 4 });
  guard.check();
  await waitFor(() => losses.length > 1);
  expect(losses).toEqual(['rolled_back', 'rolled_back']);
});

test('cursors of an emptied store are stale, and event streams get a reset', async () => {
  const { guard } = await startProcess();
  const runs = ['run-1', 'run-2', 'run-3'];
  for (const runId of runs) await register(runId);
  const { nextCursor } = await watches.list({}, { limit: 2 });
  const cursor = nextCursor ?? '';
  expect((await watches.list({}, { limit: 2, cursor })).items).toHaveLength(1);
  const position = await stores.events.position();
  const stop = new AbortController();
  const follower = stores.events.follow({ after: position }, stop.signal)[Symbol.asyncIterator]();
  const next = follower.next();

  await empty();
  guard.check();
  await waitFor(() => guard.trouble() !== null);
  stores.eventBell.wakeAll();
  const stale = { code: 'stale_cursor' };
  await expect(watches.list({}, { limit: 2, cursor })).rejects.toMatchObject(stale);
  await expect(stores.events.list({ after: position }, { limit: 1 })).rejects.toMatchObject(stale);
  let reset = (await next).value;
  // One that comes while the store is empty names no epoch, and another follows it.
  if (reset?.cursor === '-0') reset = (await follower.next()).value;
  // The event of the loss is the first of the new log.
  expect(reset).toEqual({ cursor: `${guard.epoch()}-1`, event: null });
  const beyond = `${guard.epoch()}-99`;
  await expect(stores.deliveries.list({}, { limit: 1, cursor: beyond })).rejects.toMatchObject(
    stale,
  );
  stop.abort();
});

test('missing writes of a process are a loss, which one process reports', async () => {
  const [one, two] = [await startProcess(), await startProcess({ name: 'b' })];
  one.guard.suspect();
  two.guard.suspect();
  await waitFor(() => one.guard.trouble() !== null && two.guard.trouble() !== null);
  expect([...one.losses, ...two.losses]).toEqual(['rolled_back']);
  expect(one.guard.epoch()).toBe(two.guard.epoch());
});

test.each(['read', 'renew'] as const)(
  'missing writes are a loss also where the comparison fails the first time: %s',
  async (step) => {
    const { guard, losses, start } = await startProcess({ isStarted: false });
    guard.suspect();
    const failing = jest.spyOn(epochs, step).mockImplementationOnce(async () => {
      throw new Error('Redis is away');
    });
    start();
    await waitFor(() => failing.mock.calls.length > 0);
    failing.mockRestore();
    const comparing = jest.spyOn(epochs, 'read');
    await waitFor(() => {
      guard.check();
      return comparing.mock.calls.length > 1;
    });
    comparing.mockRestore();
    expect(losses).toEqual(['rolled_back']);
  },
);

test('a starting process detects a replaced store by its data directory', async () => {
  const first = await startProcess({ isStarted: false });
  first.start();
  await guards.splice(0)[0]?.stop();
  await empty();
  await redis.set(keys.epochs, 'otherone');
  const second = await startProcess();
  await waitFor(() => second.losses.length > 0);
  expect(second.losses).toEqual(['replaced']);
  expect(second.said('store.data_lost')).toMatchObject([{ previous_epoch: first.guard.epoch() }]);
  const third = await startProcess({ name: 'new' });
  await waitFor(() => third.guard.epoch() === second.guard.epoch());
  expect(third.said('store.data_lost')).toEqual([]);
});

test('watches without a record are reported as lost, and registered again', async () => {
  for (const runId of ['run-1', 'run-2', 'run-3']) await register(runId);
  const [one, two] = [await startProcess(), await startProcess({ name: 'b' })];
  await waitFor(() => one.known.size === 3 && two.known.size === 3);
  await redis.del(
    keys.watch({ source: 'default', runId: 'run-1' }),
    keys.watch({ source: 'default', runId: 'run-2' }),
  );
  one.compareRecords();
  two.compareRecords();
  await waitFor(() => one.guard.trouble() !== null && two.guard.trouble() !== null);
  await waitFor(async () => (await registrations()).length === 3);
  await waitFor(async () => (await watches.countActive()) === 3);
  expect([...one.losses, ...two.losses]).toEqual(['damaged']);
  const said = [...one.said('store.data_lost'), ...two.said('store.data_lost')];
  expect(said).toMatchObject([{ reason: 'damaged', watches_missing: 2, deliveries_missing: 0 }]);
});

test.each([
  ['a process remembers', true],
  ['no process remembers', false],
])('a closed batch completes without its last run where %s that one', async (_, isKnown) => {
  const process = testProcess({ config, stores });
  const batch = batchOf(undefined, 'nightly');
  const about = { source: 'default', subscriptions: [], batch, closesBatch: true };
  const requests = ['run-1', 'run-2'].map((runId) => Object.assign({ runId }, about));
  await registerWatches({ process, sourceOf: () => undefined }, requests);
  await endWatch(process, { source: 'default', runId: 'run-1' });
  const lose = () => redis.del(keys.watch({ source: 'default', runId: 'run-2' }));
  if (!isKnown) await lose();
  const { known, guard, compareRecords } = await startProcess();
  if (isKnown) {
    await waitFor(() => known.size === 1);
    await lose();
  }
  await waitFor(() => {
    compareRecords();
    return guard.trouble() !== null;
  });
  const batches = new Batches(process);
  await waitFor(async () => {
    await batches.judgeDue();
    const [stored] = await stores.batches.named([batch]);
    return stored?.batch.state === 'completed';
  });
  expect(await registrations()).toEqual(isKnown ? ['run-2'] : []);
  const { items } = await stores.events.list({ type: ['batch.completed'] }, { limit: 9 });
  expect(items.map(({ event }) => event.data)).toMatchObject([
    { total: 1, by_status: { cancelled: 1 } },
  ]);
});

test('a process reports records that were missing before it started', async () => {
  for (const runId of ['run-1', 'run-2']) await register(runId);
  await redis.del(keys.watch({ source: 'default', runId: 'run-1' }));
  const { guard, said, compareRecords, known } = await startProcess();
  await waitFor(() => known.size === 1);
  await waitFor(() => {
    compareRecords();
    return guard.trouble() !== null;
  });
  expect(said('store.data_lost')).toMatchObject([{ reason: 'damaged', watches_missing: 1 }]);
  await waitFor(async () => (await watches.countActive()) === 1);
  expect(await registrations()).toEqual(['run-2']);
});

test('a watch that was forgotten in order is no loss, although a process remembers it', async () => {
  const kept = await register('run-1');
  const { guard, known, losses, compareRecords } = await startProcess();
  await waitFor(() => known.size === 1);
  known.note({ ...kept, runId: 'run-2' });
  compareRecords();
  await waitFor(() => known.size === 1);
  expect(losses).toEqual([]);
  expect(guard.trouble()).toBeNull();
});

test('deliveries without a record are reported as lost, once', async () => {
  const { guard, losses, said, compareRecords } = await startProcess();
  await redis.hset(keys.damage, 'deliveries', 3);
  compareRecords();
  await waitFor(() => guard.trouble()?.includes('lost some of the records'));
  expect(losses).toEqual(['damaged']);
  expect(said('store.data_lost')).toMatchObject([{ reason: 'damaged', deliveries_missing: 3 }]);
  expect(await epochs.damage()).toEqual({ deliveries: 0, events: 0 });
});
