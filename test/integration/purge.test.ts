import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { newDelivery, type DeliveryState } from '../../src/core/delivery/delivery.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { Subscription, Watch, WatchKey } from '../../src/core/watch/watch.ts';
import { skipOutstanding } from '../../src/deliver/skip-outstanding.ts';
import { purgeWatch } from '../../src/watches/purge.ts';
import { DeliveryStore } from '../../src/redis/stores/delivery-store.ts';
import { HistoryStore } from '../../src/redis/stores/history-store.ts';
import { OutboxStore } from '../../src/redis/stores/outbox-store.ts';
import { RetentionStore } from '../../src/redis/stores/retention-store.ts';
import { WatchStore } from '../../src/redis/stores/watch-store.ts';
import { testProcess } from '../support/daemon.ts';
import { limitedTo } from '../support/endpoints.ts';
import { newWatch, NOON, observeContext, snapshot } from '../support/builders.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores();
const { redis, keys, watches, events, deliveries, history, outbox, requests } = stores;
afterAll(() => stores.close());
beforeEach(async () => void (await redis.del(...(await stores.keysLeft()), 'none')));

const ops: Subscription = { kind: 'endpoint', endpoint: 'ops' };
const limits = { most: 4, rate: null, deadlineMs: 15_000 };
const now = () => NOON;

/** Purges by a connection that may die. */
function purgerOn(connection: typeof redis) {
  const own = new HistoryStore(connection, keys);
  const ownDeliveries = new DeliveryStore(connection, keys, own);
  const retention = new RetentionStore(connection, keys, {
    history: own,
    deliveries: ownDeliveries,
  });
  const process = testProcess({
    stores: {
      watches: new WatchStore(connection, keys, own),
      deliveries: ownDeliveries,
      outbox: new OutboxStore(connection, keys, own),
      retention,
    },
    endpoints: limitedTo(() => limits),
    now,
  });
  const steps = {
    leaveAlerts: async () => undefined,
    skipOutstanding: (key: WatchKey) => skipOutstanding(process, key),
  };
  return (key: WatchKey) => purgeWatch(process, key, steps);
}

const purge = purgerOn(redis);

/** A polled run with one delivery for each of these states; `claimed` is under way at its endpoint. */
async function aRun(
  runId: string,
  states: (DeliveryState | 'claimed')[],
  { status = 'running', changes = {} }: { status?: string; changes?: Partial<Watch> } = {},
): Promise<WatchKey> {
  const key = { source: 'default', runId };
  const first = newWatch({ ...key, subscriptions: [ops], ...changes });
  const schedule = { does: 'enter', withinMs: 60_000, kind: 'watch' } as const;
  await watches.commit({ before: null, after: first, events: [], deliveries: [], schedule });
  const before = (await watches.get(key))!;
  const result = { kind: 'run', run: snapshot({ id: runId, status }) } as const;
  const waits = { kind: 'run', run: snapshot({ id: runId, status: 'awaiting_event' }) } as const;
  const seen = observe(before.watch, waits, observeContext(NOON));
  const then = observe(seen.watch, result, observeContext(NOON + 1_000));
  const both = [...seen.events, ...then.events];
  const [event] = both;
  const planned = states.map((state, at) => {
    return newDelivery(then.watch, event!, `${state}-${at}`, NOON);
  });
  const ended = then.watch.state === 'active' ? {} : { schedule: { does: 'leave' as const } };
  const change = { before, after: then.watch, events: both, deliveries: planned, ...ended };
  await watches.commit(change);
  for (const [at, state] of states.entries()) {
    const { id, endpoint } = planned[at]!;
    if (state === 'pending') continue;
    if (state === 'claimed') {
      const request = { pool: endpoint, limits, most: 1, token: 'p.1', askedAt: 0 };
      expect((await outbox.claim(request)).claims).toHaveLength(1);
      continue;
    }
    const stored = (await deliveries.get(id))!;
    const after = { ...stored.delivery, state, nextAttemptAt: null };
    expect(await outbox.withhold({ before: stored, after, limits, now: NOON })).not.toBe(
      'delivery',
    );
  }
  return key;
}

const KEPT = new Set([
  'watch-number',
  'event-place',
  'delivery-number',
  'clock',
  'pools-due',
  'packed',
]);

