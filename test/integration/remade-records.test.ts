import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Silence } from '../../src/core/alert/silence.ts';
import { newDelivery } from '../../src/core/delivery/delivery.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { Watch, WatchKey } from '../../src/core/watch/watch.ts';
import type { StoredWatch } from '../../src/redis/watch-change.ts';
import { DeliveryStore } from '../../src/redis/stores/delivery-store.ts';
import { HistoryStore } from '../../src/redis/stores/history-store.ts';
import { RetentionStore } from '../../src/redis/stores/retention-store.ts';
import { SilenceStore } from '../../src/redis/stores/silence-store.ts';
import { newWatch, NOON, observeContext, snapshot, webhookTo } from '../support/builders.ts';
import { delivered, openStores } from '../support/stores.ts';

const stores = openStores();
const { redis, keys, watches, deliveries, history, outbox, retention, requests } = stores;
afterAll(() => stores.close());
beforeEach(async () => void (await redis.del(...(await stores.keysLeft()), 'none')));

const limits = { most: 4, rate: null, deadlineMs: 15_000 };
const KEY: WatchKey = { source: 'default', runId: 'run-1' };

/** A connection on which something happens once, after a command was answered. */
function interruptedAfter(command: string, act: () => Promise<unknown>): typeof redis {
  let isDone = false;
  return new Proxy(redis, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      const call = (...args: unknown[]) =>
        (value as (...given: unknown[]) => unknown).apply(target, args);
      if (name !== command) return call;
      return async (...args: unknown[]) => {
        const reply = await call(...args);
        if (!isDone) {
          isDone = true;
          await act();
        }
        return reply;
      };
    },
  });
}

/** Writes a watch that begins. */
async function register(changes: Partial<Watch> = {}): Promise<StoredWatch> {
  const after = newWatch({ ...KEY, ...changes });
  const schedule = { does: 'enter', withinMs: 1_000, kind: 'watch' } as const;
  await watches.commit({ before: null, after, events: [], deliveries: [], schedule });
  return (await watches.get(KEY))!;
}

const ENDED = { state: 'finished', endedAt: NOON } as const;

async function erase(): Promise<void> {
  const { watch } = (await watches.get(KEY))!;
  if (watch.state === 'active') {
    const before = (await watches.get(KEY))!;
    const after = { ...watch, ...ENDED };
    const schedule = { does: 'leave' } as const;
    await watches.commit({ before, after, events: [], deliveries: [], schedule });
  }
  expect(await retention.forget(KEY)).toBe('forgotten');
}

/** The run fails, which plans a delivery. @returns its id */
async function fail(before: StoredWatch): Promise<string> {
  const result = { kind: 'run', run: snapshot({ id: KEY.runId, status: 'failed' }) } as const;
  const { watch: after, events } = observe(before.watch, result, observeContext(NOON));
  const planned = newDelivery(after, events[0]!, 'ops', NOON);
  await watches.commit({ before, after, events, deliveries: [planned] });
  return planned.id;
}

async function settleAsDelivered(id: string): Promise<void> {
  const before = (await deliveries.get(id))!;
  const after = delivered(before.delivery, NOON);
  expect(await outbox.withhold({ before, after, limits, now: NOON })).not.toBe('delivery');
}

