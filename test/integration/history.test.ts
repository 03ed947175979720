import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { planDeliveries, sentInstead, type Attempt } from '../../src/core/delivery/delivery.ts';
import { DELIVERY_STATES, type Delivery } from '../../src/core/delivery/delivery.ts';
import { RunwatchError } from '../../src/core/errors.ts';
import { EVENT_TYPES } from '../../src/core/event/event.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { timelineOf } from '../../src/core/watch/timeline.ts';
import { WATCH_STATES, type Subscription, type WatchKey } from '../../src/core/watch/watch.ts';
import { unpackWatch } from '../../src/redis/history-codec.ts';
import { readWatch } from '../../src/redis/stores/watch-record.ts';
import { OutboxStore } from '../../src/redis/stores/outbox-store.ts';
import { HistoryStore } from '../../src/redis/stores/history-store.ts';
import { RetentionStore } from '../../src/redis/stores/retention-store.ts';
import { newWatch, NOON, observeContext, snapshot, webhookTo } from '../support/builders.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores();
const { redis, keys, watches, events, deliveries, history, retention, outbox } = stores;
afterAll(() => stores.close());
beforeEach(async () => void (await redis.del(...(await stores.keysLeft()), 'none')));

const ops: Subscription = { kind: 'endpoint', endpoint: 'ops' };
const own = webhookTo('https://a.example/hook', ['*']);
const limits = { most: 4, rate: null, deadlineMs: 15_000 };

/** What becomes of a delivery. */
type End = 'pending' | 'delivered' | 'retried' | 'dead' | 'skipped';

interface Story {
  source: string;
  /** Statuses that the run has in turn, the last of them a terminal one. */
  statuses: string[];
  subscriptions: Subscription[];
  ends: End[];
  metadata: Record<string, string>;
}

const story: fc.Arbitrary<Story> = fc.record({
  source: fc.constantFrom('default', 'eu'),
  statuses: fc
    .tuple(
      fc.array(fc.constantFrom<string>('queued', 'running', 'awaiting_human_feedback', 'odd'), {
        maxLength: 4,
      }),
      fc.constantFrom('completed', 'failed', 'stopped'),
    )
    .map(([before, last]) => before.concat(last)),
  subscriptions: fc.constantFrom([], [ops], [ops, own]),
  ends: fc.array(fc.constantFrom<End>('delivered', 'retried', 'dead', 'skipped'), {
    minLength: 1,
    maxLength: 4,
  }),
  metadata: fc.constantFrom({}, { team: 'ml', order: '17', '2': 'ü\u2028"' }),
});

/** Writes what happened to a run, as the daemon does. @returns its watch */
async function live({ source, statuses, subscriptions, ends, metadata }: Story, at: number) {
  const key: WatchKey = { source, runId: `run.${at}` };
  const first = newWatch({ ...key, subscriptions, metadata });
  await watches.commit({ before: null, after: first, events: [], deliveries: [] });
  for (const [step, status] of statuses.entries()) {
    const now = NOON + 1_000 * (10 * at + step);
    const before = (await watches.get(key))!;
    const run = snapshot({ id: key.runId, status, progress: step * 10 });
    const seen = observe(before.watch, { kind: 'run', run }, observeContext(now));
    const planned = planDeliveries(seen.watch, seen.events, subscriptions, {
      wants: () => true,
      now,
    });
    await watches.commit({ before, after: seen.watch, events: seen.events, deliveries: planned });
  }
  const { items } = await deliveries.list({ runs: [key] }, { limit: 1_000 });
  for (const [step, { id }] of items.toReversed().entries()) {
    await settle(id, ends[step % ends.length]!, NOON + 60_000 + step);
  }
  return key;
}

