import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import pino from 'pino';
import { configSchema } from '../../src/config/schema.ts';
import { noCounts } from '../../src/core/alert/alert.ts';
import { newDelivery } from '../../src/core/delivery/delivery.ts';
import { isoTime, type LoggedType, type SystemEventType } from '../../src/core/event/event.ts';
import { loggedTypes } from '../../src/core/event/patterns.ts';
import { noLinks } from '../../src/core/run/links.ts';
import { buildEvent } from '../../src/core/run/transition.ts';
import { SystemEvents } from '../../src/daemon/system-events.ts';
import { newMark, newWatch, NOON, snapshot } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';
import { delivered, openStores } from '../support/stores.ts';

const MINUTE = 60_000;

const stores = openStores(undefined, { isClockManual: true });
const { redis, keys, alerts, deliveries, events, outbox, retention, watches } = stores;
afterAll(() => stores.close());

let now = NOON;
let runs = 0;

async function pass(ms: number): Promise<void> {
  now += ms;
  await redis.set(keys.clock, now);
}

beforeEach(async () => {
  const left = await stores.keysLeft();
  if (left.length > 0) await redis.del(...left);
  now = NOON;
  await pass(0);
});

function textOf(type: LoggedType, data: object) {
  const id = `evt_${newMark()}`;
  return { id, body: JSON.stringify({ id, type, timestamp: isoTime(now), data }) };
}

/** An event about an endpoint, perhaps with a delivery of it. */
async function raise(data: object = { endpoint: 'ops' }, endpoint?: string): Promise<string> {
  const type = 'endpoint.failing';
  const text = textOf(type, data);
  const about = { source: '', runId: '' };
  const planned =
    endpoint === undefined ? [] : [newDelivery(about, { id: text.id, type }, endpoint, now)];
  await events.raise({ ...text, deliveries: planned });
  return text.id;
}

async function fire(labels: Record<string, string>): Promise<string> {
  const event = { ...textOf('alert.firing', { alert: { id: 'alr_1', labels } }), deliveries: [] };
  const nothing = { changed: [], resolved: [] };
  const written = { token: null, read: new Map(), counts: noCounts(), events: [event], ...nothing };
  await alerts.commit(written);
  return event.id;
}

async function end(): Promise<string> {
  const runId = `run-${(runs += 1)}`;
  const run = snapshot({ id: runId, workflow_id: 'wf-1', status: 'failed' });
  const before = newWatch({ runId });
  const after = { ...before, run, state: 'finished' as const, endedAt: now };
  const change = { before, after, now, newMark, nodes: null, linksOf: noLinks };
  const event = buildEvent(change, { type: 'run.failed' }, 1);
  await watches.commit({ before: null, after, events: [event], deliveries: [] });
  return event.id;
}

type Filter = Parameters<typeof events.list>[0];

/** Ids of what a listing gives, page after page. */
async function listed(filter: Filter, limit = 50, order: 'oldest' | 'newest' = 'oldest') {
  const ids: string[] = [];
  let after: string | undefined;
  do {
    const page = await events.list({ ...filter, ...(after && { after }) }, { limit, order });
    ids.push(...page.items.map(({ event }) => event.id));
    after = page.nextCursor ?? undefined;
  } while (after !== undefined);
  return ids;
}

