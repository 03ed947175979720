import { afterAll, describe, expect, test } from '@jest/globals';
import {
  planDeliveries,
  type Attempt,
  type Delivery,
  type StoredDelivery,
} from '../../src/core/delivery/delivery.ts';
import type { AlertEntry } from '../../src/core/alert/entry.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { recentPolls } from '../../src/core/watch/poll-history.ts';
import { subscriptionKey, type Subscription, type Watch } from '../../src/core/watch/watch.ts';
import type { StoredWatch, WatchChange } from '../../src/redis/watch-change.ts';
import { countNumbers } from '../../src/redis/numbers.ts';
import { newWatch, NOON, observeContext, snapshot, webhookTo } from '../support/builders.ts';
import { dumpRedis } from '../support/dump-redis.ts';
import { testRedis } from '../support/redis.ts';
import { delivered, openStores } from '../support/stores.ts';

const {
  redis,
  keys,
  clock,
  watches,
  events,
  deliveries,
  endpointStates,
  outbox,
  retention,
  keysLeft,
  close,
} = openStores();
afterAll(close);

const ops: Subscription = { kind: 'endpoint', endpoint: 'ops' };
const audit: Subscription = { kind: 'endpoint', endpoint: 'audit' };
const attempt: Attempt = { at: NOON, status: 200, error: null, durationMs: 3, response: 'ok' };
const wants = () => true;

let runs = 0;

/** A new watch in the store, of a run of its own. */
async function register(changes: Partial<Watch> = {}): Promise<StoredWatch> {
  runs += 1;
  const after = newWatch({ runId: `run-${runs}`, subscriptions: [ops], ...changes });
  expect(await watches.commit({ before: null, after, events: [], deliveries: [] })).toEqual([]);
  const stored = await watches.get(after);
  if (stored === null) throw new Error('the watch was not stored');
  return stored;
}

/** The change of a poll, with its deliveries. */
function seen(before: StoredWatch, status: string, progress = 0) {
  const run = snapshot({ id: before.watch.runId, status, progress });
  const looked = observe(before.watch, { kind: 'run', run }, observeContext(NOON));
  const planned = planDeliveries(looked.watch, looked.events, looked.watch.subscriptions, {
    wants,
    now: NOON,
  });
  return { before, after: looked.watch, events: looked.events, deliveries: planned };
}

async function see(before: StoredWatch, status: string, progress = 0) {
  const change = seen(before, status, progress);
  const rung = await watches.commit(change);
  const stored = await watches.get(before.watch);
  if (rung === null || stored === null) throw new Error('the commit lost a race');
  return { rung, due: change.deliveries.map(({ id }) => id), stored, change };
}

/** The number of a watch in logs and indexes. */
const numberOf = async (watch: Watch) =>
  String(Number(await redis.getrange(keys.watch(watch), 13, 24)));

/** What is due at an endpoint, the longest due first. */
const dueAt = async (name: string) => redis.zrange(keys.due(name), 0, '-1');

const limits = { most: 4, rate: null, deadlineMs: 15_000 };

/** Writes the result of an attempt, without a change of the endpoint's state. */
async function settle(before: StoredDelivery, after: Delivery, now = NOON) {
  return outbox.recordAttempt({ before, after, attempt, limits, now });
}

