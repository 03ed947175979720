import { describe, expect, test, beforeEach } from '@jest/globals';
import { configSchema } from '../../src/config/schema.ts';
import { register, type Registration } from '../../src/core/watch/register.ts';
import {
  watchId,
  type Watch,
  type Subscription,
  type WatchKey,
} from '../../src/core/watch/watch.ts';
import type { StoredWatch, WatchChange } from '../../src/redis/watch-change.ts';
import { newWatch, NOON, snapshot, webhookTo } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';
import { registerWatches } from '../../src/watches/register.ts';

const context = {
  now: NOON + 1_000,
  defaults: { timeoutMs: 60_000, minIntervalMs: 1_000, profile: 'normal' as const },
};
const ops: Subscription = { kind: 'endpoint', endpoint: 'ops' };
const hook = webhookTo('https://a.example/', ['*']);

function request(changes: Partial<Registration> = {}): Registration {
  return { source: 'default', runId: 'run-1', subscriptions: [ops], ...changes };
}

describe('registering a run', () => {
  test('a registration begins a watch that is due at once and expires after the default time', () => {
    const { watch, kind, added } = register(null, request(), context);
    expect(kind).toBe('created');
    expect(added).toEqual([ops]);
    expect(watch).toMatchObject({
      state: 'active',
      run: null,
      sequence: 0,
      nextPollAt: context.now,
      timeoutAt: context.now + 60_000,
    });
  });

  test('a registration merges subscriptions by endpoint name or URL, and replaces metadata and timeout', () => {
    const before = newWatch({ metadata: { a: '1' } }, [ops, hook]);
    const narrowed: Subscription = { ...hook, events: ['run.failed'] };
    const other: Subscription = { kind: 'endpoint', endpoint: 'audit' };
    const { watch, kind, added } = register(
      before,
      request({ subscriptions: [narrowed, other], metadata: { b: '2' }, timeoutMs: 5_000 }),
      context,
    );
    expect(kind).toBe('merged');
    expect(added).toEqual([other]);
    expect(watch.subscriptions).toEqual([ops, narrowed, other]);
    expect(watch).toMatchObject({ metadata: { b: '2' }, timeoutAt: context.now + 5_000 });
  });

  test('a registration keeps what it does not name', () => {
    const before = newWatch({ metadata: { a: '1' }, profile: 'urgent', maxDelayMs: 9_000 });
    const { watch } = register(before, request(), context);
    expect(watch).toMatchObject({
      metadata: { a: '1' },
      profile: 'urgent',
      maxDelayMs: 9_000,
      timeoutAt: before.timeoutAt,
    });
  });

  test('a registration says within what time its watch accepts the next poll', () => {
    const before = newWatch({ timeoutAt: context.now + 60_000 });
    const within = (changes: Partial<Registration>) =>
      register(before, request(changes), context).dueWithinMs;
    expect(within({})).toBe(60_000);
    expect(within({ timeoutMs: 29_999 })).toBe(29_999);
    expect(within({ maxDelayMs: 2_000 })).toBe(2_000);
    expect(register(null, request(), context).dueWithinMs).toBe(0);
    const ended = newWatch({ state: 'finished', endedAt: NOON });
    expect(register(ended, request({ timeoutMs: 1 }), context).dueWithinMs).toBe(Infinity);
  });

  test.each(['cancelled', 'expired'] as const)(
    'a registration begins a %s watch anew, with numbers that go on',
    (state) => {
      const past = { sequence: 4, pastEnds: ['run.failed' as const] };
      const before = newWatch({ state, run: snapshot(), ...past, endedAt: NOON }, [hook]);
      const { watch, kind } = register(before, request(), context);
      expect(kind).toBe('renewed');
      expect(watch).toMatchObject({ state: 'active', run: null, ...past, endedAt: null });
      expect(watch.subscriptions).toEqual([ops]);
    },
  );

  test('a watch keeps removed webhooks as former ones until they are named again', () => {
    const other = webhookTo('https://b.example/');
    const before = newWatch({ state: 'cancelled', formerWebhooks: [other] }, [hook]);
    const { watch } = register(before, request(), context);
    expect(watch).toMatchObject({ subscriptions: [ops], formerWebhooks: [other, hook] });
    const again = register(watch, request({ subscriptions: [other] }), context);
    expect(again.watch).toMatchObject({ subscriptions: [ops, other], formerWebhooks: [hook] });
  });

  test('a registration keeps a finished watch and adds the subscription', () => {
    const before = newWatch({ state: 'finished', sequence: 2, endedAt: NOON }, [hook]);
    const { watch, kind, added } = register(before, request(), context);
    expect(kind).toBe('merged');
    expect(watch).toMatchObject({ state: 'finished', endedAt: NOON });
    expect(added).toEqual([ops]);
  });

  test('a registration begins the watch of a gone run anew, with all its subscriptions', () => {
    const gone = { code: 'not_found' as const, message: 'gone', since: NOON };
    const metadata = { team: 'ml' };
    const before = newWatch({ state: 'gone', gone, metadata, sequence: 2, endedAt: NOON }, [hook]);
    const { watch, kind } = register(before, request(), context);
    expect(kind).toBe('renewed');
    expect(watch).toMatchObject({ state: 'active', gone: null, metadata, sequence: 2 });
    expect(watch.subscriptions).toEqual([hook, ops]);
  });
});