async function settle(id: string, end: End, now: number): Promise<void> {
  const failed = (at: number): Attempt => ({
    at,
    status: 500,
    error: { code: 'http_status', message: 'status 500' },
    durationMs: 4,
    response: 'é'.repeat(300),
    phases: [2, 2],
  });
  const fine: Attempt = { at: now, status: 200, error: null, durationMs: 3, response: 'thanks' };
  if (end === 'pending') return;
  if (end === 'retried') await write(id, { state: 'pending', last: failed(now - 9) });
  if (end === 'skipped') return write(id, { state: 'skipped', nextAttemptAt: null });
  const last = end === 'dead' ? failed(now) : fine;
  const deliveredAt = end === 'dead' ? null : now;
  const state = end === 'dead' ? 'dead' : 'delivered';
  await write(id, { state, last, deliveredAt, nextAttemptAt: null });
}

async function write(id: string, changes: Partial<Delivery>): Promise<void> {
  const before = (await deliveries.get(id))!;
  const after = { ...before.delivery, ...changes };
  const step = { before, after, limits, now: NOON };
  if (changes.last) {
    const recorded = await outbox.recordAttempt({ ...step, attempt: changes.last });
    expect(recorded).toMatchObject({ claims: [] });
  } else if (after.state === 'pending') {
    expect(await outbox.requeue(step)).toBe(true);
  } else {
    expect(await outbox.withhold(step)).toMatchObject({ claims: [] });
  }
}

const PAGE = { limit: 3 };

async function everyPage<Item>(
  read: (cursor?: string) => Promise<{ items: Item[]; nextCursor: string | null }>,
) {
  const found: { items: Item[]; nextCursor: string | null }[] = [];
  let cursor: string | undefined;
  do {
    const page = await read(cursor);
    found.push(page);
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  return found;
}

/** What every reader answers, with the cursors of all pages. */
async function answers(all: readonly WatchKey[]) {
  const listedWatches = (filter: object, order?: 'changed') =>
    everyPage((cursor) => watches.list(filter, { ...PAGE, cursor, order }));
  const listedEvents = (filter: object, order: 'newest' | 'oldest' = 'oldest') =>
    everyPage((after) => events.list({ ...filter, ...(after && { after }) }, { ...PAGE, order }));
  const listedDeliveries = (filter: object) =>
    everyPage((cursor) => deliveries.list(filter, { ...PAGE, cursor }));
  const { items } = await events.list({}, { limit: 1_000 });
  const { items: planned } = await deliveries.list({}, { limit: 1_000 });
  const eventIds = items.map(({ event }) => event.id);
  return {
    watches: await watches.getMany([...all]).then((some) => some.map((one) => one?.watch)),
    listed: await Promise.all([
      listedWatches({}),
      listedWatches({ source: 'eu' }),
      listedWatches({ status: ['failed', 'stopped'] }),
      ...WATCH_STATES.map((state) => listedWatches({ state: [state] })),
      listedWatches({ state: ['finished'], workflowId: ['workflow-1'] }),
      listedWatches({ metadata: { team: 'ml' } }),
      listedWatches({ since: NOON + 11_000, until: NOON + 31_000 }),
      listedWatches({ status: ['failed', 'completed'], since: NOON + 11_000 }, 'changed'),
      listedWatches({}, 'changed'),
    ]),
    events: await Promise.all([
      listedEvents({}),
      listedEvents({}, 'newest'),
      ...EVENT_TYPES.map((type) => listedEvents({ type: [type] })),
      listedEvents({ workflowId: ['workflow-1'], since: NOON + 11_000 }),
      ...all.map(({ runId }) => listedEvents({ runId })),
      ...all.map(({ runId }) => listedEvents({ runId, type: ['run.resumed'] }, 'newest')),
      ...eventIds.map((after) => events.list({ after }, PAGE)),
    ]),
    bodies: await Promise.all(eventIds.map((id) => events.body(id))),
    deliveries: await Promise.all([
      listedDeliveries({}),
      ...DELIVERY_STATES.map((state) => listedDeliveries({ state: [state] })),
      ...DELIVERY_STATES.map((state) => listedDeliveries({ state: [state], endpoint: 'ops' })),
      listedDeliveries({ endpoint: 'per-watch' }),
      listedDeliveries({ state: ['dead', 'delivered'], until: NOON + 12_000 }),
      ...all.map(({ runId }) => listedDeliveries({ runId })),
      ...eventIds.map((eventId) => listedDeliveries({ eventId })),
    ]).then(withoutAnswers),
    single: await deliveries
      .getMany(planned.map(({ id }) => id))
      .then((some) => withoutAnswers(some)),
    attempts: await Promise.all(planned.map(({ id }) => deliveries.attempts(id))).then(
      withoutAnswers,
    ),
    timelines: await Promise.all(all.map((key) => stores.timelines.read(key))).then((some) =>
      withoutAnswers(some.map((one) => one && timelineOf(one))),
    ),
    deliveryCounts: await deliveries.counts(),
    counts: await watches.counts(),
    sources: await watches.activeByStatus(['default', 'eu']),
  };
}

/** What packing keeps of answers is a test of its own. */
function withoutAnswers<Value>(value: Value): Value {
  return JSON.parse(
    JSON.stringify(value, (name, one: unknown) => (name === 'response' ? null : one)),
  ) as Value;
}

/** A store whose process dies before its n-th command. */
function mortal(commands: number): HistoryStore {
  let left = commands;
  const dying = hooked(() => {
    left -= 1;
    // As where the connection is gone: nothing else is written any more.
    if (left < 0) throw new RunwatchError('killed', { code: 'redis_unavailable' });
  });
  return new HistoryStore(dying, keys);
}

/** The connection, with something done before each command. */
function hooked(act: (command: string) => void | Promise<unknown>): typeof redis {
  return new Proxy(redis, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      const call = (args: unknown[]): unknown =>
        (value as (...given: unknown[]) => unknown).apply(target, args);
      return (...args: unknown[]) => {
        const acting = act(String(name));
        return acting instanceof Promise ? acting.then(() => call(args)) : call(args);
      };
    },
  });
}