describe('transition', () => {
  test('a transition writes watch, events and deliveries, and returns the due pools', async () => {
    const before = await register();
    const { rung, due, stored, change } = await see(before, 'failed');
    expect(stored.watch.state).toBe('finished');
    expect(rung).toEqual(['ops']);
    expect(await dueAt('ops')).toContain(due[0]);
    const log = await events.list({ runs: [before.watch] }, { limit: 10 });
    expect(log.items.map(({ event }) => event)).toEqual(change.events);
    expect(await events.body(change.events[0]!.id)).toBe(JSON.stringify(change.events[0]));
    expect((await deliveries.get(due[0]!))?.delivery).toMatchObject({ state: 'pending' });
  });

  test('a watch keeps its last 60 polls, whether a poll changes its document or not', async () => {
    let stored = await register({ metadata: { größe: 'ünusual' } });
    const { registeredAt } = stored.watch;
    for (let poll = 1; poll <= 130; poll += 1) {
      const progress = Math.floor(poll / 7);
      const run = snapshot({ id: stored.watch.runId, status: 'running', progress });
      const now = NOON + poll * 1_000;
      const context = { ...observeContext(now), beganAt: now - 40, lagMs: poll };
      const looked = observe(stored.watch, { kind: 'run', run }, context);
      await watches.commit({ before: stored, after: looked.watch, events: [], deliveries: [] });
      stored = (await watches.get(stored.watch))!;
      expect(stored.watch.pollHistory).toEqual(looked.watch.pollHistory);
    }
    const kept = recentPolls(stored.watch.pollHistory, registeredAt);
    expect(kept.map(({ lagMs }) => lagMs)).toEqual(Array.from({ length: 60 }, (_, at) => at + 71));
    expect(kept.at(-1)).toEqual({
      at: NOON + 129_960,
      mode: 'single',
      outcome: 'run',
      durationMs: 40,
      lagMs: 130,
    });
    const [before, sizeBefore] = [stored, await redis.strlen(keys.watch(stored.watch))];
    const idle = { ...before.watch, polls: before.watch.polls + 1 };
    await watches.commit({ before, after: idle, events: [], deliveries: [] });
    expect(await redis.strlen(keys.watch(stored.watch))).toBe(sizeBefore);
    expect((await watches.get(stored.watch))?.watch).toEqual(idle);
  });

  test('a transition of a changed watch writes nothing', async () => {
    const before = await register();
    const [first, second] = [seen(before, 'failed'), seen(before, 'completed')];
    const outcomes = await watches.commitMany([first, second]);
    expect(outcomes[0]).toHaveLength(1);
    expect(outcomes[1]).toBeNull();
    const log = await events.list({ runs: [before.watch] }, { limit: 10 });
    expect(log.items.map(({ event }) => event.type)).toEqual(['run.failed']);
    expect(await deliveries.list({ runs: [before.watch] }, { limit: 10 })).toMatchObject({
      items: [{ eventType: 'run.failed' }],
    });
  });

  test('a repeated notice plans one delivery', async () => {
    const { stored, change } = await see(await register(), 'completed');
    const again = {
      before: stored,
      after: stored.watch,
      events: [],
      deliveries: change.deliveries,
    };
    expect(await watches.commit(again)).toEqual([]);
    expect((await deliveries.list({ runs: [stored.watch] }, { limit: 10 })).items).toHaveLength(1);
  });
});

