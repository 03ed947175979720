import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { configSchema } from '../../src/config/schema.ts';
import { noCounts } from '../../src/core/alert/alert.ts';
import { newDelivery, withheld } from '../../src/core/delivery/delivery.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { Subscription, WatchKey } from '../../src/core/watch/watch.ts';
import { Janitor } from '../../src/daemon/janitor.ts';
import { skipOutstanding } from '../../src/deliver/skip-outstanding.ts';
import { purgeWatch } from '../../src/watches/purge.ts';
import type { RetentionStore } from '../../src/redis/stores/retention-store.ts';
import { testProcess } from '../support/daemon.ts';
import { limitedTo } from '../support/endpoints.ts';
import { newMark, newWatch, NOON, observeContext, snapshot } from '../support/builders.ts';
import { bytesOf, makeFull, makeRoom } from '../support/full-redis.ts';
import { startPrivateRedis, type PrivateRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const HOUR = 3_600_000;
const YEARS = 10 * 365 * 24 * HOUR;

const ops: Subscription = { kind: 'endpoint', endpoint: 'ops' };
const limits = { most: 4, rate: null, deadlineMs: 15_000 };

let server: PrivateRedis;
let stores: ReturnType<typeof openStores>;
let janitor: Janitor | null = null;

beforeAll(async () => {
  server = await startPrivateRedis();
  stores = openStores({ url: server.url, prefix: 'full' });
});
afterAll(async () => {
  await stores.close();
  await server.stop();
});
beforeEach(async () => {
  await makeRoom(stores.redis);
  await stores.redis.flushall();
});
afterEach(async () => {
  await janitor?.stop();
  janitor = null;
});

/** A run with two deliveries, which remain pending where that is asked. */
async function aRun(
  runId: string,
  { status = 'failed', arePending = false }: { status?: string; arePending?: boolean } = {},
): Promise<WatchKey> {
  const key = { source: 'default', runId };
  const first = newWatch({ ...key, subscriptions: [ops], metadata: { note: 'x'.repeat(500) } });
  const schedule = { does: 'enter', withinMs: 60_000, kind: 'watch' } as const;
  await stores.watches.commit({ before: null, after: first, events: [], deliveries: [], schedule });
  const before = (await stores.watches.get(key))!;
  const run = snapshot({ id: runId, status });
  const seen = observe(before.watch, { kind: 'run', run }, observeContext(NOON));
  const planned = ['ops', 'chat'].map((endpoint) => {
    return newDelivery(seen.watch, seen.events[0]!, endpoint, NOON);
  });
  const change = { before, after: seen.watch, events: seen.events, deliveries: planned };
  const ended = seen.watch.state === 'active' ? {} : { schedule: { does: 'leave' as const } };
  await stores.watches.commit({ ...change, ...ended });
  for (const { id } of arePending ? [] : planned) {
    const stored = (await stores.deliveries.get(id))!;
    const after = withheld(stored.delivery, 'skipped');
    await stores.outbox.withhold({ before: stored, after, limits, now: NOON });
  }
  return key;
}

async function runs(count: number, isPacked: (at: number) => boolean): Promise<WatchKey[]> {
  const keys: WatchKey[] = [];
  for (let at = 0; at < count; at += 1) {
    const key = await aRun(`run-${at}`);
    keys.push(key);
    if (isPacked(at)) expect(await stores.history.pack(key)).toBe('packed');
  }
  return keys;
}

async function raise(): Promise<void> {
  const id = `evt_${newMark()}`;
  const event = { id, type: 'endpoint.failing', timestamp: new Date(NOON).toISOString() };
  const body = JSON.stringify({ ...event, data: { endpoint: 'ops' } });
  await stores.events.raise({ id, body, deliveries: [] });
}

async function anAlertAndASilence(): Promise<void> {
  const alert = {
    id: 'alr_0123456789abcdef0123_0123456789',
    rule: 'failed-runs',
    labels: {},
    state: 'resolved' as const,
    severity: 'error' as const,
    owner: null,
    annotations: {},
    count: 3,
    runsTotal: 3,
    runs: [],
    startedAt: NOON,
    updatedAt: NOON,
    resolvedAt: NOON,
    reason: null,
    acknowledged: null,
    notified: [],
  };
  const nothing = { token: null, read: new Map(), changed: [], counts: noCounts(), events: [] };
  await stores.alerts.commit({ ...nothing, resolved: [alert] });
  const times = { startsAt: NOON, until: NOON + 1, createdAt: NOON };
  const silence = { id: 'sil_1', matchers: {}, by: 'ana', comment: '', key: null, ...times };
  await stores.silences.add(silence);
}

/** Starts what keeps the store small, two hours from now. */
function clean({
  retentionMs = HOUR,
  retention = stores.retention,
}: { retentionMs?: number; retention?: RetentionStore } = {}) {
  const lines: { level: number; msg: string; error?: string }[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const config = configSchema.parse({ data_dir: '/nowhere' });
  config.watches.retention = retentionMs;
  Object.assign(config.delivery, { retention: retentionMs, keep: 1_000_000 });
  janitor = new Janitor(
    testProcess({
      config,
      stores: { ...stores, retention },
      now: () => Date.now() + 2 * HOUR,
      log,
    }),
  );
  janitor.start();
  return lines;
}

async function left() {
  const [{ items }, { planned }, own] = await Promise.all([
    stores.watches.list({}, { limit: 200 }),
    stores.deliveries.counts(),
    stores.redis.zcard(stores.keys.ownEvents),
  ]);
  return { watches: items.length, deliveries: planned, own };
}

const NOTHING = { watches: 0, deliveries: 0, own: 0 };

test('retention frees the memory of a Redis that is full', async () => {
  await runs(30, (at) => at % 2 === 0);
  for (let at = 0; at < 5; at += 1) await raise();
  await anAlertAndASilence();
  const before = await bytesOf(stores.redis);
  await makeFull(stores.redis);
  const lines = clean();
  await waitFor(async () => {
    const alerts = await stores.redis.zcard(stores.keys.alertsResolved);
    const silences = await stores.silences.all();
    return (
      JSON.stringify(await left()) === JSON.stringify(NOTHING) && alerts + silences.length === 0
    );
  });
  expect(await bytesOf(stores.redis)).toBeLessThan(before / 10);
  await expect(stores.redis.set('more', 'x')).rejects.toThrow('OOM');
  expect(lines.filter(({ level }) => level >= 40)).toEqual([]);
});

test('a watch of a full Redis that must remain does not stand in the way of the others', async () => {
  const kept = await aRun('kept', { arePending: true });
  await runs(3, () => false);
  await makeFull(stores.redis);
  clean();
  await waitFor(async () => (await left()).watches === 1);
  expect(await stores.watches.get(kept)).not.toBeNull();
});

test('packing frees the memory of a Redis that is full', async () => {
  await runs(30, () => false);
  await aRun('kept', { arePending: true });
  const before = await bytesOf(stores.redis);
  await makeFull(stores.redis);
  const lines = clean({ retentionMs: YEARS });
  await waitFor(async () => (await stores.history.size()).watches === 30);
  expect(await bytesOf(stores.redis)).toBeLessThan(before / 2);
  expect(lines.filter(({ level }) => level >= 40)).toEqual([]);
});

test('a watch is purged from a Redis that is full, whatever it waits for', async () => {
  const { outbox } = stores;
  const now = () => NOON;
  const process = testProcess({ stores, endpoints: limitedTo(() => limits), now });
  const purge = (key: WatchKey) =>
    purgeWatch(process, key, {
      leaveAlerts: async () => undefined,
      skipOutstanding: (one) => skipOutstanding(process, one),
    });
  const found = [
    await aRun('active', { status: 'awaiting_event', arePending: true }),
    await aRun('ended', { arePending: true }),
    await aRun('settled'),
    ...(await runs(1, () => true)),
  ];
  const claimed = await outbox.claim({ pool: 'ops', limits, most: 1, token: 'p.1', askedAt: 0 });
  expect(claimed.claims).toHaveLength(1);
  const before = await bytesOf(stores.redis);
  await makeFull(stores.redis);
  for (const key of found) expect(await purge(key)).toBe(true);
  expect(await left()).toEqual(NOTHING);
  expect(await bytesOf(stores.redis)).toBeLessThan(before);
});

test('records that cannot be read do not keep the others from being forgotten', async () => {
  const [one, two] = (await runs(30, (at) => at !== 1)) as [WatchKey, WatchKey];
  await raise();
  const { redis, keys } = stores;
  const { items } = await stores.deliveries.list({ runs: [two] }, { limit: 1 });
  await redis.hset(keys.delivery(items[0]!.id), 'doc', '{');
  await redis.setrange(keys.watch(one), 26, 'garbage');
  const lines = clean();
  await waitFor(async () => (await redis.zcard(keys.ownEvents)) === 0);
  await waitFor(async () => (await redis.hlen(keys.watchNames + '0')) === 2);
  expect(await redis.exists(keys.watch(one), keys.watch(two))).toBe(2);
  const said = lines.filter(({ level }) => level >= 40).map(({ msg }) => msg);
  expect(said).toContain('retention');
});

test('a step of retention that fails does not keep the next ones from running', async () => {
  await runs(3, () => true);
  await raise();
  const broken = async () => {
    throw new Error('no step');
  };
  const retention = Object.assign(Object.create(stores.retention) as RetentionStore, {
    forgetDeliveries: broken,
    forgetDeliveriesBeyond: broken,
  });
  const lines = clean({ retention });
  await waitFor(async () => JSON.stringify(await left()) === JSON.stringify(NOTHING));
  await waitFor(() => lines.some(({ msg, error }) => msg === 'retention' && error === 'no step'));
});
