import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { NEW_STATE } from '../../src/core/delivery/endpoint-state.ts';
import { isoTime } from '../../src/core/event/event.ts';
import { shownReceiver } from '../../src/core/delivery/receiver.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { WebhookService } from '../../src/http/webhooks.ts';
import { A_USER, newWatch, NOON, webhookTo } from '../support/builders.ts';
import { testDaemon } from '../support/daemon.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores();
afterAll(() => stores.close());

const changed: string[] = [];
const service = new WebhookService(
  testDaemon({ stores, watchNotes: { changed: ({ runId }) => void changed.push(runId) } }),
);

interface Filter {
  token?: string;
  source?: string;
}

const list = (query: Filter = {}) => service.list({ query, token: null });
const end = async (query: Filter) => (await service.end({ query, ...A_USER })).count;

const ops = { kind: 'endpoint' as const, endpoint: 'ops' };
const hook = (path: string, ...registeredBy: string[]) => ({
  ...webhookTo(`https://hooks.example/${path}`),
  ...(registeredBy.length > 0 && { registeredBy }),
});
const shown = (path: string) => shownReceiver(hook(path).receiver);

async function store(changes: Partial<Watch>): Promise<void> {
  const after = newWatch(changes);
  await stores.watches.commit({ before: null, after, events: [], deliveries: [] });
}

const subscriptionsOf = async (runId: string, source = 'default') =>
  (await stores.watches.get({ source, runId }))?.watch.subscriptions;

describe('webhooks of watches', () => {
  beforeAll(async () => {
    await store({ runId: 'r-1', subscriptions: [ops, hook('ci', 'ci')] });
    await store({ runId: 'r-2', subscriptions: [hook('ci', 'ci', 'ana'), hook('none')] });
    await store({ source: 'staging', runId: 'r-3', subscriptions: [hook('staging', 'ci')] });
    await store({ runId: 'r-4', subscriptions: [ops] });
    const ended = { state: 'cancelled' as const, endedAt: NOON };
    await store({ runId: 'r-5', subscriptions: [hook('ended', 'ci')], ...ended });
  });

  test('webhooks of active watches are listed by masked URL, with tokens, sources and health', async () => {
    const before = await stores.endpointStates.get(hook('ci').receiver);
    const failing = { ...NEW_STATE, breaker: 'open' as const, failingSince: NOON, failures: 5 };
    const limits = { most: 2, rate: null, deadlineMs: 10_000 };
    await stores.endpointStates.write(before, failing, { limits, now: NOON });
    const { data, more } = await list();
    expect(more).toBe(false);
    expect(data.toSorted((one, other) => one.watches - other.watches)).toMatchObject(
      expect.arrayContaining([
        expect.objectContaining({ url: shown('none'), registered_by: [], watches: 1 }),
        expect.objectContaining({ url: shown('staging'), sources: ['staging'] }),
        expect.objectContaining({
          url: shown('ci'),
          sources: ['default'],
          registered_by: ['ana', 'ci'],
          watches: 2,
          health: expect.objectContaining({ state: 'failing', failing_since: isoTime(NOON) }),
        }),
      ]),
    );
    expect(data).toHaveLength(3);
  });

  test('webhooks are listed by token and by source', async () => {
    const urls = async (filter: Filter) => (await list(filter)).data.map(({ url }) => url).sort();
    expect(await urls({ token: 'ana' })).toEqual([shown('ci')]);
    expect(await urls({ token: 'ci' })).toEqual([shown('ci'), shown('staging')].sort());
    expect(await urls({ token: 'ci', source: 'staging' })).toEqual([shown('staging')]);
    expect(await urls({ token: 'nobody' })).toEqual([]);
  });

  test('webhooks of a token end with it, but for those that another token registered too', async () => {
    expect(await end({ token: 'ci', source: 'default' })).toBe(1);
    expect(await subscriptionsOf('r-1')).toEqual([ops]);
    expect(await subscriptionsOf('r-2')).toEqual([hook('ci', 'ana'), hook('none')]);
    expect(await subscriptionsOf('r-3', 'staging')).toEqual([hook('staging', 'ci')]);
    expect(changed.toSorted()).toEqual(['r-1', 'r-2']);
    expect(await end({ token: 'ci', source: 'default' })).toBe(0);
    expect((await list({ token: 'ci' })).data).toMatchObject([{ url: shown('staging') }]);
  });

  test('webhooks of a source end whichever token registered them, in all of many watches', async () => {
    const runIds = Array.from({ length: 450 }, (_, at) => `many-${at}`);
    const subscriptions = [hook('many', 'ci'), hook('more'), ops];
    await Promise.all(runIds.map((runId) => store({ source: 'many', runId, subscriptions })));
    expect((await list({ source: 'many' })).data).toMatchObject([
      { watches: 450 },
      { watches: 450 },
    ]);
    expect(await end({ source: 'many' })).toBe(900);
    expect((await list({ source: 'many' })).data).toEqual([]);
    const left = await Promise.all(runIds.map((runId) => subscriptionsOf(runId, 'many')));
    expect(left.every((one) => one?.length === 1)).toBe(true);
  });

  test('a list has the 200 webhooks of the newest watches, and says that there are more', async () => {
    const numbers = Array.from({ length: 205 }, (_, at) => at);
    for (const at of numbers) {
      await store({
        source: 'each',
        runId: `each-${at}`,
        subscriptions: [hook(`each-${at}`, 'each')],
      });
    }
    const { data, more } = await list({ token: 'each' });
    expect(data).toHaveLength(200);
    expect(data[0]?.url).toBe(shown('each-204'));
    expect(more).toBe(true);
  });
});
