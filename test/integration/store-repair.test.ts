import { afterAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { NOON } from '../support/builders.ts';
import { dumpRedis } from '../support/dump-redis.ts';
import { aRun, fillStore, runKey as keyOf, skip } from '../support/kept-runs.ts';
import { testRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';

const place = testRedis();
const stores = openStores(place);
const { redis, keys, watches, events, deliveries, history, outbox, repairs } = stores;
afterAll(() => stores.close());

beforeEach(async () => {
  await redis.del(...(await stores.keysLeft()), 'none');
});

const fill = () => fillStore(stores);
const run = (runId: string, status: string) => aRun(stores, runId, status);

const since = NOON - 1;

async function countersAddUp(): Promise<boolean> {
  const { addUp, next } = await repairs.compareCounters(0);
  expect(next).toBe(0);
  return addUp;
}

const whole = { missing: 0, lost: 0, dropped: 0, recounted: 0, failures: [] };

/** Everything but the clock; indexes are in no order, and some times of sorted sets follow the clock. */
async function dump(): Promise<Record<string, string>> {
  const found = await dumpRedis(place.url, place.prefix);
  return Object.fromEntries(
    found
      .filter(({ key }) => key !== keys.clock)
      .map(({ key, text }) => [key, isTimed(key) ? timeless(text) : sorted(key, text)]),
  );
}

function isTimed(key: string): boolean {
  return [keys.ownEvents, keys.batchSources, keys.deliveriesSettled, keys.packDue].includes(key);
}

function timeless(text: string): string {
  const flat = JSON.parse(text) as string[];
  return JSON.stringify(flat.filter((_, at) => at % 2 === 0).sort());
}

function sorted(key: string, text: string): string {
  const value: unknown = JSON.parse(text);
  const isIndex = /:(watches|events|deliveries):/.test(key);
  if (Array.isArray(value) || typeof value !== 'object' || value === null) return text;
  const fields = Object.entries(value as Record<string, string>).map(([field, held]) => {
    return JSON.stringify([field, isIndex ? held.split('').sort().join('') : held]);
  });
  return fields.sort().join();
}

/** Deletes every key with a name that goes on like this behind the prefix. */
async function lose(name: string): Promise<void> {
  const beginning = `${keys.queuePrefix}:${name}`;
  const found = (await stores.keysLeft()).filter((key) => key.startsWith(beginning));
  expect(found.length).toBeGreaterThan(0);
  await redis.del(...found);
}

const DERIVED = [
  'watches:',
  'watches:state:',
  'events:',
  'deliveries:',
  'watch-names:',
  'watch-names:chunks',
  'event-log:',
  'event-log:chunks',
  'delivery-log:',
  'watches-changed',
  'watches-ended',
  'watch-sources',
  'run-ids:',
  'watches-of-tokens',
  'active-runs',
  'pack-due',
  'live-events:',
  'live-deliveries:',
  'event-deliveries:',
  'own-events',
  'batch-sources',
  'deliveries-settled',
  'packed',
  'ledger',
];

describe('a pass through all records', () => {
  test('finds nothing to put back in a whole store, and changes nothing', async () => {
    await fill();
    const before = await dump();
    expect(await repairs.all(since)).toEqual(whole);
    expect(await dump()).toEqual(before);
    expect(await countersAddUp()).toBe(true);
  });

  test.each(DERIVED)('derives the keys %s again from the records', async (name) => {
    await fill();
    const before = await dump();
    await lose(name);
    const { failures, lost, dropped, ...put } = await repairs.all(since);
    expect({ failures, lost, dropped }).toEqual({ failures: [], lost: 0, dropped: 0 });
    expect(put.missing + put.recounted).toBeGreaterThan(0);
    expect(await dump()).toEqual(before);
    expect(await repairs.all(since)).toEqual(whole);
  });

  test('drops what points to watches without a record, and counts the others', async () => {
    await fill();
    await redis.del(keys.watch(keyOf('packed')), keys.watch(keyOf('settled')));
    expect(await repairs.all(since)).toMatchObject({ missing: 0, lost: 0, failures: [] });
    const { items, total } = await watches.list({}, { limit: 10 });
    expect(items.map(({ runId }) => runId)).toEqual(['ended', 'waiting', 'active']);
    expect(total).toBe(3);
    expect(await redis.hgetall(keys.watchSources)).toEqual({ default: '3' });
    const { planned, byState } = await deliveries.counts();
    expect({ planned, pending: byState.pending, skipped: byState.skipped }).toEqual({
      planned: 4,
      pending: 4,
      skipped: 0,
    });
    expect(await repairs.all(since)).toEqual(whole);
  });

  test('counts a watch once for its token after it was lost and registered again', async () => {
    await run('active', 'running');
    await redis.del(keys.watch(keyOf('active')));
    await run('active', 'running');
    expect(await redis.hgetall(keys.watchesOfTokens)).toEqual({ ci: '2' });
    await watches.dropLost(await watches.lost(10));
    await repairs.all(since);
    expect(await redis.hgetall(keys.watchesOfTokens)).toEqual({ ci: '1' });
    expect(await repairs.all(since)).toEqual(whole);
  });

  test('counts events without a record as lost, so that their watches can be packed', async () => {
    const [id = ''] = await run('ended', 'failed');
    await skip(stores, id);
    const { items } = await events.list(
      { runs: [{ source: 'default', runId: 'ended' }] },
      { limit: 10 },
    );
    await redis.del(keys.event(items[0]!.event.id));
    expect(await repairs.all(since)).toMatchObject({ lost: 1, failures: [] });
    expect(await stores.epochs.damage()).toEqual({ deliveries: 0, events: 1 });
    expect(await history.pack(keyOf('ended'))).toBe('packed');
    expect(await repairs.all(since)).toEqual(whole);
  });

  test('keeps outstanding deliveries without a record for the comparison that counts them', async () => {
    const [id = ''] = await run('ended', 'failed');
    await redis.del(keys.delivery(id));
    await repairs.all(since);
    await outbox.compare(undefined, 100);
    const [seen = ''] = await redis.hkeys(keys.damage);
    await redis.hset(keys.damage, seen, 0);
    expect(await outbox.compare(undefined, 100)).toMatchObject({ lost: 1 });
    expect(await stores.epochs.damage()).toEqual({ deliveries: 1, events: 0 });
    await repairs.all(since);
    expect((await deliveries.counts()).byState.pending).toBe(0);
  });
});

test.each(['watch-number', 'event-place', 'delivery-number'])(
  'no number stands for two records after the counter %s was lost',
  async (name) => {
    await fill();
    await lose(name);
    await run('later', 'failed');
    expect(await repairs.all(since)).toEqual(whole);
    expect((await watches.list({}, { limit: 10 })).total).toBe(6);
    expect(
      (await events.list({ runs: [{ source: 'default', runId: 'later' }] }, { limit: 10 })).items,
    ).toHaveLength(1);
    expect((await deliveries.list({}, { limit: 10 })).total).toBe(7);
  },
);

/** Compares records until all have been. */
async function compareAll(): Promise<{ missing: number; lost: number }> {
  const total = { missing: 0, lost: 0 };
  let cursor = '0';
  do {
    const step = await repairs.compareSome(cursor, [keyOf('active')], since);
    expect(step.failures).toEqual([]);
    total.missing += step.missing;
    total.lost += step.lost;
    cursor = step.next;
  } while (cursor !== '0');
  return total;
}

test.each([
  'watches:',
  'events:',
  'deliveries:',
  'watch-names:',
  'event-log:',
  'delivery-log:',
  'watches-changed',
  'run-ids:',
  'live-events:',
])(
  'a comparison finds that the keys %s were lost, also where they were begun anew',
  async (name) => {
    await fill();
    expect(await compareAll()).toEqual({ missing: 0, lost: 0 });
    await lose(name);
    await run('later', 'running');
    expect((await compareAll()).missing).toBeGreaterThan(0);
  },
);

test('a comparison counts events of live watches without a record as lost', async () => {
  await run('ended', 'failed');
  await lose('event:');
  expect(await compareAll()).toMatchObject({ lost: 1 });
});

test('comparisons of a whole store ask Redis a bounded number of times, however much is kept', async () => {
  for (let at = 0; at < 60; at += 1) {
    for (const id of await run(`packed-${at}`, 'completed')) await skip(stores, id);
    expect(await history.pack(keyOf(`packed-${at}`))).toBe('packed');
  }
  const sent = jest.spyOn(redis, 'sendCommand');
  await repairs.compareSome('0', [keyOf('packed-1'), keyOf('packed-2')], since);
  await repairs.compareCounters(0);
  expect(sent.mock.calls.length).toBeLessThan(80);
  sent.mockRestore();
});

test('counters are compared a few at a time where their indexes are large', async () => {
  await fill();
  const many = Object.fromEntries(Array.from({ length: 3_000 }, (_, at) => [at, '\x01']));
  await redis.hset(keys.watches('source', 'default'), many);
  expect(await repairs.compareCounters(0)).toEqual({ addUp: false, next: 1 });
  expect(await repairs.compareCounters(1)).toEqual({ addUp: true, next: 0 });
});

test('a few records show that an index was lost, and a counter that does not add up', async () => {
  await fill();
  await lose('event-log:');
  const { missing } = await compareAll();
  expect(missing).toBeGreaterThan(0);
  await lose('ledger');
  expect(await countersAddUp()).toBe(false);
  await repairs.all(since);
  expect(await countersAddUp()).toBe(true);
  await lose('watch-sources');
  expect(await countersAddUp()).toBe(false);
});