describe('register watches', () => {
  const stored = new Map<string, StoredWatch>();
  let writes: WatchChange[] = [];
  /** Watches for which the next write finds another process's write. */
  const contested = new Set<string>();

  const watches = {
    getMany: async (keys: WatchKey[]) => keys.map((key) => stored.get(watchId(key)) ?? null),
    commitWithin: () => Promise.reject(new Error('no token has a quota')),
    async commitMany(changes: WatchChange[]) {
      return changes.map((change) => {
        const id = watchId(change.after);
        if (contested.delete(id)) return null;
        writes.push(change);
        stored.set(id, { watch: change.after, version: writes.length, number: 1 });
        return [];
      });
    },
  };
  const config = configSchema.parse({ data_dir: '/nowhere', watches: { timeout: '1m' } });
  const process = testProcess({
    config,
    stores: { watches },
    endpoints: { wants: () => true },
    now: () => NOON,
  });
  const registerAll = (requests: Registration[]) =>
    registerWatches({ process, sourceOf: () => undefined }, requests);

  function requestOf(runId: string, endpoint = 'ops', metadata = {}): Registration {
    const subscriptions = [{ kind: 'endpoint' as const, endpoint }];
    return { source: 'default', runId, subscriptions, metadata };
  }

  beforeEach(() => {
    stored.clear();
    writes = [];
  });

  describe('a batch that repeats a run', () => {
    test('a batch that repeats a run writes its watch once, with all requests, and answers each', async () => {
      const requests = Array.from({ length: 1_000 }, (_, at) =>
        requestOf('r', `endpoint-${at % 3}`, { at: String(at) }),
      );
      const results = await registerAll(requests);
      expect(writes).toHaveLength(1);
      expect(results.map(({ kind }) => kind)).toEqual([
        'created',
        ...Array.from({ length: 999 }, () => 'merged'),
      ]);
      expect(results[0]).toMatchObject({
        watch: {
          metadata: { at: '999' },
          subscriptions: ['endpoint-0', 'endpoint-1', 'endpoint-2'].map((endpoint) => ({
            endpoint,
          })),
        },
      });
    });

    test('a batch sends each new subscription one event of a run that has ended', async () => {
      await registerAll([requestOf('r', 'first')]);
      const { watch } = stored.get('default/r')!;
      const notice = { eventId: 'evt_1', type: 'run.failed' as const };
      const ended: Watch = { ...watch, state: 'finished', notice };
      stored.set('default/r', { watch: ended, version: 1, number: 1 });
      await registerAll([requestOf('r', 'first'), requestOf('r', 'late'), requestOf('r', 'late')]);
      expect(writes.at(-1)?.deliveries.map(({ endpoint }) => endpoint)).toEqual(['late']);
    });

    test('a batch keeps the order of its results, even where one watch is written again', async () => {
      contested.add('default/b');
      const ids = ['a', 'b', 'a', 'c', 'b'];
      const results = await registerAll(ids.map((id) => requestOf(id)));
      expect(results).toMatchObject([
        { watch: { runId: 'a' }, kind: 'created' },
        { watch: { runId: 'b' }, kind: 'created' },
        { watch: { runId: 'a' }, kind: 'merged' },
        { watch: { runId: 'c' }, kind: 'created' },
        { watch: { runId: 'b' }, kind: 'merged' },
      ]);
    });
  });

  describe('a watch that has as many webhooks as one may have', () => {
    const withWebhook = (number: number): Registration => ({
      ...requestOf('r'),
      subscriptions: [webhookTo(`https://a.example/${number}`, ['*'])],
    });

    test('a watch with the most webhooks takes no other, and remains unchanged', async () => {
      const results = await registerAll(Array.from({ length: 52 }, (_, at) => withWebhook(at)));
      expect(results.map(({ kind }) => kind)).toEqual([
        'created',
        ...Array.from({ length: 49 }, () => 'merged'),
        'too_many_webhooks',
        'too_many_webhooks',
      ]);
      const watch = stored.get('default/r')?.watch;
      expect(watch?.subscriptions).toHaveLength(50);
      expect(await registerAll([withWebhook(60)])).toEqual([{ kind: 'too_many_webhooks' }]);
      expect(stored.get('default/r')?.watch).toEqual(watch);
    });

    test('a watch with the most webhooks takes endpoints, and webhooks that it has already', async () => {
      await registerAll(Array.from({ length: 50 }, (_, at) => withWebhook(at)));
      const results = await registerAll([withWebhook(7), requestOf('r', 'ops')]);
      expect(results.map(({ kind }) => kind)).toEqual(['merged', 'merged']);
      expect(stored.get('default/r')?.watch.subscriptions).toHaveLength(51);
    });
  });
});