describe('the log of events', () => {
  test('events of alerts and of runwatch itself are listed where a type names them', async () => {
    const first = await end();
    const [failing, firing] = [await raise(), await fire({ source: 'default' })];
    const last = await end();
    expect(await listed({})).toEqual([first, last]);
    expect(await listed({ type: loggedTypes(['alert.*']) })).toEqual([firing]);
    expect(await listed({ type: loggedTypes(['endpoint.*']) })).toEqual([failing]);
    expect(await listed({ type: loggedTypes(['source.*', 'alert.resolved']) })).toEqual([]);
    const all = loggedTypes(['run.*', 'alert.*', 'system.*']);
    expect(await listed({ type: all })).toEqual([first, failing, firing, last]);
    expect(await listed({ type: all }, 3, 'newest')).toEqual([last, firing, failing, first]);
  });

  test('without a type the log lists what an asterisk names in a configuration', async () => {
    const run = await end();
    const text = textOf('source.unreachable', { source: 'default' });
    await events.raise({ ...text, deliveries: [] });
    await raise();
    await fire({ source: 'default' });
    expect(await listed({})).toEqual([run, text.id]);
    expect(await listed({ sources: ['default'] })).toEqual([run, text.id]);
    expect(await listed({ sources: ['other'] })).toEqual([]);
  });

  test('pages of events of runs are full although others stand between them', async () => {
    const ids: string[] = [];
    for (let round = 0; round < 5; round += 1) {
      for (let other = 0; other < 4; other += 1) await raise();
      ids.push(await end());
    }
    const page = await events.list({}, { limit: 3 });
    expect(page.items.map(({ event }) => event.id)).toEqual(ids.slice(0, 3));
    expect(await listed({}, 2)).toEqual(ids);
    expect(await listed({}, 2, 'newest')).toEqual(ids.toReversed());
  });

  test('an event of an alert is found by workflow, source and time', async () => {
    const early = await fire({ source: 'eu', workflow_id: 'wf-1' });
    await pass(MINUTE);
    const late = await fire({ source: 'default', workflow_id: 'wf-1' });
    const about = await raise({ source: 'default' });
    const type = loggedTypes(['alert.*', 'system.*']);
    expect(await listed({ type, workflowId: ['wf-1'] })).toEqual([early, late]);
    expect(await listed({ type, sources: ['default'] })).toEqual([late, about]);
    expect(await listed({ type, since: NOON + 1 })).toEqual([late, about]);
    expect(await listed({ type, until: NOON + 1 })).toEqual([early]);
  });

  test('a follower of alerts hears of one as it fires', async () => {
    const stop = new AbortController();
    const after = await events.position();
    const following = events.follow({ type: loggedTypes(['alert.*']), after }, stop.signal);
    const heard = following[Symbol.asyncIterator]().next();
    await end();
    const firing = await fire({ source: 'default' });
    expect((await heard).value).toMatchObject({ event: { id: firing, type: 'alert.firing' } });
    stop.abort();
  });

  test('events of alerts are forgotten by age, with all that led to them', async () => {
    await fire({ source: 'default', workflow_id: 'wf-1' });
    await pass(MINUTE);
    const kept = await fire({ source: 'default' });
    expect(await retention.forgetOwnEvents(now - 1)).toMatchObject({
      forgotten: 1,
      mayGoOn: false,
    });
    expect(await listed({ type: loggedTypes(['alert.*']) })).toEqual([kept]);
    await retention.forgetOwnEvents(now);
    // A counter and the last chunk of the log are kept.
    const left = (await stores.keysLeft()).map((key) => key.slice(key.indexOf('}:') + 2));
    expect(left.filter((key) => /^event(s|:evt)|own-events/.test(key))).toEqual([]);
  });

  test('the text of a system event is kept while the log or a delivery needs it', async () => {
    const id = await raise({ endpoint: 'ops' }, 'audit');
    const [waiting] = (await deliveries.list({}, { limit: 1 })).items;
    await retention.forgetOwnEvents(now + 1);
    expect(await events.body(id)).not.toBeNull();
    const other = await raise({ endpoint: 'ops' }, 'audit');
    for (const delivery of (await deliveries.list({}, { limit: 2 })).items) {
      const before = await deliveries.get(delivery.id);
      if (before === null) throw new Error('a delivery is gone');
      const limits = { most: 4, rate: null, deadlineMs: 1_000 };
      await outbox.withhold({ before, after: delivered(delivery, now), limits, now });
    }
    await retention.forgetDeliveries(now + MINUTE);
    expect(waiting?.eventId).toBe(id);
    expect(await events.body(id)).toBeNull();
    expect(await events.body(other)).not.toBeNull();
  });
});

describe('the order of system events at an endpoint', () => {
  const config = configSchema.parse({
    data_dir: '/nowhere',
    endpoints: { ops: { type: 'log', events: ['system.*'] } },
  });
  const log = pino({ level: 'silent' });
  const systemEvents = new SystemEvents(testProcess({ config, stores, now: () => now, log }));

  test('a system event waits only behind one of the same kind about the same thing', async () => {
    const raised: [SystemEventType, object][] = [
      ['discovery.unavailable', { source: 'a' }],
      ['discovery.unavailable', { source: 'b' }],
      ['source.unreachable', { source: 'a' }],
      ['source.unreachable', { source: 'b' }],
      ['workflow.stalled', { source: 'a', workflow_id: 'wf-1' }],
      ['workflow.stalled', { source: 'a', workflow_id: 'wf-2' }],
      ['endpoint.failing', { endpoint: 'chat' }],
      ['endpoint.failing', { endpoint: 'mail' }],
      ['store.data_lost', {}],
      ['store.data_lost', {}],
    ];
    const later: [SystemEventType, object][] = [
      ['discovery.recovered', { source: 'a' }],
      ['source.recovered', { source: 'b' }],
      ['workflow.recovered', { source: 'a', workflow_id: 'wf-2' }],
      ['endpoint.recovered', { endpoint: 'chat' }],
    ];
    for (const [type, data] of [...raised, ...later]) {
      await systemEvents.raise({ type, level: 'info', data: { ...data } });
    }
    const limits = { most: 20, rate: null, deadlineMs: 1_000 };
    await redis.set(keys.slots('ops'), JSON.stringify({ limit: 20 }));
    const wish = { pool: 'ops', limits, most: 20, token: 'p.1', askedAt: 0 };
    const { claims } = await outbox.claim(wish);
    const types = claims.map(({ stored }) => stored.delivery.eventType);
    expect(types.toSorted()).toEqual(raised.map(([type]) => type).toSorted());
  });
});