describe('the script that writes a change of a watch', () => {
  const place = testRedis();
  let entries: AlertEntry[] = [];
  const own = openStores(place, { entriesOf: () => entries });
  afterAll(own.close);

  const values = async () =>
    new Map((await dumpRedis(place.url, place.prefix)).map(({ key, text }) => [key, text]));

  /** The kinds of keys that a change writes; the clock is written once a second. */
  async function writtenBy(change: WatchChange, judged: AlertEntry[] = []): Promise<string[]> {
    const before = await values();
    entries = judged;
    expect(await own.watches.commit(change)).not.toBeNull();
    entries = [];
    const after = await values();
    const written = [...before.keys(), ...after.keys()].filter(
      (key) => before.get(key) !== after.get(key),
    );
    const kinds = new Set(written.map((key) => key.split(':')[1] ?? ''));
    kinds.delete('clock');
    return [...kinds];
  }

  const stored = async (watch: Watch) => (await own.watches.get(watch))!;

  const to = (before: StoredWatch | null, after: Watch): WatchChange => ({
    before,
    after,
    events: [],
    deliveries: [],
  });

  const changed = (before: StoredWatch, changes: Partial<Watch>) =>
    to(before, { ...before.watch, ...changes });

  /** A new watch in the store, of a run that is running. */
  async function running(): Promise<StoredWatch> {
    runs += 1;
    const watch = newWatch({ runId: `run-${runs}`, run: snapshot() });
    await own.watches.commit(to(null, watch));
    return stored(watch);
  }

  /** Progress of a run, with deliveries to these subscriptions. */
  function progressed(before: StoredWatch, ...subscriptions: Subscription[]): WatchChange {
    const poll = { kind: 'run' as const, run: snapshot({ progress: 50 }) };
    const { watch, events: found } = observe(before.watch, poll, observeContext(NOON));
    const planned = planDeliveries(watch, found, subscriptions, { wants, now: NOON });
    return { ...to(before, watch), events: found, deliveries: planned };
  }

  const sample = { source: 'default', workflowId: 'w', state: 'a', fromS: 0, toS: 1, ended: true };
  const entry: AlertEntry = { kind: 'deadlines', watch: 'default/run-1', deadlines: [] };
  const ended = { state: 'finished', endedAt: NOON } as const;
  const hook = webhookTo('https://a.test/hook', ['run.*']);
  const EVENT = 'event event-log event-place events live-events';
  const DELIVERY =
    'deliveries delivery delivery-log delivery-number due lane ledger live-deliveries';

  test.each<[string, () => Promise<string[]>, string]>([
    [
      'a registration needs',
      () => writtenBy(to(null, newWatch({ runId: 'first' }))),
      'run-ids watch watch-names watch-number watch-sources watches watches-changed',
    ],
    ['a poll needs', async () => writtenBy(changed(await running(), { polls: 9 })), 'watch'],
    [
      'another time of change needs',
      async () => writtenBy(changed(await running(), { changedAt: NOON + 9 })),
      'watch watches-changed',
    ],
    [
      'metadata need',
      async () => writtenBy(changed(await running(), { metadata: { a: 'b' } })),
      'watch watches',
    ],
    ['an event needs', async () => writtenBy(progressed(await running())), `${EVENT} watch`],
    [
      'a delivery needs',
      async () => writtenBy(progressed(await running(), ops)),
      `${DELIVERY} ${EVENT} pools-due watch`,
    ],
    [
      'a delivery to a webhook needs',
      async () => writtenBy(progressed(await running(), hook)),
      `${DELIVERY} ${EVENT} pool-due pools-due watch`,
    ],
    [
      'a duration sample needs',
      async () => writtenBy({ ...changed(await running(), {}), samples: [sample] }),
      'statistics tables-known watch workflow-clock workflows workflows-used',
    ],
    [
      'an entry for alert rules needs',
      async () => writtenBy(changed(await running(), {}), [entry]),
      'alert-inbox watch',
    ],
    [
      'an end needs',
      async () => writtenBy(changed(await running(), ended)),
      'active-runs pack-due run-figures watch watches watches-ended',
    ],
    [
      'a run that is gone needs',
      async () => writtenBy(changed(await running(), { ...ended, state: 'gone' })),
      'active-runs pack-due gone-checks run-figures watch watches watches-ended',
    ],
    [
      'the registration of a run that was gone needs',
      async () => {
        const begun = await running();
        await own.watches.commit(progressed(begun, ops));
        await own.watches.commit(changed(await stored(begun.watch), { ...ended, state: 'gone' }));
        const again = { state: 'active', registeredAt: NOON + 9, endedAt: null } as const;
        return writtenBy(changed(await stored(begun.watch), again));
      },
      'active-runs delivery-log event-log pack-due gone-checks watch watch-names watch-number ' +
        'watches watches-changed watches-ended',
    ],
  ])('the script writes the keys that %s, and no other', async (_what, written, kinds) => {
    expect((await written()).sort()).toEqual(kinds.split(' ').sort());
  });
});

describe('ordering key', () => {
  test('an ordering key allows one delivery at a time, in the order of the events', async () => {
    const first = await see(await register(), 'awaiting_human_feedback');
    const second = await see(first.stored, 'completed', 100);
    const order = second.change.events.map(({ type }) => type);
    expect(order).toEqual(['run.resumed', 'run.progress', 'run.completed']);
    expect(second.rung).toEqual([]);

    const sent: string[] = [];
    const all = [...first.due, ...second.due];
    for (const next of all) {
      expect((await dueAt('ops')).filter((id) => all.includes(id))).toEqual([next]);
      const stored = (await deliveries.get(next))!;
      sent.push(stored.delivery.eventType);
      expect(await settle(stored, delivered(stored.delivery, NOON))).toMatchObject({ claims: [] });
    }
    expect(sent).toEqual(['run.awaiting_human_feedback', ...order]);
  });

  test('an ordering key waits for a delivery that is retried', async () => {
    const first = await see(await register(), 'awaiting_human_feedback');
    await see(first.stored, 'running');
    const stored = (await deliveries.get(first.due[0]!))!;
    const retried: Delivery = { ...stored.delivery, attemptCount: 1, nextAttemptAt: NOON + 5_000 };
    expect(await settle(stored, retried)).toMatchObject({ claims: [] });
    const dueNext = Number(await redis.zscore(keys.due('ops'), stored.delivery.id));
    expect(dueNext).toBeGreaterThan((await clock.read()).now);
  });
});

describe('attempt', () => {
  test('of two racing results of an attempt one is written', async () => {
    const { due } = await see(await register(), 'failed');
    const stored = (await deliveries.get(due[0]!))!;
    const after = delivered(stored.delivery, NOON);
    const settled = await Promise.all([settle(stored, after), settle(stored, after)]);
    expect(settled).toContain('delivery');
    expect(await deliveries.attempts(stored.delivery.id)).toEqual([attempt]);
  });
});

