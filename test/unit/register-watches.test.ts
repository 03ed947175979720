import { beforeEach, describe, expect, test } from '@jest/globals';
import type { Registration } from '../../src/core/watch/register.ts';
import type { WatchChange } from '../../src/core/watch/watch-change.ts';
import { watchId, type StoredWatch, type WatchKey } from '../../src/core/watch/watch.ts';
import { createRegisterWatches } from '../../src/poll/register-watches.ts';
import { NOON, webhookTo } from '../support/builders.ts';

const stored = new Map<string, StoredWatch>();
let writes: WatchChange[] = [];
/** Watches for which the next write finds another process's write. */
const contested = new Set<string>();

const registerWatches = createRegisterWatches({
  watches: {
    getMany: async (keys: WatchKey[]) => keys.map((key) => stored.get(watchId(key)) ?? null),
    async commitMany(changes: WatchChange[]) {
      return changes.map((change) => {
        const id = watchId(change.after);
        if (contested.delete(id)) return null;
        writes.push(change);
        stored.set(id, { watch: change.after, version: writes.length });
        return [];
      });
    },
  },
  scheduleOf: () => undefined,
  dispatch: () => undefined,
  wants: () => true,
  defaults: { timeoutMs: 60_000, minIntervalMs: 1_000, profile: 'normal' },
  now: () => NOON,
});

function request(runId: string, endpoint = 'ops', metadata = {}): Registration {
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
      request('r', `endpoint-${at % 3}`, { at: String(at) }),
    );
    const results = await registerWatches(requests);
    expect(writes).toHaveLength(1);
    expect(results.map((result) => result?.kind)).toEqual([
      'created',
      ...Array.from({ length: 999 }, () => 'merged'),
    ]);
    expect(results[0]?.watch).toMatchObject({
      metadata: { at: '999' },
      subscriptions: ['endpoint-0', 'endpoint-1', 'endpoint-2'].map((endpoint) => ({ endpoint })),
    });
  });

  test('a batch sends each new subscription one event of a run that has ended', async () => {
    await registerWatches([request('r', 'first')]);
    const { watch } = stored.get('default/r')!;
    const notice = { eventId: 'evt_1', type: 'run.failed' as const };
    stored.set('default/r', { watch: { ...watch, state: 'finished', notice }, version: 1 });
    await registerWatches([request('r', 'first'), request('r', 'late'), request('r', 'late')]);
    expect(writes.at(-1)?.deliveries.map(({ endpoint }) => endpoint)).toEqual(['late']);
  });

  test('a batch keeps the order of its results, even where one watch is written again', async () => {
    contested.add('default/b');
    const ids = ['a', 'b', 'a', 'c', 'b'];
    const results = await registerWatches(ids.map((id) => request(id)));
    expect(results.map((result) => `${result?.watch.runId} ${result?.kind}`)).toEqual([
      'a created',
      'b created',
      'a merged',
      'c created',
      'b merged',
    ]);
  });
});

describe('a watch that has as many webhooks as one may have', () => {
  const withWebhook = (number: number): Registration => ({
    ...request('r'),
    subscriptions: [webhookTo(`https://a.example/${number}`, ['*'])],
  });

  test('a watch with the most webhooks takes no other, and remains unchanged', async () => {
    const results = await registerWatches(Array.from({ length: 52 }, (_, at) => withWebhook(at)));
    expect(results.map((result) => result?.kind ?? null)).toEqual([
      'created',
      ...Array.from({ length: 49 }, () => 'merged'),
      null,
      null,
    ]);
    const watch = stored.get('default/r')?.watch;
    expect(watch?.subscriptions).toHaveLength(50);
    expect(await registerWatches([withWebhook(60)])).toEqual([null]);
    expect(stored.get('default/r')?.watch).toEqual(watch);
  });

  test('a watch with the most webhooks takes endpoints, and webhooks that it has already', async () => {
    await registerWatches(Array.from({ length: 50 }, (_, at) => withWebhook(at)));
    const results = await registerWatches([withWebhook(7), request('r', 'ops')]);
    expect(results.map((result) => result?.kind)).toEqual(['merged', 'merged']);
    expect(stored.get('default/r')?.watch.subscriptions).toHaveLength(51);
  });
});
