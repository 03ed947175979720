import { afterAll, afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import { Batches } from '../../src/batches/batches.ts';
import { closeBatch, writeBatch } from '../../src/batches/change.ts';
import { configSchema } from '../../src/config/schema.ts';
import {
  batchOf,
  IDLE_MS,
  isActiveMember,
  isFailedMember,
  memberStatus,
  type Batch,
  type MemberStatus,
} from '../../src/core/batch.ts';
import type { OwnEvent } from '../../src/core/event/event.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { withChanges, type Subscription, type Watch } from '../../src/core/watch/watch.ts';
import { endWatch } from '../../src/watches/end.ts';
import { purgeWatch } from '../../src/watches/purge.ts';
import { registerWatches } from '../../src/watches/register.ts';
import { NOON, observeContext, snapshot, webhookTo } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores(undefined, { isClockManual: true });
const { redis, keys, watches, batches } = stores;
const config = configSchema.parse({
  data_dir: '/nowhere',
  endpoints: {
    ops: { type: 'log' },
    failures: { type: 'log', events: ['run.failed'] },
    pager: { type: 'pagerduty', routing_key: 'a'.repeat(32) },
  },
});

let now = NOON;
const process = testProcess({ config, stores, now: () => now });
const sources = { process, sourceOf: () => undefined };
/** Two daemons on one store. */
const daemons = [new Batches(process), new Batches(process)] as const;
const [daemon] = daemons;

beforeEach(async () => {
  await redis.del(...(await stores.keysLeft()), 'none');
  await setClock(NOON);
});
const replaced: { mockRestore: () => void }[] = [];
afterEach(() => replaced.splice(0).forEach((one) => one.mockRestore()));
afterAll(() => stores.close());

async function setClock(at: number): Promise<void> {
  now = at;
  await redis.set(keys.clock, at);
}

const ops: Subscription = { kind: 'endpoint', endpoint: 'ops' };
const NIGHTLY = batchOf(undefined, 'nightly');
const SETTINGS = { expected: null, maxFailed: null, subscriptions: null };
const key = (runId: string) => ({ source: 'default', runId });

async function register(
  runs: readonly string[],
  name: string | null = 'nightly',
  subscriptions = [ops],
) {
  const requests = runs.map((runId) => ({
    ...key(runId),
    subscriptions,
    ...(name !== null && { batch: batchOf(undefined, name) }),
  }));
  return (await registerWatches(sources, requests)).map(({ kind }) => kind);
}

/** Registers a list that closes its batch. */
async function registerList(runs: readonly string[]) {
  const more = { subscriptions: [ops], batch: NIGHTLY, closesBatch: true };
  const requests = runs.map((runId) => ({ ...key(runId), ...more }));
  return (await registerWatches(sources, requests)).map(({ kind }) => kind);
}

async function current(name = 'nightly'): Promise<Batch> {
  const [stored] = await batches.named([batchOf(undefined, name)]);
  return stored!.batch;
}

async function close(name = 'nightly'): Promise<void> {
  const [stored] = await batches.named([batchOf(undefined, name)]);
  if (stored) await closeBatch(process, stored.batch.id, null);
}

/** Has what asks for batches by their names over and over fail. */
function askAtMost(times: number): void {
  const named = batches.named.bind(batches);
  let asked = 0;
  const asking = jest.spyOn(batches, 'named').mockImplementation(async (names) => {
    if ((asked += 1) > times) throw new Error(`batches are asked for ${asked} times`);
    return named(names);
  });
  replaced.push(asking);
}

/** Polls a run that has a status now. */
async function poll(runId: string, status: string): Promise<void> {
  const before = (await watches.get(key(runId)))!;
  const run = snapshot({ id: runId, status });
  const { watch: after, events } = observe(before.watch, { kind: 'run', run }, observeContext(now));
  await watches.commit({ before, after, events, deliveries: [] });
}

/** Ends a watch otherwise. */
async function end(runId: string, state: 'gone' | 'expired'): Promise<void> {
  const before = (await watches.get(key(runId)))!;
  const after = withChanges(before.watch, { state, endedAt: now, changedAt: now });
  await watches.commit({ before, after, events: [], deliveries: [] });
}

/** The run of a watch that is gone can be read again. */
async function revive(runId: string): Promise<void> {
  const before = (await watches.get(key(runId)))!;
  const after = withChanges(before.watch, { state: 'active', endedAt: null, changedAt: now });
  await watches.commit({ before, after, events: [], deliveries: [] });
}

const NOTHING = { skipOutstanding: async () => undefined, leaveAlerts: async () => undefined };
const purge = (runId: string) => purgeWatch(process, key(runId), NOTHING);

async function eventsOf(type: 'batch.completed' | 'batch.failed'): Promise<OwnEvent[]> {
  const { items } = await stores.events.list({ type: [type] }, { limit: 200 });
  return items.map(({ event }) => event as OwnEvent);
}

async function receivers(eventId: string): Promise<string[]> {
  const { items } = await stores.deliveries.list({ eventId }, { limit: 50 });
  return items.map(({ endpoint }) => endpoint).toSorted();
}

describe('batch', () => {
  test('a closed batch completes once all of its runs have ended, however they end', async () => {
    await register(['a', 'b', 'c', 'd', 'e']);
    await close();
    await poll('a', 'completed');
    await poll('b', 'failed');
    await end('c', 'gone');
    await end('d', 'expired');
    await daemon.judgeDue();
    expect(await eventsOf('batch.completed')).toEqual([]);
    await setClock(NOON + 60_000);
    await endWatch(process, key('e'));
    await daemon.judgeDue();
    const [event, ...others] = await eventsOf('batch.completed');
    expect(others).toEqual([]);
    expect(event?.data).toMatchObject({
      batch: 'nightly',
      reason: 'closed',
      total: 5,
      by_status: { completed: 1, failed: 1, gone: 1, expired: 1, cancelled: 1 },
      failed: ['b', 'c', 'd'],
      duration_ms: 60_000,
    });
    expect(await current()).toMatchObject({ state: 'completed', completedAt: now });
    expect(await receivers(event!.id)).toEqual(['ops']);
  });

  test('an event of a batch names the first ten runs that failed, with their workflows', async () => {
    const runs = Array.from({ length: 12 }, (_, at) => `run-${at}`);
    await register(runs);
    await close();
    for (const run of runs) await poll(run, 'failed');
    await daemon.judgeDue();
    const [event] = await eventsOf('batch.completed');
    expect(event?.data['failed']).toEqual(runs);
    expect(event?.data['failed_runs']).toHaveLength(10);
    expect(event?.data).toMatchObject({
      batch_url: null,
      failed_runs: runs.slice(0, 10).map((id) => ({
        run_id: id,
        source: 'default',
        workflow_id: snapshot().workflow_id,
        status: 'failed',
      })),
    });
  });

  test('as many runs as are expected close a batch, and the next one is refused', async () => {
    await writeBatch(process, NIGHTLY, () => ({
      expected: 2,
      maxFailed: null,
      subscriptions: null,
    }));
    expect(await register(['a', 'b', 'c'])).toEqual(['created', 'created', 'batch_closed']);
    expect(await watches.get(key('c'))).toBeNull();
    expect(await current()).toMatchObject({ state: 'closed', closedBy: 'expected', joined: 2 });
    // Members may be registered again.
    expect(await register(['a', 'b'])).toEqual(['merged', 'merged']);
  });

  test('a registration that is refused for its webhooks joins no batch', async () => {
    const webhooks = Array.from({ length: 50 }, (_, at) =>
      webhookTo(`https://a.example/${at}`, ['*']),
    );
    await register(['a'], null, webhooks);
    await register(['b']);
    const one = [webhookTo('https://a.example/more', ['*'])];
    expect(await register(['a'], 'nightly', one)).toEqual(['too_many_webhooks']);
    expect((await watches.get(key('a')))?.watch.batches).toEqual([]);
    expect(await current()).toMatchObject({ joined: 1 });
  });

  test('a list closes its batch in the step that writes the last of its runs', async () => {
    expect(await registerList(['a', 'b', 'c'])).toEqual(['created', 'created', 'created']);
    expect(await current()).toMatchObject({ state: 'closed', closedBy: 'closed', joined: 3 });
    expect(await registerList(['d'])).toEqual(['batch_closed']);
  });

  test('a list whose runs change while they are read closes its batch once all are written', async () => {
    const [first, other]: Subscription[] = [
      { kind: 'endpoint', endpoint: 'failures' },
      { kind: 'endpoint', endpoint: 'pager' },
    ];
    await register(['b'], null, [first!]);
    const read = watches.getMany.bind(watches);
    const reads = jest.spyOn(watches, 'getMany');
    reads.mockImplementationOnce(async (wanted) => {
      const found = await read(wanted);
      // Another request is first.
      await register(['b'], null, [other!]);
      return found;
    });
    expect(await registerList(['a', 'b', 'c'])).toEqual(['created', 'merged', 'created']);
    reads.mockRestore();
    expect(await current()).toMatchObject({ state: 'closed', joined: 3 });
    const { subscriptions } = (await watches.get(key('b')))!.watch;
    expect(subscriptions).toEqual([first, other, ops]);
  });

  test('a list may close several batches, each with the last of its runs', async () => {
    const names = ['one', 'other', 'one', 'other'].map((name) => batchOf(undefined, name));
    const requests = names.map((batch, at) => ({
      ...key(`r-${at}`),
      subscriptions: [ops],
      batch,
      closesBatch: true,
    }));
    await registerWatches(sources, [...requests, { ...requests[3]!, batch: names[0]! }]);
    expect([await current('one'), await current('other')]).toMatchObject([
      { state: 'closed', joined: 3 },
      { state: 'closed', joined: 2 },
    ]);
  });

  test('batch.failed comes once, with the first failure beyond max_failed, before all runs have ended', async () => {
    await writeBatch(process, NIGHTLY, () => ({
      expected: null,
      maxFailed: 1,
      subscriptions: null,
    }));
    await register(['a', 'b', 'c', 'd']);
    await poll('a', 'failed');
    await daemon.judgeDue();
    expect(await eventsOf('batch.failed')).toEqual([]);
    await end('b', 'gone');
    await daemon.judgeDue();
    await poll('c', 'failed');
    await daemon.judgeDue();
    const failed = await eventsOf('batch.failed');
    expect(failed.map(({ data }) => data)).toMatchObject([
      { by_status: { failed: 1, gone: 1, unseen: 2 }, failed: ['a', 'b'], max_failed: 1 },
    ]);
    expect(await current()).toMatchObject({ state: 'open', failedAt: NOON });
  });

  test('an open batch completes when no run was active for an hour, and not while one is', async () => {
    await register(['a']);
    await poll('a', 'completed');
    await daemon.judgeDue();
    await setClock(NOON + IDLE_MS - 1);
    await daemon.judgeDue();
    expect(await current()).toMatchObject({ state: 'open' });
    // Another one joins in time.
    await register(['b']);
    await setClock(NOON + 2 * IDLE_MS);
    await daemon.judgeDue();
    expect(await current()).toMatchObject({ state: 'open' });
    await poll('b', 'failed');
    await setClock(NOON + 3 * IDLE_MS);
    await daemon.judgeDue();
    const events = await eventsOf('batch.completed');
    expect(events.map(({ data }) => data)).toMatchObject([{ reason: 'idle', total: 2 }]);
  });

  test('the hour of an open batch begins anew with the end of a run that joined it', async () => {
    await register(['a']);
    await poll('a', 'completed');
    await setClock(NOON + IDLE_MS - 1);
    await register(['b']);
    await poll('b', 'completed');
    await setClock(NOON + 2 * IDLE_MS - 2);
    await daemon.judgeDue();
    expect(await current()).toMatchObject({ state: 'open' });
    await setClock(NOON + 2 * IDLE_MS);
    await daemon.judgeDue();
    expect(await eventsOf('batch.completed')).toHaveLength(1);
  });

  test('the name of a completed batch begins another once a run comes that was not in it', async () => {
    await register(['a']);
    await close();
    await poll('a', 'completed');
    await daemon.judgeDue();
    const first = await current();
    await register(['a']);
    expect((await current()).id).toBe(first.id);
    await register(['b']);
    await close();
    await poll('b', 'completed');
    await daemon.judgeDue();
    const second = await current();
    expect(second.id).not.toBe(first.id);
    expect((await eventsOf('batch.completed')).map(({ data }) => data['total'])).toEqual([1, 1]);
    const { items } = await batches.list({}, { limit: 10 });
    expect(new Set(items.map(({ id }) => id))).toEqual(new Set([first.id, second.id]));
  });

  test.each([
    ['first', ['a', 'b']],
    ['last', ['b', 'a']],
  ])(
    'with a new run a list begins a batch of all its runs, one that had ended %s, and may come again',
    async (_, runs) => {
      await registerList(['a']);
      await poll('a', 'failed');
      await daemon.judgeDue();
      expect(await registerList(['a'])).toEqual(['merged']);
      await registerList(runs);
      const second = await current();
      expect(second).toMatchObject({ state: 'closed', joined: 2 });
      expect(await registerList(runs)).toEqual(['merged', 'merged']);
      await poll('b', 'completed');
      await daemon.judgeDue();
      expect(await registerList(runs)).toEqual(['merged', 'merged']);
      expect(await current()).toMatchObject({ id: second.id, state: 'completed' });
      const events = await eventsOf('batch.completed');
      expect(events).toHaveLength(2);
      expect(events.find(({ data }) => data['batch_id'] === second.id)?.data).toMatchObject({
        total: 2,
        by_status: { completed: 1, failed: 1 },
      });
    },
  );

  test('after Redis lost its data a list that is registered again makes a batch of all, also of runs that had ended', async () => {
    await registerList(['a', 'b']);
    const { id } = await current();
    await poll('a', 'failed');
    await redis.del(...(await stores.keysLeft()));
    await setClock(NOON);
    // A daemon remembers the run that goes on.
    await register(['b'], null);
    expect((await watches.get(key('b')))?.watch.batches).toEqual([]);
    expect(await registerList(['a', 'b'])).toEqual(['created', 'merged']);
    await poll('a', 'failed');
    await poll('b', 'completed');
    await daemon.judgeDue();
    const [event] = await eventsOf('batch.completed');
    expect(event?.data).toMatchObject({ total: 2, by_status: { completed: 1, failed: 1 } });
    expect(event?.data['batch_id']).not.toBe(id);
  });

  test('a name is free once the record of its batch is lost', async () => {
    askAtMost(10);
    await register(['a', 'b'], 'nightly');
    await writeBatch(process, batchOf(undefined, 'weekly'), () => SETTINGS);
    const [first, second] = [await current(), await current('weekly')];
    await redis.del(keys.batch(first.id), keys.batch(second.id));
    expect(await register(['b', 'c'])).toEqual(['merged', 'created']);
    const next = await current();
    expect(next.id).not.toBe(first.id);
    expect(next.joined).toBe(2);
    expect((await watches.get(key('b')))?.watch.batches).toEqual([first.id, next.id]);
    const set = await writeBatch(process, batchOf(undefined, 'weekly'), () => SETTINGS);
    expect(set).toMatchObject({ isNew: true, batch: { id: (await current('weekly')).id } });
    await close();
    for (const runId of ['a', 'b', 'c']) await poll(runId, 'completed');
    await daemon.judgeDue();
    const told = (await eventsOf('batch.completed')).map(({ data }) => data['batch_id']);
    expect(told).toEqual([next.id]);
    // Nothing is left of those that were lost.
    const left = [next.id, (await current('weekly')).id];
    expect(new Set(await redis.zrange(keys.batches, 0, '-1'))).toEqual(new Set(left));
    expect(await redis.zrange(keys.batchesIdle, 0, '-1')).toEqual(left.slice(1));
  });

  test('a batch that is lost between two tries of a registration begins anew', async () => {
    await register(['a']);
    const { id } = await current();
    askAtMost(3);
    const commit = watches.commitMany.bind(watches);
    const losing = jest.spyOn(watches, 'commitMany').mockImplementationOnce(async (changes) => {
      await redis.del(keys.batch(id));
      return commit(changes);
    });
    replaced.push(losing);
    expect(await register(['b'])).toEqual(['created']);
    expect(losing).toHaveBeenCalledTimes(2);
    expect((await watches.get(key('b')))?.watch.batches).toEqual([(await current()).id]);
  });

  test('a batch that begins again while it is found to be lost keeps its name', async () => {
    await register(['a']);
    const before = await current();
    const read = batches.read.bind(batches);
    const reading = jest.spyOn(batches, 'read').mockImplementationOnce(async (id) => {
      await batches.forget(before);
      const found = await read(id);
      await batches.begin(before, '');
      return found;
    });
    replaced.push(reading);
    expect(await batches.named([NIGHTLY])).toEqual([null]);
    expect((await current()).id).toBe(before.id);
  });

  test('a run is in several batches, and ends in each', async () => {
    await register(['a'], 'one');
    await register(['a'], 'two');
    await close('one');
    await close('two');
    await poll('a', 'completed');
    await daemon.judgeDue();
    expect((await eventsOf('batch.completed')).map(({ data }) => data['batch'])).toEqual(
      expect.arrayContaining(['one', 'two']),
    );
    expect(await register(['b', 'c'], 'one')).toEqual(['created', 'created']);
  });

  test('a run joins sixteen batches at the most', async () => {
    for (let at = 0; at < 16; at += 1) await register(['a'], `batch-${at}`);
    expect(await register(['a'], 'one-more')).toEqual(['too_many_batches']);
    expect(await batches.named([batchOf(undefined, 'one-more')])).toEqual([null]);
  });

  test('a batch that is set up names what hears of it, a pager of failures alone', async () => {
    const pager: Subscription = { kind: 'endpoint', endpoint: 'pager' };
    await writeBatch(process, NIGHTLY, () => ({
      expected: 1,
      maxFailed: 0,
      subscriptions: [{ kind: 'endpoint', endpoint: 'failures' }, pager],
    }));
    await register(['a']);
    await poll('a', 'failed');
    await daemon.judgeDue();
    const [[failed], [completed]] = await Promise.all([
      eventsOf('batch.failed'),
      eventsOf('batch.completed'),
    ]);
    expect(await receivers(failed!.id)).toEqual(['failures', 'pager']);
    expect(await receivers(completed!.id)).toEqual(['failures']);
  });

  test('what hears of the runs hears of the batch once, unless it names other events', async () => {
    const { sealer } = process.secrets;
    const hook = (runId: string, events?: string[]) =>
      webhookTo(
        'https://example.com/hook',
        events,
        sealer.seal({ url: 'https://example.com/hook' }, `default/${runId}`),
      );
    const failures: Subscription = { kind: 'endpoint', endpoint: 'failures' };
    await register(['a'], 'nightly', [ops, hook('a') as Subscription] as never);
    await register(['b'], 'nightly', [ops, failures, hook('b', ['batch.*'])] as never);
    await register(['c'], 'nightly', [hook('c', ['run.failed'])] as never);
    await close();
    for (const runId of ['a', 'b', 'c']) await poll(runId, 'completed');
    await daemon.judgeDue();
    const [event] = await eventsOf('batch.completed');
    const told = await receivers(event!.id);
    expect(told).toEqual([expect.stringMatching(/^https:\/\/example\.com\//), 'ops']);
    // Its members may be gone when it is sent.
    const { inherited, id } = await current();
    expect(sealer.open(inherited[0]!.sealed, `batch ${id}`)).toMatchObject({
      url: 'https://example.com/hook',
      secret: expect.stringMatching(/^whsec_/),
    });
  });

  test('two daemons that judge at once send one event, also after one has died with it', async () => {
    await register(['a', 'b', 'c']);
    await close();
    await Promise.all(['a', 'b', 'c'].map((runId) => poll(runId, 'completed')));
    // A daemon takes it and dies.
    const lease = { idleSince: 0, leaseMs: 10_000, most: 10 };
    expect(await batches.takeDue(now, lease)).toHaveLength(1);
    await Promise.all(daemons.map((one) => one.judgeDue()));
    expect(await eventsOf('batch.completed')).toEqual([]);
    await setClock(NOON + 10_000);
    await Promise.all(daemons.map((one) => one.judgeDue()));
    expect(await eventsOf('batch.completed')).toHaveLength(1);
  });

  test('a run that lives again while a batch is judged keeps it from completing', async () => {
    await register(['a']);
    await close();
    await end('a', 'gone');
    const id = (await current()).id;
    const stored = (await batches.read(id))!;
    await revive('a');
    const after = { ...stored.batch, state: 'completed' as const };
    expect(await batches.settle(stored, { after, isIdle: false, events: [] })).toBeNull();
    await daemon.judgeDue();
    expect(await current()).toMatchObject({ state: 'closed' });
    await poll('a', 'completed');
    await daemon.judgeDue();
    expect((await eventsOf('batch.completed')).map(({ data }) => data)).toMatchObject([
      { by_status: { completed: 1 }, failed: [] },
    ]);
  });

  test('a purged run is named by its batch no more, which keeps its counts', async () => {
    await register(['a', 'b']);
    await close();
    await poll('a', 'failed');
    await poll('b', 'completed');
    await daemon.judgeDue();
    await purge('a');
    expect((await current()).outcome).toEqual({
      byStatus: { failed: 1, completed: 1 },
      failed: [],
    });
  });
});

test.each(['live', 'packed'])(
  'a run that is purged and registered again counts once for what its batch expects: %s',
  async (form) => {
    const settings = { ...SETTINGS, expected: 2 };
    await writeBatch(process, NIGHTLY, () => settings);
    await register(['a']);
    if (form === 'packed') {
      await poll('a', 'completed');
      await stores.history.pack(key('a'), { isForced: true });
    }
    await purge('a');
    expect(await current()).toMatchObject({ state: 'open', joined: 0 });
    expect(await register(['a'])).toEqual(['created']);
    expect(await current()).toMatchObject({ state: 'open', joined: 1 });
    expect(await register(['b'])).toEqual(['created']);
    expect(await current()).toMatchObject({ state: 'closed', closedBy: 'expected' });
  },
);

test('a run that is forgotten with the retention counts for what its batch expects', async () => {
  await writeBatch(process, NIGHTLY, () => ({ ...SETTINGS, expected: 2 }));
  await register(['a']);
  await poll('a', 'completed');
  await stores.retention.forget(key('a'));
  await register(['b']);
  expect(await current()).toMatchObject({ state: 'closed', closedBy: 'expected' });
});

test('a closed batch completes without its last run where Redis has dropped that and its place among the active ones', async () => {
  await registerList(['a', 'b']);
  await poll('a', 'failed');
  await redis.del(keys.watch(key('b')), keys.watches('state', 'active'));
  await stores.repairs.all(NOON);
  await daemon.judgeDue();
  const told = await eventsOf('batch.completed');
  expect(told.map(({ data }) => data)).toMatchObject([{ total: 1, by_status: { failed: 1 } }]);
});

/** Has a store drop the record of a run, and does what daemons do about it. */
async function lose(runId: string): Promise<void> {
  await redis.del(keys.watch(key(runId)));
  const lost = await watches.lost(100);
  await stores.repairs.leaveBatches(lost);
  await watches.dropLost(lost);
  await stores.repairs.all(now);
}

/* Random lives of batches. */

const RUNS = ['a', 'b', 'c', 'd', 'e', 'f'] as const;
const NAMES = ['one', 'two'] as const;

type Action =
  | { does: 'register'; runs: string[]; name: string }
  | { does: 'set'; name: string; expected: number | null; maxFailed: number | null }
  | { does: 'close' | 'delete'; name: string }
  | { does: 'poll'; run: string; status: 'running' | 'completed' | 'failed' | 'stopped' }
  | { does: 'gone' | 'expire' | 'cancel' | 'revive'; run: string }
  | { does: 'purge' | 'pack' | 'forget' | 'lose'; run: string }
  | { does: 'wait'; minutes: number }
  | { does: 'judge'; by: (0 | 1)[] }
  | { does: 'die' };

const run = fc.constantFrom(...RUNS);
const anyName = fc.constantFrom(...NAMES);
const does = <Does extends string>(...all: Does[]) => fc.constantFrom(...all);

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      does: does('register'),
      runs: fc.subarray([...RUNS], { minLength: 1 }),
      name: anyName,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      does: does('set'),
      name: anyName,
      expected: fc.option(fc.integer({ min: 1, max: 6 })),
      maxFailed: fc.option(fc.integer({ min: 0, max: 2 })),
    }),
  },
  { weight: 2, arbitrary: fc.record({ does: does('close'), name: anyName }) },
  { weight: 1, arbitrary: fc.record({ does: does('delete'), name: anyName }) },
  {
    weight: 8,
    arbitrary: fc.record({
      does: does('poll'),
      run,
      status: fc.constantFrom('running', 'completed', 'failed', 'stopped'),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      does: does('gone', 'expire', 'cancel', 'revive', 'purge', 'pack', 'forget', 'lose'),
      run,
    }),
  },
  { weight: 2, arbitrary: fc.record({ does: does('wait'), minutes: fc.constantFrom(1, 30, 61) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      does: does('judge'),
      by: fc.subarray<0 | 1>([0, 1], { minLength: 1 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ does: does('die') }) },
);

/** What is known of a batch without the store. */
interface Known {
  name: string;
  members: Set<string>;
  joined: number;
  expected: number | null;
  state: 'open' | 'closed' | 'completed';
}

/** What the daemons should make of actions. */
class Model {
  readonly known = new Map<string, Known>();
  readonly deleted = new Set<string>();

  async act(one: Action): Promise<void> {
    switch (one.does) {
      case 'register':
        return this.register(one.runs, one.name);
      case 'set':
        return this.set(one);
      case 'close':
        return this.close(one.name);
      case 'delete':
        return this.remove(one.name);
      case 'wait':
        return setClock(now + one.minutes * 60_000);
      case 'die':
        return void (await batches.takeDue(now, { idleSince: 0, leaseMs: 10_000, most: 9 }));
      case 'judge':
        await Promise.all(one.by.map((at) => daemons[at].judgeDue()));
        return this.compare();
      case 'poll':
      case 'gone':
      case 'expire':
      case 'cancel':
      case 'revive':
      case 'purge':
      case 'pack':
      case 'forget':
      case 'lose':
        return this.change(one);
    }
  }

  private async change(
    one: Exclude<
      Action,
      { name: string } | { minutes: number } | { by: unknown } | { does: 'die' }
    >,
  ): Promise<void> {
    const watch = (await watches.get(key(one.run)))?.watch;
    if (watch === undefined) return;
    const isActive = watch.state === 'active';
    if (one.does === 'poll' && isActive) return poll(one.run, one.status);
    if (one.does === 'gone' && isActive) return end(one.run, 'gone');
    if (one.does === 'expire' && isActive) return end(one.run, 'expired');
    if (one.does === 'cancel') return void (await endWatch(process, key(one.run)));
    if (one.does === 'revive' && watch.state === 'gone') return revive(one.run);
    if (one.does === 'pack')
      return void (await stores.history.pack(key(one.run), { isForced: true }));
    if (one.does === 'purge') {
      await purge(one.run);
      for (const batch of this.known.values()) {
        if (batch.members.has(one.run) && batch.state === 'open') batch.joined -= 1;
      }
    }
    if (one.does === 'lose') await lose(one.run);
    if (one.does === 'forget' && !isActive) await stores.retention.forget(key(one.run));
    if ((await watches.get(key(one.run))) !== null) return;
    for (const batch of this.known.values()) batch.members.delete(one.run);
  }

  private present(name: string): [string, Known] | undefined {
    return [...this.known].findLast(([, one]) => one.name === name);
  }

  private async register(runs: readonly string[], name: string): Promise<void> {
    const [, before] = this.present(name) ?? [];
    const kinds = await register(runs, name);
    if (before?.state === 'completed') {
      const isStanding = runs.every((one) => before.members.has(one));
      if (isStanding) return expect(kinds).toEqual(runs.map(() => 'merged'));
      // With one other run all of them begin the next batch.
      await this.begun(name);
    }
    for (const [at, runId] of runs.entries()) {
      const [, batch] = this.present(name) ?? [];
      const isRefused = kinds[at] === 'batch_closed';
      if (batch?.members.has(runId) === true) {
        expect(isRefused).toBe(false);
      } else if (batch?.state === 'closed') {
        expect(isRefused).toBe(true);
      } else {
        expect(isRefused).toBe(false);
        this.join(await this.begun(name), runId);
      }
    }
  }

  /** The batch that a name stands for, which may have begun. */
  private async begun(name: string): Promise<Known> {
    const { id, expected } = await current(name);
    const known = this.known.get(id) ?? {
      name,
      members: new Set<string>(),
      joined: 0,
      expected,
      state: 'open' as const,
    };
    this.known.set(id, known);
    return known;
  }

  private join(batch: Known, runId: string): void {
    batch.members.add(runId);
    batch.joined += 1;
    if (batch.expected !== null && batch.joined >= batch.expected) batch.state = 'closed';
  }

  private async set({ name, expected, maxFailed }: Extract<Action, { does: 'set' }>) {
    const settings = { expected, maxFailed, subscriptions: null };
    const [, before] = this.present(name) ?? [];
    const written = await writeBatch(process, batchOf(undefined, name), () => settings);
    const isKept = before?.state === 'closed' && before.expected !== expected;
    expect(written === 'closed').toBe(isKept);
    if (isKept) return;
    const batch = await this.begun(name);
    batch.expected = expected;
    if (batch.state === 'open' && expected !== null && batch.joined >= expected) {
      batch.state = 'closed';
    }
  }

  private async close(name: string): Promise<void> {
    await close(name);
    const [, batch] = this.present(name) ?? [];
    if (batch?.state === 'open') batch.state = 'closed';
  }

  private async remove(name: string): Promise<void> {
    const [id] = this.present(name) ?? [];
    if (id === undefined) return;
    await batches.forget((await batches.read(id))!.batch);
    this.known.delete(id);
    this.deleted.add(id);
  }

  /** What the store says of each batch is what its members say. */
  async compare(): Promise<void> {
    const events = await eventsOf('batch.completed');
    for (const [id, known] of this.known) {
      const own = events.filter(({ data }) => data['batch_id'] === id);
      const { batch } = (await batches.read(id))!;
      expect(own).toHaveLength(batch.state === 'completed' ? 1 : 0);
      if (batch.state !== 'completed') {
        expect(batch.state).toBe(known.state);
        expect((await batches.find(id)).byStatus).toEqual(await this.countsOf(known));
        continue;
      }
      if (known.state === 'completed') continue;
      known.state = 'completed';
      const counts = await this.countsOf(known);
      expect(batch.outcome?.byStatus).toEqual(counts);
      expect(own[0]?.data).toMatchObject({ by_status: counts, total: known.members.size });
      expect(Object.keys(counts).some((one) => isActiveMember(one as MemberStatus))).toBe(false);
    }
    const failed = (await eventsOf('batch.failed')).map(({ data }) => data['batch_id']);
    expect(new Set(failed).size).toBe(failed.length);
  }

  private async countsOf({ members }: Known) {
    const counts: Record<string, number> = {};
    for (const watch of await this.watchesOf(members)) {
      const status = memberStatus(watch);
      counts[status] = (counts[status] ?? 0) + 1;
    }
    return counts;
  }

  async watchesOf(members: ReadonlySet<string>): Promise<Watch[]> {
    const stored = await watches.getMany([...members].map(key));
    return stored.map((one) => one!.watch);
  }

  /** All runs end, and all is forgotten. */
  async end(): Promise<void> {
    for (const runId of RUNS) await endWatch(process, key(runId));
    await setClock(now + IDLE_MS + 10_000);
    for (const one of daemons) await one.judgeDue();
    await setClock(now + IDLE_MS + 10_000);
    for (const one of daemons) await one.judgeDue();
    await this.compare();
    const failed = (await eventsOf('batch.failed')).map(({ data }) => data['batch_id']);
    for (const id of this.known.keys()) {
      const { batch } = (await batches.read(id))!;
      expect(batch.state).toBe('completed');
      const count = Object.entries(batch.outcome?.byStatus ?? {})
        .filter(([status]) => isFailedMember(status as MemberStatus))
        .reduce((sum, [, one]) => sum + one, 0);
      if (batch.maxFailed !== null && count > batch.maxFailed) expect(failed).toContain(id);
    }
    for (const runId of RUNS) await purge(runId);
    await batches.forgetOld({ before: now + 1, keep: 0 });
    const left = (await stores.keysLeft()).filter((one) => /\}:(watches:)?batch/.test(one));
    expect(left).toEqual([]);
  }
}

test('each event of a batch comes once and its counts add up, whatever happens in any order', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 40 }), async (actions) => {
      await redis.del(...(await stores.keysLeft()), 'none');
      await setClock(NOON);
      const model = new Model();
      for (const one of actions) await model.act(one);
      await model.end();
    }),
    { numRuns: 25 },
  );
});