describe('history', () => {
  test('every reader answers the same before packing, after it, and after unpacking', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(story, { minLength: 1, maxLength: 4 }),
        fc.nat(4),
        async (told, commands) => {
          await redis.del(...(await stores.keysLeft()), 'none');
          const all: WatchKey[] = [];
          for (const [at, one] of told.entries()) all.push(await live(one, at));
          const before = await answers(all);
          for (const [at, key] of all.entries()) {
            await mortal(commands).pack(key).catch(ignoreKill);
            if (at % 2 === 0) expect(await answers(all)).toEqual(before);
          }
          for (const key of all) expect(await history.pack(key)).toBe('packed');
          expect((await history.size()).watches).toBe(all.length);
          expect(await answers(all)).toEqual(before);
          for (const key of all) await mortal(commands).unpack(key).catch(ignoreKill);
          expect(await answers(all)).toEqual(before);
          for (const key of all) await history.unpack(key);
          expect(await history.size()).toEqual({ watches: 0, bytes: 0 });
          expect(await answers(all)).toEqual(before);
        },
      ),
      { numRuns: 8 },
    );
  });
});

/** A run that has failed, its deliveries settled as given, and packed. */
async function packedRun(ends: End[] = ['delivered'], changes: Partial<Story> = {}) {
  const told: Story = {
    source: 'default',
    statuses: ['awaiting_human_feedback', 'failed'],
    subscriptions: [ops],
    ends,
    metadata: {},
    ...changes,
  };
  runs += 1;
  const key = await live(told, runs);
  expect(await history.pack(key)).toBe('packed');
  return key;
}

let runs = 0;

const deliveriesOf = async ({ runId }: WatchKey) =>
  (await deliveries.list({ runs: [{ source: 'default', runId }] }, { limit: 200 })).items;

const eventsOf = async ({ runId }: WatchKey, order?: 'newest') =>
  (await events.list({ runs: [{ source: 'default', runId }] }, { limit: 200, order })).items.map(
    ({ event }) => event,
  );