describe('endpoint state', () => {
  test.each([
    ['a configured one for good', 'ops', false],
    [
      'that of a webhook of a watch for a while after its last attempt',
      'https://a.example/hook',
      true,
    ],
  ])('an endpoint state is kept: %s', async (_what, endpoint, expires) => {
    const subscription: Subscription = endpoint === 'ops' ? ops : webhookTo(endpoint, ['*']);
    const { due } = await see(await register({ subscriptions: [subscription] }), 'failed');
    const before = (await deliveries.get(due[0]!))!;
    const state = await endpointStates.get(subscriptionKey(subscription));
    const after = delivered(before.delivery, NOON);
    const stateAfter = { ...state.state, failures: 1 };
    const shows = { endpoint: state, stateAfter, events: [] };
    const step = { before, after, attempt, shows, limits, now: NOON };
    expect(await outbox.recordAttempt(step)).toMatchObject({ claims: [] });
    expect((await redis.pttl(keys.endpointState(state.receiver))) > 0).toBe(expires);
  });
});

describe('delivery counters', () => {
  test('the delivery counters add up after planning and settling', async () => {
    const { stored, due } = await see(
      await register({ subscriptions: [ops, audit] }),
      'awaiting_human_feedback',
    );
    await see(stored, 'failed');
    const one = (await deliveries.get(due[0]!))!;
    await settle(one, delivered(one.delivery, NOON));
    const counts = await deliveries.counts();
    const sum = (byState: Record<string, number>) =>
      Object.values(byState).reduce((total, count) => total + count, 0);
    expect(sum(counts.byState)).toBe(counts.planned);
    const pending = await countNumbers(redis, keys.deliveries('state', 'pending'));
    expect(pending).toBe(counts.byState.pending);
  });
});

test('active watches are counted by run status, undocumented statuses together', async () => {
  const counted = async () => {
    const counts = await watches.activeByStatus(['counted']);
    return counts.filter(({ count }) => count > 0).map(({ status, count }) => [status, count]);
  };
  const running = await register({ source: 'counted', run: snapshot({ status: 'running' }) });
  await register({ source: 'counted', run: snapshot({ status: 'paused_by_moon' }) });
  await register({ source: 'counted', run: null });
  expect(await counted()).toEqual([
    ['running', 1],
    ['unseen', 1],
    ['unknown', 1],
  ]);
  await see(running, 'failed');
  expect(await counted()).toEqual([
    ['unseen', 1],
    ['unknown', 1],
  ]);
});

