import { afterAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { newDelivery } from '../../src/core/delivery/delivery.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { Verifier } from '../../src/redis/verify/verifier.ts';
import { NOON, observeContext, snapshot } from '../support/builders.ts';
import { dumpRedis } from '../support/dump-redis.ts';
import { aBatch, aRun, fillStore, runKey, skip, someAlerts } from '../support/kept-runs.ts';
import { testRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';

const place = testRedis();
const stores = openStores(place);
const { redis, keys, watches, history } = stores;

afterAll(() => stores.close());

beforeEach(async () => {
  await redis.del(...(await stores.keysLeft()), 'none');
  await fillStore(stores);
  for (const id of await aRun(stores, 'acme/shop/12', 'completed')) await skip(stores, id);
  expect(await history.pack(runKey('acme/shop/12'))).toBe('packed');
  await aBatch(stores);
  await someAlerts(stores);
});

/** Later than anything that is meant to happen. */
const FAR = NOON + 10_000 * 86_400_000;

/** The first member of a sorted set. */
const firstOf = async (key: string) => (await redis.zrange(key, 0, '0'))[0] ?? '';

/** Gives a member of the first sorted set of a kind another score. */
async function scoreOf(
  kind: string,
  memberOf: (key: string) => Promise<string | number>,
  score: number,
): Promise<void> {
  const key = await keyOf(kind);
  const member = await memberOf(key);
  expect(await redis.zadd(key, 'XX', 'CH', score, member)).toBe(1);
}

const verify = () => new Verifier(redis, keys).verify();

/** What is wrong, as `missing watches`. */
async function problems(): Promise<string[]> {
  const { problems: found } = await verify();
  return found.map(({ problem, kind }) => `${problem} ${kind}`).toSorted();
}

/** The key that has a name behind the prefix, or the first that begins with it and a colon. */
async function keyOf(name: string): Promise<string> {
  const beginning = `${keys.queuePrefix}:${name}`;
  const found = (await stores.keysLeft()).find(
    (key) => key === beginning || key.startsWith(`${beginning}:`),
  );
  if (found === undefined) throw new Error(`there is no key ${name}`);
  return found;
}

const watchKey = (runId: string) => keys.watch(runKey(runId));
const numberOf = async (runId: string) => (await watches.get(runKey(runId)))?.number ?? 0;

/** Puts a number in an index. */
async function enter(index: string, number: number): Promise<void> {
  const chunk = String(Math.floor(number / 128));
  const held = (await redis.hgetBuffer(index, chunk)) ?? Buffer.alloc(0);
  await redis.hset(index, chunk, Buffer.concat([held, Buffer.of(number % 128)]));
}

/** Takes a number out of one. */
async function leave(index: string, number: number): Promise<void> {
  const chunk = String(Math.floor(number / 128));
  const held = (await redis.hgetBuffer(index, chunk)) ?? Buffer.alloc(0);
  await redis.hset(index, chunk, Buffer.from(held.filter((byte) => byte !== number % 128)));
}

test('a whole store has no problem, and every key of it was read', async () => {
  const { read, problems: found } = await verify();
  expect(found).toEqual([]);
  expect(read).toMatchObject({ watch: 6, event: 5, delivery: 5 });
  const all = await stores.keysLeft();
  expect(Object.values(read).reduce((sum, count) => sum + count, 0)).toBe(all.length);
});

test('a problem has its count and a few examples in words', async () => {
  await redis.del(keys.watches('state', 'finished'));
  const { problems: found } = await verify();
  const missing = found.find(({ problem, kind }) => problem === 'missing' && kind === 'watches');
  expect(missing?.count).toBe(4);
  expect(missing?.examples).toHaveLength(3);
  expect(missing?.examples.join()).toMatch(/watch default\/\S+ is not in watches:state:finished/);
});

/** Each does one damage. What is found of it is among the problems, by their kind. */
const DAMAGES: readonly [what: string, damage: () => Promise<unknown>, found: string[]][] = [
  [
    'a live watch that is no JSON',
    async () => redis.setrange(watchKey('active'), 95, 'x'),
    ['unreadable watch'],
  ],
  [
    'a packed watch that is cut off',
    async () =>
      redis.set(
        watchKey('packed'),
        Buffer.from((await redis.getBuffer(watchKey('packed')))!.subarray(0, 60)),
      ),
    ['unreadable watch'],
  ],
  [
    'a packed watch of an unknown form',
    async () => redis.setrange(watchKey('packed'), 25, '\x07'),
    ['unreadable watch'],
  ],
  [
    'a watch of another type',
    async () => {
      await redis.del(watchKey('active'));
      await redis.hset(watchKey('active'), 'a', 'b');
    },
    ['unreadable watch'],
  ],
  [
    'an event that is no JSON',
    async () => redis.hset(await keyOf('event'), 'body', '{'),
    ['unreadable event'],
  ],
  [
    'an event without its text',
    async () => redis.hdel(await keyOf('event'), 'body'),
    ['unreadable event'],
  ],
  [
    'a delivery that is no JSON',
    async () => redis.hset(await keyOf('delivery'), 'doc', '{'),
    ['unreadable delivery'],
  ],
  [
    'an attempt that is no JSON',
    async () => {
      const id = (await keyOf('delivery')).slice(keys.delivery('').length);
      await redis.rpush(keys.attempts(id), '{');
    },
    ['unreadable delivery'],
  ],
  [
    'an audit record that is no JSON',
    async () => redis.zadd(keys.audit, 1, '{'),
    ['unreadable audit'],
  ],
  [
    'a silence that is no JSON',
    async () => redis.hset(keys.silences, 's', '{'),
    ['unreadable silences'],
  ],
  [
    'a rotated secret that is not sealed',
    async () => redis.hset(keys.endpointSecrets, 'ops', '{}'),
    ['unreadable endpoint-secrets'],
  ],
  [
    'a resolved alert that is no JSON',
    async () => redis.set(keys.resolvedAlert('a'), '{'),
    ['unreadable alert'],
  ],
  [
    'a batch that is no JSON',
    async () => redis.hset(keys.batch('bat_1'), 'doc', '{'),
    ['unreadable batch'],
  ],
  [
    'an entry of the inbox of rules that is no JSON',
    async () => redis.rpush(keys.alertInbox, '{'),
    ['unreadable alert-inbox'],
  ],
  [
    'an index of another type',
    async () => redis.set(await keyOf('watches:state'), 'x'),
    ['unreadable watches'],
  ],

  [
    'a lost index of watches',
    async () => redis.del(keys.watches('state', 'active')),
    ['missing watches'],
  ],
  [
    'a watch that an index lacks',
    async () => leave(keys.watches('state', 'active'), await numberOf('active')),
    ['missing watches'],
  ],
  ['a lost index of events', async () => redis.del(await keyOf('events:type')), ['missing events']],
  [
    'a lost index of deliveries',
    async () => redis.del(await keyOf('deliveries:endpoint')),
    ['missing deliveries'],
  ],
  ['a lost log of watches', async () => redis.del(`${keys.watchNames}0`), ['missing watch-names']],
  ['a lost log of events', async () => redis.del(`${keys.eventLog}0`), ['missing event-log']],
  [
    'a lost log of deliveries',
    async () => redis.del(`${keys.deliveryLog}0`),
    ['missing delivery-log'],
  ],
  [
    'a lost list of chunks of a log',
    async () => redis.del(`${keys.watchNames}chunks`),
    ['missing watch-names'],
  ],
  [
    'lost times of changes',
    async () => redis.del(keys.watchesChanged),
    ['missing watches-changed'],
  ],
  ['lost times of ends', async () => redis.del(keys.watchesEnded), ['missing watches-ended']],
  ['a lost order of ids', async () => redis.del(await keyOf('run-ids')), ['missing run-ids']],
  [
    'lost events of a live watch',
    async () => redis.del(await keyOf('live-events')),
    ['missing live-events'],
  ],
  [
    'lost deliveries of a live watch',
    async () => redis.del(await keyOf('live-deliveries')),
    ['missing live-deliveries'],
  ],
  ['lost events about no run', async () => redis.del(keys.ownEvents), ['missing own-events']],
  [
    'lost times of settled deliveries',
    async () => redis.del(keys.deliveriesSettled),
    ['missing deliveries-settled'],
  ],
  ['a lost order of deliveries', async () => redis.del(await keyOf('lane')), ['missing lane']],
  ['deliveries that nothing makes due', async () => redis.del(keys.due('ops')), ['missing lane']],

  [
    'a lost watch',
    async () => redis.del(watchKey('packed')),
    ['stray watches', 'stray watch-names', 'stray run-ids'],
  ],
  [
    'a lost watch with live events and deliveries',
    async () => redis.del(watchKey('ended')),
    ['stray event', 'stray delivery'],
  ],
  [
    'a lost live event',
    async () => redis.del(await keyOf('event')),
    ['stray events', 'stray event-log'],
  ],
  [
    'a lost delivery that was outstanding',
    async () => redis.del(await keyOf('delivery')),
    ['stray deliveries', 'stray delivery-log'],
  ],
  [
    'a watch in the index of another state',
    async () => enter(keys.watches('state', 'active'), await numberOf('ended')),
    ['stray watches'],
  ],
  [
    'a number of no watch',
    async () => enter(keys.watches('state', 'active'), 9_999),
    ['stray watches'],
  ],
  [
    'a number of no event',
    async () => enter(keys.events('type', 'run.failed'), 9_999),
    ['stray events'],
  ],
  [
    'a number of no delivery',
    async () => enter(keys.deliveries('state', 'pending'), 9_999),
    ['stray deliveries'],
  ],
  [
    'an end of no watch',
    async () => redis.zadd(keys.watchesEnded, 1, '9999'),
    ['stray watches-ended'],
  ],
  [
    'a watch to pack that there is not',
    async () => redis.zadd(keys.packDue, 1, 'default/no'),
    ['stray pack-due'],
  ],
  [
    'a due delivery that there is not',
    async () => redis.zadd(keys.due('ops'), 1, 'dlv_no'),
    ['stray due'],
  ],
  [
    'a parked delivery that there is not',
    async () => redis.zadd(keys.parked('ops'), 1, 'dlv_no'),
    ['stray parked'],
  ],
  [
    'a claim of no delivery',
    async () => redis.hset(keys.deliveryClaims, 'dlv_no', 't 1'),
    ['stray delivery-claims'],
  ],
  [
    'an order with a delivery that there is not',
    async () => redis.rpush(await keyOf('lane'), 'dlv_no'),
    ['stray lane'],
  ],
  [
    'a name of a batch that there is not',
    async () => redis.hset(keys.batchNames, 'nightly', 'b'),
    ['stray batch-names'],
  ],
  ['a batch that there is not', async () => redis.zadd(keys.batches, 1, 'b'), ['stray batches']],
  [
    'an alert that there is not',
    async () => redis.zadd(keys.alertsResolved, 1, 'a'),
    ['stray alerts-resolved'],
  ],

  [
    'a block of ids that is not among the blocks',
    async () => {
      const member = 'shop/13';
      await redis.zadd(keys.runIds('default', member), 0, member);
    },
    ['stray run-ids'],
  ],
  [
    'an id in another block than the one of its letters',
    async () => {
      await redis.zrem(keys.runIds('default', ''), 'active');
      await redis.zadd(keys.runIds('default', 'x'), 0, 'active');
    },
    ['missing run-ids'],
  ],
  [
    'an id with another score',
    async () => redis.zadd(keys.runIds('default', ''), 1, 'active'),
    ['misplaced run-ids'],
  ],
  [
    'a chunk of a log that is not there',
    async () => redis.zadd(`${keys.watchNames}chunks`, 0, '-1'),
    ['stray watch-names'],
  ],

  [
    'an active watch that nothing polls',
    async () => redis.del(...keys.requestsDue('default')),
    ['missing requests'],
  ],
  [
    'a watch that is due twice',
    async () => redis.zadd(keys.requestsDue('default')[0]!, NOON, 'active'),
    ['misplaced requests'],
  ],
  [
    'a watch that is due long after its timeout',
    async () => redis.zadd(await keyOf('requests:default:watch'), FAR, 'active'),
    ['misplaced requests'],
  ],
  [
    'a time of a change',
    async () => scoreOf('watches-changed', async () => numberOf('active'), 1),
    ['misplaced watches-changed'],
  ],
  ...(['watches-ended', 'pack-due', 'own-events', 'deliveries-settled'] as const).flatMap(
    (kind): typeof DAMAGES => [
      [
        `a time of ${kind} that is too early`,
        async () => scoreOf(kind, firstOf, 1),
        [`misplaced ${kind}`],
      ],
      [
        `a time of ${kind} that is too late`,
        async () => scoreOf(kind, firstOf, FAR),
        [`misplaced ${kind}`],
      ],
    ],
  ),
  [
    'the time at which the first of a packed watch settled',
    async () => scoreOf('deliveries-settled', async () => numberOf('packed'), NOON),
    ['misplaced deliveries-settled'],
  ],
  [
    'the place of an event',
    async () => scoreOf('live-events', firstOf, 77),
    ['misplaced live-events'],
  ],
  [
    'the number of a delivery',
    async () => scoreOf('live-deliveries', firstOf, 77),
    ['misplaced live-deliveries'],
  ],
  [
    'the number of a delivery about no run',
    async () => scoreOf('event-deliveries', firstOf, 77),
    ['misplaced event-deliveries'],
  ],
  [
    'a delivery that is due long after its next attempt',
    async () => scoreOf('due', firstOf, FAR),
    ['misplaced due'],
  ],
  [
    'a number of a log that stands for another watch',
    async () => redis.hset(`${keys.watchNames}0`, '1', 'default/ended'),
    ['missing watch-names'],
  ],
  ['a lost list of batches', async () => redis.del(keys.batches), ['missing batches']],
  [
    'a lost list of webhooks of batches',
    async () => redis.del(keys.batchWebhooks),
    ['missing batch-webhooks'],
  ],
  ['the beginning of a batch', async () => scoreOf('batches', firstOf, 1), ['misplaced batches']],
  [
    'the beginning of a batch with a webhook',
    async () => scoreOf('batch-webhooks', firstOf, 1),
    ['misplaced batch-webhooks'],
  ],
  [
    'a lost list of resolved alerts',
    async () => redis.del(keys.alertsResolved),
    ['missing alerts-resolved'],
  ],
  [
    'when an alert resolved',
    async () => scoreOf('alerts-resolved', firstOf, 1),
    ['misplaced alerts-resolved'],
  ],
  [
    'a lost list of alerts that fire',
    async () => redis.del(keys.alerts('firing')),
    ['missing alerts'],
  ],
  ['when an alert began', async () => scoreOf('alerts', firstOf, 1), ['misplaced alerts']],
  [
    'a lost group with an alert',
    async () => redis.del(await keyOf('alert-group')),
    ['stray alerts'],
  ],

  [
    'a counter of deliveries',
    async () => {
      await redis.hincrby(keys.deliveryCounts, 'pending ops', 1);
      await redis.hincrby(keys.deliveryCounts, 'planned', 1);
    },
    ['miscounted ledger'],
  ],
  [
    'a sum of deliveries',
    async () => redis.hincrby(keys.deliveryCounts, 'planned', 2),
    ['miscounted ledger'],
  ],
  [
    'a counter of an endpoint of which there is nothing',
    async () => redis.hset(keys.deliveryCounts, 'dead no', 3),
    ['miscounted ledger'],
  ],
  [
    'a counter of a source',
    async () => redis.hincrby(keys.watchSources, 'default', 1),
    ['miscounted watch-sources'],
  ],
  [
    'a counter of a token',
    async () => redis.hdel(keys.watchesOfTokens, 'ci'),
    ['miscounted watches-of-tokens'],
  ],
  ['a counter of active runs', async () => redis.del(keys.activeRuns), ['miscounted active-runs']],
  [
    'a counter of packed watches',
    async () => redis.hincrby(keys.packed, 'bytes', -1),
    ['miscounted packed'],
  ],
  [
    'the number of the newest watch',
    async () => redis.set(keys.watchNumber, 1),
    ['miscounted watch-number'],
  ],
  [
    'the place of the newest event',
    async () => redis.set(keys.eventPlace, 1),
    ['miscounted event-place'],
  ],
  [
    'the number of the newest delivery',
    async () => redis.set(keys.deliveryNumber, 1),
    ['miscounted delivery-number'],
  ],
];

describe('a verification finds', () => {
  test.each(DAMAGES)('%s', async (_what, damage, found) => {
    await damage();
    expect(await problems()).toEqual(expect.arrayContaining(found));
  });
});

test('what a repair derives again has no problem left', async () => {
  await redis.del(keys.watches('state', 'active'), keys.deliveryCounts, `${keys.eventLog}0`);
  expect(await problems()).not.toEqual([]);
  await stores.repairs.all(0);
  expect(await problems()).toEqual([]);
});

test('a verification writes nothing', async () => {
  const before = await dumpRedis(place.url, place.prefix);
  await verify();
  expect(await dumpRedis(place.url, place.prefix)).toEqual(before);
});

/** Ends a run, and packs it. */
async function finish(runId: string): Promise<void> {
  const before = (await watches.get(runKey(runId)))!;
  const run = snapshot({ id: runId, status: 'completed' });
  const seen = observe(before.watch, { kind: 'run', run }, observeContext(NOON));
  const planned = seen.events.map((event) => newDelivery(seen.watch, event, 'ops', NOON));
  const schedule = { does: 'leave' as const };
  const change = { before, after: seen.watch, events: seen.events, deliveries: planned, schedule };
  expect(await watches.commit(change)).not.toBeNull();
  const { items } = await stores.deliveries.list({ runs: [runKey(runId)] }, { limit: 10 });
  for (const { id, state } of items) if (state === 'pending') await skip(stores, id);
  expect(await history.pack(runKey(runId))).toBe('packed');
}

test('what a daemon writes between two reads is no problem', async () => {
  const read = redis.mgetBuffer.bind(redis);
  const reads = jest.spyOn(redis, 'mgetBuffer').mockImplementation(async (...names) => {
    const records = await read(...names);
    reads.mockRestore();
    await finish('active');
    return records;
  });
  expect(await problems()).toEqual([]);
  expect((await watches.get(runKey('active')))?.isPacked).toBe(true);
});

test('runs that are registered, end and are packed meanwhile are no problems', async () => {
  const over = new AbortController();
  let count = 0;
  const work = async () => {
    while (!over.signal.aborted) {
      const runId = `moving-${(count += 1)}`;
      await aRun(stores, runId, 'running');
      await finish(runId);
    }
  };
  const working = work();
  for (let at = 0; at < 3; at += 1) expect(await problems()).toEqual([]);
  over.abort();
  await working;
  expect(count).toBeGreaterThan(1);
  expect(await problems()).toEqual([]);
});