/** Registers a run again, and tells that it has failed, delivered. @returns the id of that event */
async function tellAgain(key: WatchKey): Promise<string> {
  const now = NOON + 1_800_000;
  const { watch, ...as } = (await watches.get(key))!;
  const again = newWatch({ ...key, sequence: watch.sequence, subscriptions: [ops] });
  const run = snapshot({ id: key.runId, status: 'awaiting_human_feedback' });
  const seen = observe(again, { kind: 'run', run }, observeContext(now));
  const wants = () => true;
  const planned = planDeliveries(seen.watch, seen.events, [ops], { wants, now });
  await watches.commit({
    before: { ...as, watch },
    after: seen.watch,
    events: seen.events,
    deliveries: planned,
  });
  await settle(planned[0]!.id, 'delivered', now);
  return seen.events[0]!.id;
}

const isPacked = async (key: WatchKey) => (await history.packed(key)) !== null;

/** Claims what is due at an endpoint. */
const claim = (pool: string) => outbox.claim({ pool, limits, most: 9, token: 'x.1', askedAt: 0 });

test('a watch is packed if its last delivery settles while packing finds it outstanding', async () => {
  await redis.del(...(await stores.keysLeft()), 'none');
  const subscriptions = [ops];
  const shape = { source: 'default', statuses: ['completed'], subscriptions, metadata: {} };
  const key = await live({ ...shape, ends: ['pending'] }, 0);
  const [{ id }] = (await deliveriesOf(key)) as [Delivery];
  let isSettled = false;
  const racing = hooked((command) => {
    if (command !== 'rwReadClock' || isSettled) return undefined;
    isSettled = true;
    return settle(id, 'delivered', NOON);
  });
  expect(await new HistoryStore(racing, keys).pack(key)).toBe('packed');
});

describe('a delivery of a packed watch', () => {
  test('a packed delivery is redelivered with the same text, and packed again', async () => {
    const key = await packedRun(['delivered', 'dead']);
    const [last] = await deliveriesOf(key);
    const body = await events.body(last!.eventId);
    await write(last!.id, { state: 'pending', nextAttemptAt: NOON });
    expect(await isPacked(key)).toBe(false);
    const { claims } = await claim('ops');
    expect(claims.map((one) => one.body)).toEqual([body]);
    expect(await history.pack(key)).toBe('kept');
    const [{ stored, token }] = claims as [(typeof claims)[0]];
    const after: Delivery = { ...stored.delivery, state: 'delivered', nextAttemptAt: null };
    const attempt = { at: NOON, status: 200, error: null, durationMs: 3, response: '' };
    const step = { before: stored, after, token, attempt, limits, now: NOON };
    expect(await outbox.recordAttempt(step)).toMatchObject({ claims: [] });
    expect(await history.pack(key)).toBe('packed');
    expect((await deliveriesOf(key))[0]).toMatchObject({ id: last!.id, state: 'delivered' });
  });

  test('a packed delivery is redelivered to another endpoint, even if its watch is packed meanwhile', async () => {
    const key = await packedRun();
    const [last] = await deliveriesOf(key);
    const there = sentInstead(last!, 'audit', NOON);
    let packs = 0;
    const racing = hooked((command) => {
      if (command === 'rwAddDeliveries') packs += 1;
      return command === 'rwAddDeliveries' && packs === 1 ? history.pack(key) : undefined;
    });
    await new OutboxStore(racing, keys, history).add([there]);
    expect(packs).toBe(2);
    expect((await claim('audit')).claims).toMatchObject([
      { body: await events.body(last!.eventId), stored: { delivery: { id: there.id } } },
    ]);
    expect(await deliveriesOf(key)).toHaveLength(5);
    expect((await deliveries.counts()).planned).toBe(5);
  });

  test('a packed delivery keeps its attempts without answers; a dead one the beginning of the last', async () => {
    const key = await packedRun(['dead', 'retried']);
    const [retried, dead] = await deliveriesOf(key);
    expect(await deliveries.attempts(dead!.id)).toMatchObject([
      { status: 500, error: { code: 'http_status' }, response: 'é'.repeat(256) },
    ]);
    expect(await deliveries.attempts(retried!.id)).toMatchObject([
      {
        status: 500,
        error: { code: 'http_status' },
        durationMs: 4,
        response: null,
        phases: [2, 2],
      },
      { status: 200, error: null, durationMs: 3, response: null },
    ]);
  });
});