describe('lists of records', () => {
  test('a list of watches combines all filters, newest first, page by page', async () => {
    const workflow = `workflow-${runs}`;
    const made: string[] = [];
    for (let at = 0; at < 7; at += 1) {
      const stored = await register({ source: 'listed', run: snapshot({ workflow_id: workflow }) });
      made.unshift(stored.watch.runId);
    }
    await register({ source: 'listed' });
    await register({ run: snapshot({ workflow_id: workflow }) });
    const filter = {
      sources: ['listed'],
      workflowId: [workflow],
      status: ['running'],
      state: ['active' as const],
    };
    const found: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await watches.list(filter, { limit: 3, cursor });
      found.push(...page.items.map(({ runId }) => runId));
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
    expect(found).toEqual(made);
  });

  test('a list accepts several values of a field', async () => {
    const made: string[] = [];
    for (let at = 0; at < 9; at += 1) {
      const status = ['running', 'queued', 'stopped'][at % 3] ?? '';
      const stored = await register({ source: 'several', run: snapshot({ status }) });
      if (status !== 'stopped') made.unshift(stored.watch.runId);
    }
    const filter = { sources: ['several'], status: ['queued', 'running', 'unknown'] };
    const found: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await watches.list(filter, { limit: 2, cursor });
      found.push(...page.items.map(({ runId }) => runId));
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
    expect(found).toEqual(made);
    expect(await watches.hasStatus('queued')).toBe(true);
    expect(await watches.hasStatus('unknown')).toBe(false);
  });

  test('a changed watch moves from one list to another', async () => {
    const before = await register({ source: 'moved' });
    await see(before, 'running');
    const { stored } = await see((await watches.get(before.watch))!, 'stopped');
    const list = async (filter: object) =>
      (await watches.list({ sources: ['moved'], ...filter }, { limit: 10 })).items.length;
    expect(await list({ state: ['active'] })).toBe(0);
    expect(await list({ state: ['finished'], status: ['stopped'] })).toBe(1);
    expect(await list({ status: ['running'] })).toBe(0);
    expect(stored.watch.endedAt).toBe(NOON);
  });

  test('a watch that is registered again is listed once, as the newest', async () => {
    const first = await register({ source: 'renewed', run: snapshot({ status: 'queued' }) });
    const cancelled: Watch = { ...first.watch, state: 'cancelled', nextPollAt: null };
    await watches.commit({ before: first, after: cancelled, events: [], deliveries: [] });
    const second = await register({ source: 'renewed' });
    const before = (await watches.get(cancelled))!;
    const after = newWatch({ ...cancelled, state: 'active', run: null, registeredAt: NOON + 1 });
    await watches.commit({ before, after, events: [], deliveries: [] });

    const list = async (filter: object) =>
      (await watches.list(filter, { limit: 10 })).items.map(({ runId }) => runId);
    const newestFirst = [first.watch.runId, second.watch.runId];
    expect(await list({ sources: ['renewed'] })).toEqual(newestFirst);
    expect(await list({ sources: ['renewed'], state: ['active'] })).toEqual(newestFirst);
    expect((await list({})).slice(0, 2)).toEqual(newestFirst);
    expect(await list({ sources: ['renewed'], state: ['cancelled'] })).toEqual([]);
    expect(await list({ sources: ['renewed'], status: ['queued'] })).toEqual([]);
    expect(await countNumbers(redis, keys.watches('source', 'renewed'))).toBe(2);
  });

  test('a list refuses an invalid cursor', async () => {
    await expect(watches.list({}, { limit: 1, cursor: 'nonsense' })).rejects.toMatchObject({
      code: 'invalid_cursor',
    });
    await expect(events.list({ after: 'evt_nowhere' }, { limit: 1 })).rejects.toMatchObject({
      code: 'invalid_cursor',
    });
  });

  test('a list of events accepts an event id as cursor', async () => {
    const first = await see(await register(), 'awaiting_human_feedback');
    const second = await see(first.stored, 'failed');
    const { runId } = first.stored.watch;
    const rest = await events.list(
      { runs: [{ source: 'default', runId }], after: first.change.events[0]!.id },
      { limit: 10 },
    );
    expect(rest.items.map(({ event }) => event.id)).toEqual(
      second.change.events.map(({ id }) => id),
    );
  });
});

describe('follower of the event log', () => {
  test('a follower gets the events after its cursor, and later ones', async () => {
    const first = await see(await register(), 'awaiting_human_feedback');
    const { runId } = first.stored.watch;
    const stop = new AbortController();
    const got: string[] = [];
    const following = (async () => {
      for await (const { event } of events.follow(
        { runs: [{ source: 'default', runId }], after: '-0' },
        stop.signal,
      )) {
        if (event === null) throw new Error('nothing was lost');
        got.push(event.type);
        if (got.length === 1) await see(first.stored, 'failed');
        if (event.type === 'run.failed') stop.abort();
      }
    })();
    await following;
    expect(got).toEqual(['run.awaiting_human_feedback', 'run.resumed', 'run.failed']);
  });
});