describe('a record that was deleted and made again', () => {
  test('a change of a live watch is not written into its new registration', async () => {
    const before = await register({ metadata: { job: 'old' } });
    await erase();
    const anew = await register({ metadata: { job: 'new' } });
    expect(anew.version).toBe(before.version);
    const after = { ...before.watch, polls: 9 };
    expect(await watches.commit({ before, after, events: [], deliveries: [] })).toBeNull();
    expect((await watches.get(KEY))?.watch.metadata).toEqual({ job: 'new' });
  });

  test('a change of a packed watch is not written into its new registration', async () => {
    await register({ ...ENDED, metadata: { job: 'old' } });
    expect(await history.pack(KEY)).toBe('packed');
    const before = (await watches.get(KEY))!;
    await erase();
    await register({ ...ENDED, metadata: { job: 'new' } });
    expect(await history.pack(KEY)).toBe('packed');
    expect((await watches.get(KEY))?.version).toBe(before.version);
    const after = { ...before.watch, metadata: { job: 'old', by: 'late' } };
    expect(await watches.commit({ before, after, events: [], deliveries: [] })).toBeNull();
    expect((await watches.get(KEY))?.watch.metadata).toEqual({ job: 'new' });
  });

  test('a stream does not defer the first read of a new registration', async () => {
    const before = await register();
    await stores.streams.take(KEY.source, KEY.runId, 'process', 10);
    await erase();
    await register();
    const [dueAt] = await requests.dueTimes(KEY.source, [KEY.runId]);
    const held = { process: 'process', isRelied: true, nodes: null };
    const move = { to: 'later', inMs: 600_000, watch: before } as const;
    await stores.streams.note(KEY.source, KEY.runId, { held, move });
    expect(await requests.dueTimes(KEY.source, [KEY.runId])).toEqual([dueAt]);
  });

  test('a step of a delivery is not written into the delivery of a new registration', async () => {
    const id = await fail(await register());
    const pending = (await deliveries.get(id))!;
    await settleAsDelivered(id);
    const settled = (await deliveries.get(id))!;
    await erase();
    expect(await fail(await register())).toBe(id);
    const skipped = { ...pending.delivery, state: 'skipped' as const, nextAttemptAt: null };
    const step = { before: pending, after: skipped, limits, now: NOON };
    expect(await outbox.withhold(step)).toBe('delivery');
    await settleAsDelivered(id);
    const again = { ...settled.delivery, state: 'pending' as const, nextAttemptAt: NOON };
    expect(await outbox.requeue({ before: settled, after: again, limits, now: NOON })).toBe(false);
    expect((await deliveries.get(id))?.delivery.state).toBe('delivered');
  });

  test('an endpoint state that was forgotten and noted again is not overwritten by an older reader', async () => {
    const { receiver } = webhookTo('https://a.example/hook', ['*']);
    const { endpointStates } = stores;
    const change = { limits, now: NOON };
    const fails = async (failures: number) => {
      const before = await endpointStates.get(receiver);
      await endpointStates.write(before, { ...before.state, failures }, change);
    };
    await fails(1);
    const read = await endpointStates.get(receiver);
    await redis.del(keys.endpointState(receiver));
    await fails(7);
    expect(await endpointStates.write(read, { ...read.state, failures: 2 }, change)).toBe(false);
    expect((await endpointStates.get(receiver)).state.failures).toBe(7);
  });

  test('retention keeps a watch that is registered again while older ones are forgotten', async () => {
    await register({ ...ENDED, metadata: { job: 'old' } });
    const connection = interruptedAfter('rwReadHistoryBuffer', async () => {
      await erase();
      await register({ ...ENDED, metadata: { job: 'new' } });
    });
    const own = new HistoryStore(connection, keys);
    const late = new RetentionStore(connection, keys, {
      history: own,
      deliveries: new DeliveryStore(connection, keys, own),
    });
    expect(await late.forgetWatches(NOON, 1_000)).toMatchObject({ forgotten: 0 });
    expect((await watches.get(KEY))?.watch.metadata).toEqual({ job: 'new' });
  });

  test('a watch that ends while an older one is found to be unknown remains due for packing', async () => {
    const connection = interruptedAfter('rwReadHistoryBuffer', () => register(ENDED));
    expect(await new HistoryStore(connection, keys).pack(KEY)).toBe('unknown');
    expect(await redis.zcard(keys.packDue)).toBe(1);
  });

  test('a silence that is created anew by its key is not forgotten with the expired one', async () => {
    const silence: Silence = {
      id: 'sil_1',
      matchers: {},
      comment: 'old',
      by: 'ops',
      key: 'k',
      createdAt: NOON,
      startsAt: NOON,
      until: NOON + 1_000,
    };
    await stores.silences.add(silence);
    const connection = interruptedAfter('hgetall', async () => {
      await stores.silences.forget(NOON + 2_000);
      await stores.silences.add({ ...silence, comment: 'new', until: NOON + 9_000 });
    });
    expect(await new SilenceStore(connection, keys).forget(NOON + 2_000)).toBe(0);
    expect(await stores.silences.get('sil_1')).toMatchObject({ comment: 'new' });
  });
});