describe('a change of a packed watch', () => {
  test('a change of the watch alone leaves it packed', async () => {
    const key = await packedRun();
    const before = (await watches.get(key))!;
    const after = { ...before.watch, maxDelayMs: 7_000 };
    expect(await watches.commit({ before, after, events: [], deliveries: [] })).toEqual([]);
    expect(await isPacked(key)).toBe(true);
    expect((await watches.get(key))?.watch.maxDelayMs).toBe(7_000);
    expect(await watches.commit({ before, after, events: [], deliveries: [] })).toBeNull();
    expect(await eventsOf(key)).toHaveLength(4);
  });

  test('what a later version adds to a watch outlasts changes by this one, live and packed', async () => {
    const shape = {
      source: 'default',
      statuses: ['completed'],
      subscriptions: [ops],
      metadata: {},
    };
    const key = await live({ ...shape, ends: ['pending'] }, 0);
    const record = (await redis.get(keys.watch(key)))!;
    await redis.set(keys.watch(key), record.replace('{', '{"later":{"a":1},'));
    const change = async (maxDelayMs: number) => {
      const before = (await watches.get(key))!;
      const after = { ...before.watch, maxDelayMs };
      expect(await watches.commit({ before, after, events: [], deliveries: [] })).toEqual([]);
      const written = (await redis.getBuffer(keys.watch(key)))!;
      const text = (await isPacked(key)) ? unpackWatch(written) : String(written);
      const { doc = '', watch } = readWatch(key, text);
      expect(watch.maxDelayMs).toBe(maxDelayMs);
      expect(JSON.parse(doc)).toMatchObject({ later: { a: 1 } });
    };
    await change(7_000);
    const [{ id }] = (await deliveriesOf(key)) as [Delivery];
    await settle(id, 'delivered', NOON);
    expect(await history.pack(key)).toBe('packed');
    await change(8_000);
    expect(await isPacked(key)).toBe(true);
  });

  test('a new subscription to the end of a packed watch is written once, and the end delivered', async () => {
    const key = await packedRun();
    const before = (await watches.get(key))!;
    const { notice } = before.watch;
    const audit: Subscription = { kind: 'endpoint', endpoint: 'audit' };
    const after = { ...before.watch, subscriptions: [ops, audit] };
    const late = [{ id: notice!.eventId, type: notice!.type }];
    const planned = planDeliveries(after, late, [audit], { wants: () => true, now: NOON });
    const change = { before, after, events: [], deliveries: planned };
    expect(await watches.commitMany([change])).toEqual([['audit']]);
    expect(await watches.commitMany([change])).toEqual([null]);
    expect((await claim('audit')).claims[0]?.body).toBe(await events.body(notice!.eventId));
  });

  test('a change of a watch or delivery during packing keeps the watch live', async () => {
    const key = await packedRun();
    const [last] = await deliveriesOf(key);
    for (const change of [
      () => write(last!.id, { state: 'skipped' }),
      async () => {
        const stored = (await watches.get(key))!;
        const after = { ...stored.watch, metadata: { team: 'late' } };
        await watches.commit({ before: stored, after, events: [], deliveries: [] });
      },
    ]) {
      await history.unpack(key);
      const racing = hooked((command) => (command === 'rwPack' ? change() : undefined));
      expect(await new HistoryStore(racing, keys).pack(key)).toBe('changed');
      expect(await isPacked(key)).toBe(false);
    }
    expect((await watches.get(key))?.watch.metadata).toEqual({ team: 'late' });
    expect((await deliveries.get(last!.id))?.delivery.state).toBe('skipped');
  });

  test('a change by a version from before packing is refused', async () => {
    const key = await packedRun();
    await history.unpack(key);
    const before = (await watches.get(key))!;
    expect(await history.pack(key)).toBe('packed');
    const after = { ...before.watch, sequence: 9 };
    expect(await watches.commit({ before, after, events: [], deliveries: [] })).toBeNull();
    expect((await watches.get(key))?.watch.sequence).toBe(4);
  });

  test('a packed watch that begins anew keeps its events and deliveries under the new number', async () => {
    const key = await packedRun();
    const before = (await watches.get(key))!;
    const after = newWatch({ ...key, subscriptions: [ops], registeredAt: NOON + 1 });
    await watches.commit({ before, after, events: [], deliveries: [] });
    expect(await history.pack(key)).toBe('kept');
    expect(await eventsOf(key)).toHaveLength(4);
    expect((await events.list({}, { limit: 9 })).items).toHaveLength(4);
    expect((await deliveries.list({ state: ['delivered'] }, { limit: 9 })).items).toHaveLength(4);
    expect((await watches.list({}, { limit: 9 })).items).toHaveLength(1);
    expect(await redis.hgetall(keys.watchSources)).toEqual({ default: '1' });
  });
});