describe('retention', () => {
  test('retention removes ended watches with all records, and keeps pending deliveries', async () => {
    const { due, stored } = await see(await register({ source: 'old' }), 'completed');
    await retention.forgetWatches(NOON + 1, 1);
    expect(await watches.get(stored.watch)).not.toBeNull();

    const one = (await deliveries.get(due[0]!))!;
    await settle(one, delivered(one.delivery, NOON));
    await retention.forgetWatches(NOON + 3, 1);
    expect(await watches.get(stored.watch)).toBeNull();
    expect(await deliveries.get(due[0]!)).toBeNull();
    const left = await keysLeft();
    expect(left.filter((key) => key.includes(stored.watch.runId))).toEqual([]);
    expect(left.filter((key) => key.includes(one.delivery.id))).toEqual([]);
    expect(left.filter((key) => key.includes(one.delivery.eventId))).toEqual([]);
    const { planned, byState } = await deliveries.counts();
    expect(Object.values(byState).reduce((a, b) => a + b)).toBe(planned);
  });

  test('retention keeps the configured number of the latest settled deliveries', async () => {
    const ids: string[] = [];
    for (let at = 0; at < 3; at += 1) {
      const { due } = await see(await register({ source: 'many' }), 'completed');
      const one = (await deliveries.get(due[0]!))!;
      await settle(one, delivered(one.delivery, NOON), NOON + 1_000 + at);
      ids.push(due[0]!);
    }
    const settled = await redis.zcard(keys.deliveriesSettled);
    expect((await retention.forgetDeliveriesBeyond(2)).forgotten).toBe(settled - 2);
    const left = await deliveries.getMany(ids);
    expect(left.map((one) => one !== null)).toEqual([false, true, true]);
    const { planned, byState } = await deliveries.counts();
    expect(Object.values(byState).reduce((a, b) => a + b)).toBe(planned);
  });

  test('retention skips watches and deliveries that must remain or have lost their records', async () => {
    const pending = await see(await register({ source: 'stuck' }), 'completed');
    const wanted = await see(await register({ source: 'stuck', subscriptions: [] }), 'completed');
    const inTheWay = Array.from({ length: 250 }, (_, at) => `stuck/lost-${at}`);
    await redis.zadd(keys.watchesEnded, ...inTheWay.flatMap((id) => [NOON - 2, id]));
    const number = await numberOf(pending.stored.watch);
    await redis.zadd(keys.watchesEnded, NOON - 3, number);
    await redis.zadd(keys.deliveriesSettled, ...inTheWay.flatMap((id) => [NOON - 2, id]));

    let goes = 0;
    for (let mayGoOn = true; mayGoOn && goes < 9; goes += 1) {
      ({ mayGoOn } = await retention.forgetWatches(NOON + 1, 60_000));
    }
    expect(goes).toBe(2);
    expect(await watches.get(wanted.stored.watch)).toBeNull();
    expect(await watches.get(pending.stored.watch)).not.toBeNull();
    expect(await redis.zscore(keys.watchesEnded, number)).toBe(String(NOON + 60_001));
    expect(await redis.zcount(keys.watchesEnded, '-inf', NOON)).toBe(0);

    expect(await retention.forgetDeliveries(NOON)).toMatchObject({ forgotten: 0, mayGoOn: true });
    await retention.forgetDeliveries(NOON);
    expect(await redis.zcount(keys.deliveriesSettled, '-inf', NOON - 1)).toBe(0);
  });

  test('retention keeps active watches, and those that ended later', async () => {
    const ended = await see(await register({ source: 'kept' }), 'completed');
    const active = await register({ source: 'kept' });
    await retention.forgetWatches(NOON - 1, 1);
    expect(await watches.get(ended.stored.watch)).not.toBeNull();
    expect(await watches.get(active.watch)).not.toBeNull();
  });
});

describe('events that are appended while the log is read', () => {
  const CHUNK = 128;

  /** Has two events appended once the first chunk was read: the last one of it, and the first of the next. */
  function appendBetweenChunks(): void {
    const read = redis.hkeys;
    redis.hkeys = async (...key: Parameters<typeof read>) => {
      redis.hkeys = read;
      const places = await redis.hkeys(...key);
      for (let left = 2; left > 0; left -= 1) await see(await register(), 'failed');
      return places;
    };
  }

  /** The log up to the last number but one of a chunk. @returns the place of its last event */
  async function nearlyFullChunk(): Promise<string> {
    for (;;) {
      const position = await events.position();
      if (Number(position.split('-')[1]) % CHUNK === CHUNK - 2) return position;
      await see(await register(), 'failed');
    }
  }

  const numbersOf = (cursors: readonly string[]) =>
    cursors.map((cursor) => Number(cursor.split('-')[1]));

  test('none is passed over where pages go on from one another', async () => {
    const before = await nearlyFullChunk();
    appendBetweenChunks();
    const listed: string[] = [];
    for (let after = before; listed.length < 2;) {
      const page = await events.list({ after }, { limit: 10 });
      listed.push(...page.items.map(({ cursor }) => cursor));
      after = page.nextCursor ?? page.end;
    }
    const [last] = numbersOf([before]);
    expect(numbersOf(listed)).toEqual([last! + 1, last! + 2]);
  });

  test('none is passed over by a follower', async () => {
    const before = await nearlyFullChunk();
    appendBetweenChunks();
    const stop = new AbortController();
    const got: string[] = [];
    for await (const { cursor } of events.follow({ after: before }, stop.signal)) {
      got.push(cursor);
      if (got.length === 2) stop.abort();
    }
    const [last] = numbersOf([before]);
    expect(numbersOf(got)).toEqual([last! + 1, last! + 2]);
  });
});
