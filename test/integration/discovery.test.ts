import { afterAll, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { configSchema } from '../../src/config/schema.ts';
import { pageMember } from '../../src/core/feed/page-name.ts';
import type { ListQuestion, RunList } from '../../src/core/feed/run-list.ts';
import { RunwatchError } from '../../src/core/errors.ts';
import type { SourcePort } from '../../src/core/source/port.ts';
import type { Subscription } from '../../src/core/watch/watch.ts';
import type { SystemEvent } from '../../src/process.ts';
import { ListDiscovery, RememberedCursors, watchDiscovered } from '../../src/source/discovery.ts';
import { ListFeed } from '../../src/source/list-feed.ts';
import { SourceLimiter } from '../../src/source/limiter.ts';
import { SourceReader } from '../../src/source/reader.ts';
import type { RequestClaim } from '../../src/source/schedule.ts';
import { SourceThrottle } from '../../src/source/throttle.ts';
import { endWatch } from '../../src/watches/end.ts';
import { registerWatches } from '../../src/watches/register.ts';
import { tokensOf } from '../../src/redis/leases.ts';
import { NOXUS_TRAITS } from '../../src/noxus/traits.ts';
import { DiscoveryStore } from '../../src/redis/stores/discovery-store.ts';
import { newMark } from '../support/builders.ts';
import { testProcess, testSource } from '../support/daemon.ts';
import { FakeRunList } from '../support/fake-run-list.ts';
import { closeSource, openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const stores = openStores();
const { watches, redis, keys } = stores;
afterAll(() => stores.close());

const everybody: Subscription = { kind: 'endpoint', endpoint: 'everybody' };
const ops: Subscription = { kind: 'endpoint', endpoint: 'ops' };
const config = configSchema.parse({
  data_dir: '/nowhere',
  sources: { default: { api_key: 'k', discover: { workflows: 'all', every: '1h' } } },
  endpoints: { everybody: { type: 'log' } },
  watches: { timeout: '1h' },
});

const poller = {
  process: testProcess({ config, stores, endpoints: { wants: () => true } }),
  sourceOf: () => undefined,
};

function discoverer(own: Parameters<typeof testProcess>[0] = {}) {
  const source = testSource({ process: testProcess({ config, stores, ...own }) });
  return (runIds: string[]) =>
    watchDiscovered(
      source,
      runIds.map((id) => ({ id, isFoundWaiting: false })),
    );
}

async function subscriptionsOf(runId: string) {
  return (await watches.get({ source: 'default', runId }))?.watch.subscriptions;
}

describe('a discovered run', () => {
  test('a discovered run is watched once, however often it is discovered, and is due at once', async () => {
    const discover = discoverer();
    expect(await discover(['new-1', 'new-2'])).toBe(2);
    expect(await discover(['new-1', 'new-2', 'new-3'])).toBe(1);
    const due = await stores.requests.dueTimes('default', ['new-1', 'new-2', 'new-3']);
    for (const time of due) expect(time).toBeLessThanOrEqual(Date.now());
    expect(await subscriptionsOf('new-3')).toEqual([everybody]);
  });

  test('discovery does not change a run that is or was watched', async () => {
    const discover = discoverer();
    const key = { source: 'default', runId: 'registered' };
    await registerWatches(poller, [
      { ...key, subscriptions: [ops] },
      { ...key, runId: 'unwatched', subscriptions: [ops] },
    ]);
    await endWatch(poller.process, { ...key, runId: 'unwatched' });
    expect(await discover(['registered', 'unwatched'])).toBe(0);
    expect(await subscriptionsOf('registered')).toEqual([ops]);
    expect((await watches.get({ ...key, runId: 'unwatched' }))?.watch.state).toBe('cancelled');
    expect(await stores.requests.dueTimes('default', ['unwatched'])).toEqual([null]);
  });

  test('a registration made during discovery keeps its own subscriptions', async () => {
    const key = { source: 'default', runId: 'raced' };
    const discover = discoverer({
      stores: {
        ...stores,
        watches: {
          getMany: (wanted) => watches.getMany(wanted),
          async commitMany(changes) {
            await registerWatches(poller, [{ ...key, subscriptions: [ops] }]);
            return watches.commitMany(changes);
          },
        },
      },
    });
    expect(await discover(['raced'])).toBe(0);
    expect(await subscriptionsOf('raced')).toEqual([ops]);
  });
});

test('each process goes on from the cursor that it has seen last, where the store lost it', async () => {
  const list: RunList = { source: 'default', workflowId: 'lost' };
  const store = new DiscoveryStore(redis, keys);
  const [one, two, late] = [1, 2, 3].map(() => new RememberedCursors(store, [list]));
  const [first, next] = [3, 9].map((newest) => ({ floor: 1, newest, known: ['a'] }));
  const key = keys.discoveryCursor(list);
  await redis.set(key, JSON.stringify(first));
  expect(await one!.cursor(list)).toEqual(first);
  await redis.set(key, JSON.stringify(next));
  await Promise.all([one!.refresh(), two!.refresh()]);
  await redis.del(key);
  await Promise.all([one!.refresh(), two!.refresh()]);
  expect(await Promise.all([one!, two!, late!].map((each) => each.cursor(list)))).toEqual([
    next,
    next,
    null,
  ]);
});

test('a further page that probes a source which another process has closed opens it', async () => {
  const list: RunList = { source: 'closed', workflowId: null };
  const world = new FakeRunList();
  world.begin(3, 0);
  const readPage = async (question: ListQuestion) => world.readPage(question);
  const processOf = (id: string) => {
    const log = pino({ level: 'silent' });
    const process = testProcess({ config, stores, log, id, newToken: tokensOf(id) });
    const traits = { ...NOXUS_TRAITS, lists: { ...NOXUS_TRAITS.lists!, pageSize: 2 } };
    const schedule = { renew: async () => true };
    const source = testSource({ process, name: list.source, traits, schedule });
    return Object.assign(source, {
      limiter: new SourceLimiter(process, list.source, { requests: 1_000, perMs: 1_000 }),
      throttle: new SourceThrottle(source, 'today'),
      reader: new SourceReader(source, { readPage } as SourcePort),
    });
  };
  const [own, other] = [processOf('own'), processOf('other')];
  const reasons: (string | undefined)[] = [];
  const look = async () => {
    reasons.push((await stores.sources.read(list.source)).state?.closed?.reason);
  };
  const read = async (_: unknown, { page, size }: { page: number; size: number }) => {
    const outcome = await own.reader.readPage({ workflowId: null, page, size });
    await look();
    if (world.pages.length > 1) return { outcome, nextMs: null };
    const answer = { kind: 'rate_limited', retryAfterMs: 100, message: 'status 429' } as const;
    await other.throttle.note(answer, other.throttle.asks());
    await look();
    return { outcome, nextMs: null };
  };
  Object.assign(own, { lists: { read } });
  const cursors = new RememberedCursors(stores.discoveries, [list]);
  const { signal } = new AbortController();
  const claim = { member: pageMember({ ...list, page: 1 }), token: 'own.1' } as RequestClaim;
  const pass = new ListDiscovery(own, list, { cursors, signal });
  await pass.read({ list, claim, plan: null }, { settle: () => undefined });
  expect(world.pages.slice(0, 2)).toEqual([1, 2]);
  expect(reasons.slice(0, 3)).toEqual([undefined, 'rate_limited', undefined]);
  expect(await redis.exists(keys.sourceAdmission(list.source).probe)).toBe(0);
});

test('a further page without an answer holds up no other probe of its source', async () => {
  const list: RunList = { source: 'given-up', workflowId: null };
  const { probe: lease } = keys.sourceAdmission(list.source);
  const world = new FakeRunList();
  world.begin(3, 0);
  const wasHeld: number[] = [];
  const readPage = async (question: ListQuestion) => {
    wasHeld.push(await redis.exists(lease));
    if (question.page > 1) throw new RunwatchError('this process stops', { code: 'aborted' });
    await closeSource(stores.sources, list.source, Date.now());
    return world.readPage(question);
  };
  const log = pino({ level: 'silent' });
  const process = testProcess({ config, stores, log, newToken: tokensOf('given-up') });
  const traits = { ...NOXUS_TRAITS, lists: { ...NOXUS_TRAITS.lists!, pageSize: 2 } };
  const schedule = { renew: async () => true };
  const source = testSource({ process, name: list.source, traits, schedule });
  const limiter = new SourceLimiter(process, list.source, { requests: 1_000, perMs: 1_000 });
  const reader = new SourceReader(source, { readPage } as SourcePort);
  Object.assign(source, { limiter, reader, lists: new ListFeed(source) });
  const cursors = new RememberedCursors(stores.discoveries, [list]);
  const { signal } = new AbortController();
  const claim = { member: pageMember({ ...list, page: 1 }), token: 'own.1' } as RequestClaim;
  const pass = new ListDiscovery(source, list, { cursors, signal });
  const reading = pass.read({ list, claim, plan: null }, { settle: () => undefined });
  await expect(reading).rejects.toThrow('this process stops');
  await waitFor(async () => (await redis.exists(lease)) === 0);
  expect(wasHeld).toEqual([0, 1]);
});

describe('the claim of the head of a list', () => {
  const store = new DiscoveryStore(redis, keys);
  const cursor = { floor: 5, newest: 9, known: ['a'] };
  let lists = 0;
  const newList = (): RunList => ({ source: 'default', workflowId: `workflow-${(lists += 1)}` });

  test('only the claim of the head of a list moves its cursor', async () => {
    const list = newList();
    const member = pageMember({ ...list, page: 1 });
    await stores.requests.enterMissing(list.source, 'list', [member]);
    const limit = { requests: 1_000, perMs: 1_000 };
    const ask = {
      token: 'one',
      most: 1,
      limit,
      leaseMs: 60_000,
      roundMs: 0,
    };
    await waitFor(async () => {
      const { claimed } = await stores.requests.claim(list.source, ask);
      return claimed[0]?.member === member;
    });
    expect(await store.moveCursor(list, { member, token: 'other.1' }, cursor)).toBeNull();
    expect(await store.cursors([list])).toEqual([null]);
    expect(await store.moveCursor(list, { member, token: 'one.1' }, cursor)).toEqual([]);
    expect(await store.cursors([list, { ...list, workflowId: null }])).toEqual([cursor, null]);
  });

  /** What one process notes of lists that are read each hour. */
  function process() {
    const raised: SystemEvent[] = [];
    const source = testSource({
      process: testProcess({
        config,
        stores: { discoveries: store },
        raise: async (event, write) => {
          if ((await write?.(null)) !== null) raised.push(event);
        },
        now: () => 100_000,
      }),
    });
    const cursors = new RememberedCursors(store, []);
    const { signal } = new AbortController();
    const of = (list: RunList) => new ListDiscovery(source, list, { cursors, signal });
    return {
      fail: (list: RunList, message: string) => of(list).failed(message),
      recover: (list: RunList) => of(list).recovered(),
      raised,
    };
  }

  test('failures of a list in a row are counted, and their begin and end are reported once', async () => {
    const [list, other] = [newList(), newList()];
    const [one, two] = [process(), process()];
    await Promise.all([one.fail(list, 'status 500'), two.fail(list, 'status 500')]);
    const failures = (await store.troubles([list]))[0]?.failures ?? 0;
    expect(await one.fail(list, 'status 403')).toBe(failures + 1);
    expect(await store.troubles([list, other])).toEqual([
      { message: 'status 403', failures: failures + 1, since: 100_000 },
      null,
    ]);
    await Promise.all([one.recover(list), two.recover(list)]);
    const help = expect.stringMatching(/./);
    const since = '1970-01-01T00:01:40.000Z';
    expect([...one.raised, ...two.raised]).toMatchObject([
      { type: 'discovery.unavailable', data: { source: 'default', since, help } },
      { type: 'discovery.recovered', data: { since, lasted_ms: 0, help } },
    ]);
    expect(await one.fail(list, 'status 500')).toBe(1);
  });

  test('a failure is remembered until long after the next attempt, however rarely a list is read', async () => {
    const list = newList();
    const { fail, raised } = process();
    await fail(list, 'status 500');
    const pauseMs = 900_000;
    const nextInMs = 3_600_000 + pauseMs;
    expect(await redis.pttl(keys.discoveryTrouble(list))).toBeGreaterThan(nextInMs + pauseMs);
    await fail(list, 'status 500');
    expect(await redis.pttl(keys.discoveryTrouble(list))).toBeGreaterThan(nextInMs + pauseMs);
    expect(raised).toHaveLength(1);
  });

  test('the event of a failure is written in the step that notes the failure', async () => {
    const list = newList();
    const id = `evt_${newMark()}`;
    const timestamp = new Date().toISOString();
    const body = JSON.stringify({ id, type: 'discovery.unavailable', timestamp, data: {} });
    const trouble = { message: 'status 500', failures: 1, since: 1 };
    const event = { id, body, deliveries: [] };
    expect(await store.beginTrouble(list, trouble, { keptMs: 60_000, event })).toEqual([]);
    expect(await store.beginTrouble(list, trouble, { keptMs: 60_000, event })).toBeNull();
    const { items } = await stores.events.list({ withOwn: true }, { limit: 10 });
    expect(items.filter(({ event: one }) => one.id === id)).toHaveLength(1);
  });
});