test('a watch is due for packing once its last delivery has settled', async () => {
  const key = await packedRun();
  expect(await history.takeDue(Infinity, 9)).toEqual([]);
  const [last] = await deliveriesOf(key);
  await write(last!.id, { state: 'pending', nextAttemptAt: NOON });
  expect(await history.takeDue(NOON, 9)).toEqual([]);
  const now = Date.now() + 1_000;
  expect(await history.takeDue(now, 9)).toEqual([key]);
  expect(await history.pack(key)).toBe('kept');
  expect(await history.takeDue(now + 60_000, 9)).toEqual([]);
  await write(last!.id, { state: 'delivered', nextAttemptAt: null });
  expect(await history.takeDue(now + 60_000, 9)).toEqual([key]);
});

test('the watch of a gone run that is still checked is packed by retention alone', async () => {
  const key = await packedRun();
  const before = (await watches.get(key))!;
  const after = { ...before.watch, state: 'gone' as const };
  await watches.commit({ before, after, events: [], deliveries: [] });
  expect(await history.pack(key)).toBe('kept');
  await retention.forgetWatches(NOON + 3_600_000, 1);
  expect(await watches.get(key)).toBeNull();
});

describe('retention of packed watches', () => {
  test('retention forgets packed deliveries that settled before a time, and keeps the others', async () => {
    const key = await packedRun(['dead', 'delivered']);
    const { history: kept, number } = (await history.packed(key))!;
    const until = kept.deliveries[1]!.settledAt!;
    const left = kept.deliveries.filter(({ settledAt }) => settledAt! > until);
    expect(await retention.forgetDeliveries(until)).toMatchObject({
      forgotten: kept.deliveries.length - left.length,
    });
    expect((await deliveriesOf(key)).map(({ id }) => id)).toEqual(
      left.map(({ delivery }) => delivery.id).toReversed(),
    );
    expect(await deliveries.get(kept.deliveries[0]!.delivery.id)).toBeNull();
    expect((await deliveries.counts()).planned).toBe(left.length);
    const nextAt = await redis.zscore(keys.deliveriesSettled, number);
    expect(nextAt).toBe(left.length === 0 ? null : String(left[0]!.settledAt));
    expect(await eventsOf(key)).toHaveLength(4);
  });

  test('retention forgets the longest settled deliveries beyond a number, live and packed', async () => {
    const first = await packedRun();
    const second = await packedRun();
    const third = await packedRun();
    await history.unpack(second);
    expect(await retention.forgetDeliveriesBeyond(6)).toMatchObject({ forgotten: 6 });
    const left = await Promise.all([first, second, third].map(deliveriesOf));
    expect(left.map(({ length }) => length)).toEqual([0, 2, 4]);
    expect(await deliveries.counts()).toMatchObject({ planned: 6, byState: { delivered: 6 } });
  });

  test('retention leaves nothing of a watch, also where it was killed meanwhile', async () => {
    const all = [await packedRun(), await packedRun(['dead'], { subscriptions: [ops, own] })];
    await history.unpack(all[1]!);
    for (const commands of [0, 1, 2, 3, 4]) {
      const dying = new RetentionStore(redis, keys, { history: mortal(commands), deliveries });
      await dying.forgetWatches(NOON + 3_600_000, 1).catch(ignoreKill);
    }
    await retention.forgetWatches(NOON + 3_600_000, 1);
    const counters =
      /:([\w-]+:chunks|clock|watch-number|event-place|delivery-number|packed|memory-notes|statistics.*|workflow.*|tables-known|run-figures.*|endpoint-state.*|slots.*)$/;
    expect((await stores.keysLeft()).filter((key) => !counters.test(key))).toEqual([]);
    expect(await history.size()).toEqual({ watches: 0, bytes: 0 });
  });

  test('retention forgets a watch with more events than are packed, in steps', async () => {
    const statuses = Array.from({ length: 260 }, (_, at) => (at % 2 === 0 ? 'odd' : 'running'));
    const told = { source: 'default', ends: ['delivered' as const], metadata: {} };
    const key = await live(
      { ...told, statuses: [...statuses, 'failed'], subscriptions: [ops] },
      99,
    );
    expect(await history.pack(key)).toBe('long');
    expect((await deliveriesOf(key)).length).toBe(200);
    await retention.forgetWatches(NOON + 3_600_000, 1);
    expect(await watches.get(key)).toBeNull();
    expect(await deliveries.counts()).toMatchObject({ planned: 0 });
    expect((await stores.keysLeft()).filter((one) => /log:\d/.test(one))).toEqual([]);
  });

  test.each(['getrange', 'rwForgetDeliveries', 'rwForgetEvents'])(
    'retention leaves alone what a run is told that is registered again before %s',
    async (command) => {
      const statuses = Array.from({ length: 260 }, (_, at) => (at % 2 === 0 ? 'odd' : 'running'));
      const told = { source: 'default', ends: ['delivered' as const], metadata: {} };
      const key = await live(
        { ...told, statuses: [...statuses, 'failed'], subscriptions: [ops] },
        99,
      );
      let news: Promise<string> | undefined;
      const renewing = hooked((next) => {
        if (next === command) news ??= tellAgain(key);
        return news;
      });
      const store = new RetentionStore(renewing, keys, { history, deliveries });
      expect(await store.forgetWatches(NOON + 3_600_000, 1)).toMatchObject({ forgotten: 0 });
      expect(await watches.get(key)).toMatchObject({ watch: { state: 'active' } });
      expect((await eventsOf(key, 'newest')).map(({ id }) => id)).toContain(await news);
      expect((await deliveriesOf(key)).map(({ eventId }) => eventId)).toContain(await news);
    },
  );
});