/** The keys that hold something of a run; not counters, ends of logs, and what was learned of a workflow. */
async function traces(): Promise<string[]> {
  expect(await history.size()).toEqual({ watches: 0, bytes: 0 });
  return (await stores.keysLeft()).filter((key) => {
    const name = key.slice(key.indexOf('}') + 2);
    const isLearned = /^(statistics|workflow|tables-known|run-figures)/.test(name);
    return !KEPT.has(name) && !name.endsWith(':chunks') && !isLearned;
  });
}

const ALL = ['pending', 'claimed', 'parked', 'delivered', 'dead', 'skipped'] as const;

describe('purging a watch', () => {
  test.each([
    ['an active watch', 'running'],
    ['a watch that has ended', 'failed'],
  ])('nothing is left of %s, whatever its deliveries', async (_, status) => {
    const key = await aRun('run-1', [...ALL], { status });
    expect(await purge(key)).toBe(true);
    expect(await watches.get(key)).toBeNull();
    expect(await deliveries.counts()).toMatchObject({ planned: 0 });
    expect(await requests.countWatches('default')).toBe(0);
    expect(await traces()).toEqual([]);
    expect(await purge(key)).toBe(false);
  });

  test('purge leaves nothing of a packed watch and everything of its neighbours', async () => {
    const [key, other] = [
      await aRun('run-1', ['dead'], { status: 'failed' }),
      await aRun('run-2', ALL.slice(0, 1)),
    ];
    expect(await history.pack(key)).toBe('packed');
    const ofOther = (await events.list({ runs: [other] }, { limit: 10 })).items;
    expect(await purge(key)).toBe(true);
    expect(await watches.get(key)).toBeNull();
    expect((await events.list({}, { limit: 10 })).items).toEqual(ofOther);
    expect(await deliveries.counts()).toMatchObject({ planned: 1, byState: { pending: 1 } });
    expect((await watches.list({}, { limit: 10 })).items.map(({ runId }) => runId)).toEqual([
      'run-2',
    ]);
  });

  test('the result of an attempt in progress is dropped once its watch is purged', async () => {
    const key = await aRun('run-1', ['claimed']);
    const [claimed] = (
      await deliveries.list({ runs: [{ source: 'default', runId: 'run-1' }] }, { limit: 1 })
    ).items;
    const before = (await deliveries.get(claimed!.id))!;
    await purge(key);
    const after = { ...before.delivery, state: 'delivered' as const, deliveredAt: NOON };
    const attempt = { at: NOON, status: 204, error: null, durationMs: 4, response: '' };
    const step = { before, after, token: 'p.1', attempt, limits, now: NOON };
    expect(await outbox.recordAttempt(step)).toBe('delivery');
    expect(await traces()).toEqual([]);
  });

  test('a watch with more events and deliveries than are packed is purged in steps', async () => {
    const key = await aRun(
      'run-1',
      Array.from({ length: 520 }, () => 'pending' as const),
    );
    expect(await purge(key)).toBe(true);
    expect(await deliveries.counts()).toMatchObject({ planned: 0 });
    expect(await traces()).toEqual([]);
  });

  test('a purge that is killed at any command is finished by the next one', async () => {
    let isKilled = true;
    for (let commands = 0; isKilled; commands += 1) {
      await redis.del(...(await stores.keysLeft()), 'none');
      const key = await aRun('run-1', ['pending', 'claimed', 'dead'], { status: 'failed' });
      isKilled = await dies(() => purgerOn(mortal(commands))(key));
      const { planned, byState } = await deliveries.counts();
      expect(Object.values(byState).reduce((sum, count) => sum + count, 0)).toBe(planned);
      if (isKilled) await purge(key);
      expect(await traces()).toEqual([]);
    }
  });
});

/** The connection of a process that dies before its n-th command. */
function mortal(commands: number): typeof redis {
  let left = commands;
  return new Proxy(redis, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        left -= 1;
        if (left < 0) throw new Error('killed');
        return (value as (...given: unknown[]) => unknown).apply(target, args);
      };
    },
  });
}

async function dies(act: () => Promise<unknown>): Promise<boolean> {
  try {
    await act();
    return false;
  } catch (error) {
    if (error instanceof Error && error.message === 'killed') return true;
    throw error;
  }
}