test('memory is counted by what it is kept for, and noted once an hour', async () => {
  const { memory } = stores;
  const key = await packedRun();
  const { bytes } = await history.size();
  const figures = (await memory.figures())!;
  expect(figures.settled).toBeGreaterThan(bytes);
  expect(figures.indexes).toBeGreaterThan(0);
  expect(figures.used).toBeGreaterThan(figures.live + figures.settled + figures.indexes);
  await memory.note();
  await memory.note();
  expect(await redis.zcard(keys.memoryNotes)).toBe(1);
  const dayAgo = Date.now() - 86_300_000;
  await redis.zadd(keys.memoryNotes, dayAgo, `${dayAgo} 1000`, 5, '5 1000');
  await redis.zremrangebyrank(keys.memoryNotes, -1, -1);
  await memory.note();
  expect(await redis.zrange(keys.memoryNotes, 0, '0')).toEqual([`${dayAgo} 1000`]);
  await history.unpack(key);
  expect(await history.size()).toEqual({ watches: 0, bytes: 0 });
});

test('a watch that another version has packed is refused with a sentence', async () => {
  const key = await packedRun();
  await redis.setrange(keys.watch(key), 25, '\u0003');
  await expect(watches.get(key)).rejects.toMatchObject({
    code: 'record_unknown',
    message: expect.stringMatching(/packed in form 3.*knows form 2/),
  });
});

function ignoreKill(error: unknown): void {
  if (!(error instanceof Error) || error.message !== 'killed') throw error;
}
