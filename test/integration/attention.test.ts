import { afterAll, beforeEach, expect, jest, test } from '@jest/globals';
import type { Alert } from '../../src/core/alert/alert.ts';
import { FAILURES } from '../../src/core/alert/failures.ts';
import type { Group } from '../../src/core/alert/group.ts';
import { NEW_STATE } from '../../src/core/delivery/endpoint-state.ts';
import { newDelivery, type DeliveryState } from '../../src/core/delivery/delivery.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { AttentionService } from '../../src/http/attention.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';
import { testDaemon, type GivenDaemon } from '../support/daemon.ts';
import { endpointsOf } from '../support/endpoints.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores();
const { redis, watches, deliveries, outbox, endpointStates } = stores;
afterAll(() => stores.close());
beforeEach(async () => void (await redis.del(...(await stores.keysLeft()), 'none')));

const idOf = (at: number) => `alr_${String(at).padStart(20, '0')}_0000000000`;
const ID = idOf(1);
const LOUD = idOf(999);

const MINUTE = 60_000;
const DAY = 86_400_000;

type GivenStores = NonNullable<GivenDaemon['stores']>;
type GivenAlerts = NonNullable<GivenStores['alerts']>;

/** A store of alerts that are open, in pages. */
function alertsOf(asked: unknown[], ...pages: Alert[][]): GivenAlerts {
  return {
    async list({ state, rule, sources, cursor }) {
      if (rule === FAILURES) return { items: [], nextCursor: null };
      asked.push([state, sources]);
      const page = Number(cursor ?? 0);
      const nextCursor = pages.length > page + 1 ? String(page + 1) : null;
      return { items: sources === undefined ? (pages[page] ?? []) : [], nextCursor };
    },
    async groups(keys) {
      const all = pages.flat();
      return new Map(
        keys.map((key, at) => [
          key,
          {
            version: '1',
            group: {
              open: { alert: all[at], runIds: [] },
              late: {},
              labels: all[at]?.labels,
            } as unknown as Group,
          },
        ]),
      );
    },
  };
}
type GivenPoller = NonNullable<GivenDaemon['poller']>;

const hook = (name: string) => ({ type: 'webhook', url: `https://example.com/${name}` });

const open = ({ stores: givenStores, poller, ...changes }: GivenDaemon = {}) =>
  new AttentionService(
    testDaemon({
      stores: { ...stores, ...givenStores },
      endpoints: endpointsOf({ ops: hook('ops'), audit: { type: 'log' } }),
      poller: {
        sources: [],
        overdue: () => [],
        discovery: { troubles: async () => null },
        ...poller,
      },
      alerting: { suppressorsOf: async () => new Map() },
      now: () => NOON,
      ...changes,
    }),
  );

const listed = async (withAcknowledged = false, changes: GivenDaemon = {}) => {
  const { items, counts } = await open(changes).find({ withAcknowledged });
  const given = Object.entries(counts).filter(([, count]) => count > 0);
  return { items, counts: Object.fromEntries(given) };
};

async function store(runId: string, changes: Partial<Watch>, status = 'running'): Promise<void> {
  const run = snapshot({ id: runId, status, progress: 40, workflow_id: 'wf-1' });
  const before = await watches.get({ source: 'default', runId });
  const after = newWatch({ runId, run, ...changes });
  await watches.commit({ before, after, events: [], deliveries: [] });
}

const awaiting = (since: number) => ({
  changedAt: since,
  waiting: { since, reminders: 0, reminderId: null },
});

test('runs of a workflow that need a person alike are one entry, and others are not listed', async () => {
  await store('fine', {});
  await store('over', { state: 'finished' }, 'failed');
  await store('waits', awaiting(NOON - 5 * MINUTE), 'awaiting_human_feedback');
  await store('waits-too', awaiting(NOON - 9 * MINUTE), 'awaiting_event');
  await store('stalled', {
    changedAt: NOON - DAY,
    dwell: { since: NOON - 7 * MINUTE, stalled: true },
  });
  const trouble = { kind: 'unavailable', message: 'status 500', since: NOON - 6 * MINUTE } as const;
  await store('unread', { unreachable: true, trouble });
  const gone = { code: 'not_found', message: 'no such run', since: NOON - 2 * MINUTE } as const;
  await store('gone', { state: 'gone', gone, changedAt: NOON - 2 * MINUTE });
  await store('long-gone', { state: 'gone', gone, changedAt: NOON - 8 * DAY });

  const { items, counts } = await listed();
  expect(
    items.map(({ kind, count, runId, runs }) => [
      kind,
      count,
      runId,
      runs?.map((run) => run.runId),
    ]),
  ).toEqual([
    ['awaiting', 2, undefined, ['waits-too', 'waits']],
    ['stalled', 1, 'stalled', undefined],
    ['unreachable', 1, 'unread', undefined],
    ['gone', 1, 'gone', undefined],
  ]);
  expect(items[0]).toMatchObject({ since: NOON - 9 * MINUTE, message: '2 runs wait for a human' });
  expect(counts).toEqual({ awaiting: 1, stalled: 1, unreachable: 1, gone: 1 });
  expect(items[1]).toMatchObject({ workflowId: 'wf-1', message: expect.stringContaining('40 %') });
});

test('a run that a user has acknowledged is left out until that expires, or the run moves on', async () => {
  const acknowledged = { by: 'ana', comment: null, at: NOON - MINUTE, until: NOON + MINUTE };
  const waits = awaiting(NOON - 5 * MINUTE);
  await store('waits', { ...waits, acknowledged }, 'awaiting_human_feedback');
  expect(await listed()).toEqual({ items: [], counts: {} });
  expect(await listed(true)).toMatchObject({
    items: [{ runId: 'waits', acknowledged: { by: 'ana' } }],
    counts: { awaiting: 1 },
  });
  const later = { now: () => NOON + 2 * MINUTE };
  expect(await listed(false, later)).toMatchObject({
    items: [{ runId: 'waits', acknowledged: null }],
    counts: { awaiting: 1 },
  });
  await store('waits', {});
  expect(await listed(true)).toEqual({ items: [], counts: {} });
});

test('only what is of the sources of a token is listed for it', async () => {
  const waits = awaiting(NOON);
  await store('ours', waits, 'awaiting_human_feedback');
  await store('theirs', { ...waits, source: 'eu' }, 'awaiting_human_feedback');
  const limit = { requests: 10, perMs: 1_000 };
  const overdueOf = (source: string) => {
    const cause = { is: 'limit' as const };
    return { source, limit, polls: 3, oldestMs: MINUTE, wantedRequests: 20, cause };
  };
  const service = open({
    poller: { overdue: () => ['default', 'eu'].map(overdueOf) },
  });
  const { items } = await service.find({ withAcknowledged: false, sources: ['eu'] });
  expect(items.map(({ kind, source }) => [kind, source])).toEqual([
    ['overdue', 'eu'],
    ['awaiting', 'eu'],
  ]);
});

test('dead and parked deliveries are counted by endpoint, and endpoints that fail are named', async () => {
  const watch = newWatch();
  await watches.commit({ before: null, after: watch, events: [], deliveries: [] });
  let made = 0;
  const deliver = async (endpoint: string, state: DeliveryState, createdAt: number) => {
    made += 1;
    const event = { id: `evt_${made}`, type: 'run.failed' as const };
    const delivery = { ...newDelivery(watch, event, endpoint, createdAt), state };
    await redis.hset(stores.keys.event(event.id), 'place', 0, 'body', '{}');
    await outbox.add([delivery]);
  };
  await deliver('ops', 'dead', NOON - 9 * DAY);
  await deliver('ops', 'dead', NOON - 3 * DAY);
  await deliver('ops', 'dead', NOON - 2 * DAY);
  await deliver('audit', 'parked', NOON - 4 * DAY);
  await deliver('audit', 'delivered', NOON);
  const failing = await endpointStates.get('audit');
  const state = { ...NEW_STATE, breaker: 'open' as const, failingSince: NOON - DAY };
  const limits = { most: 4, rate: null, deadlineMs: 15_000 };
  await endpointStates.write(failing, state, { limits, now: NOON });

  const { items, counts } = await listed();
  expect(items).toEqual([
    {
      kind: 'endpoint',
      severity: 'error',
      endpoint: 'audit',
      count: 1,
      deliveries: { waiting: 1, dead: 0 },
      since: NOON - 4 * DAY,
      message:
        'most attempts at audit fail; it is probed; 1 delivery to audit waits until it takes them again',
    },
    expect.objectContaining({ kind: 'dead', endpoint: 'ops', count: 2, since: NOON - 3 * DAY }),
  ]);
  expect(counts).toEqual({ dead: 1, endpoint: 1 });
});

/** A run with deliveries that are in a state. */
async function deliveriesIn(state: DeliveryState, to: readonly string[], createdAt: number) {
  const watch = newWatch({ runId: `${state}-${createdAt}-${to.length}` });
  await watches.commit({ before: null, after: watch, events: [], deliveries: [] });
  const event = { id: `evt_${watch.runId}`, type: 'run.failed' as const };
  await redis.hset(stores.keys.event(event.id), 'place', 0, 'body', '{}');
  const all = to.map((endpoint) => ({ ...newDelivery(watch, event, endpoint, createdAt), state }));
  await outbox.add(all);
  return all;
}

test('dead deliveries are counted as they come, and those of long ago left out, whenever they are asked for', async () => {
  const service = open();
  const dead = async () => {
    const { items } = await service.find({ withAcknowledged: false });
    return items.map(({ endpoint, count, since }) => [endpoint, count, since]);
  };
  await deliveriesIn('dead', ['ops'], NOON - 9 * DAY);
  expect(await dead()).toEqual([]);
  await deliveriesIn('dead', ['ops'], NOON - 3 * DAY);
  expect(await dead()).toEqual([['ops', 1, NOON - 3 * DAY]]);
  await deliveriesIn('dead', ['ops', 'audit'], NOON - DAY);
  expect(await dead()).toEqual([
    ['ops', 2, NOON - 3 * DAY],
    ['audit', 1, NOON - DAY],
  ]);
});

test('what is dead is found out again after a minute, for one endpoint an answer', async () => {
  let now = NOON;
  const counted: string[] = [];
  const backlog: typeof deliveries.backlog = async (state, endpoint, since) => {
    counted.push(endpoint);
    return deliveries.backlog(state, endpoint, since);
  };
  const service = open({
    now: () => now,
    stores: { deliveries: { counts: () => deliveries.counts(), backlog } },
  });
  await deliveriesIn('dead', ['ops', 'audit'], NOON - 6.9 * DAY);
  const list = () => service.find({ withAcknowledged: false });
  expect((await list()).counts.dead).toBe(2);
  expect((await list()).counts.dead).toBe(2);
  expect(counted.sort()).toEqual(['audit', 'ops']);
  now += DAY;
  expect((await list()).counts.dead).toBe(1);
  expect((await list()).counts.dead).toBe(0);
  expect(counted).toHaveLength(4);
});

test('attention asks Redis as often for three hundred endpoints as for one', async () => {
  const names = Array.from({ length: 300 }, (_, at) => `to-${at}`);
  await deliveriesIn('dead', names.slice(0, 20), NOON - DAY);
  const endpoints = endpointsOf(Object.fromEntries(names.map((name) => [name, hook(name)])));
  const service = open({ endpoints });
  await service.find({ withAcknowledged: false });
  const sent = jest.spyOn(redis, 'sendCommand');
  const { counts } = await service.find({ withAcknowledged: false });
  expect(counts.dead).toBe(20);
  expect(sent.mock.calls.length).toBeLessThan(25);
  sent.mockRestore();
});

test('an endpoint that asked for a pause of a minute or more is listed until the pause ends', async () => {
  const asked = { ...NEW_STATE, throttledSince: NOON - MINUTE, throttledUntil: NOON + MINUTE };
  const limits = { most: 4, rate: null, deadlineMs: 15_000 };
  await endpointStates.write(await endpointStates.get('ops'), asked, { limits, now: NOON });
  expect((await listed()).items).toEqual([
    expect.objectContaining({
      kind: 'endpoint',
      endpoint: 'ops',
      since: NOON - MINUTE,
      message: expect.stringContaining('ops asked for a pause until'),
    }),
  ]);
  expect((await listed(false, { now: () => NOON + MINUTE })).items).toEqual([]);
});

test('alerts and lists that cannot be read stand among the others by their severity', async () => {
  const alert: Alert = {
    id: ID,
    rule: 'failed-runs',
    labels: { source: 'default', workflow_id: 'wf-1' },
    state: 'firing',
    severity: 'error',
    owner: null,
    annotations: {},
    count: 3,
    runsTotal: 3,
    runs: [],
    startedAt: NOON - MINUTE,
    updatedAt: NOON,
    resolvedAt: null,
    reason: null,
    acknowledged: null,
    notified: [],
  };
  const asked: unknown[] = [];
  const alerts = alertsOf(asked, [alert]);
  const unread = { source: 'default', workflowId: 'wf-1', since: NOON - 2 * MINUTE, text: '403' };
  const poller: GivenPoller = { discovery: { troubles: async () => [unread] } };
  const changes = { stores: { alerts }, poller };
  const { items, counts } = await listed(false, changes);
  expect(items).toEqual([
    expect.objectContaining({
      kind: 'alert',
      severity: 'error',
      alertId: ID,
      workflowId: 'wf-1',
      message: 'failed-runs fires: 3 events, source default, workflow_id wf-1',
    }),
    expect.objectContaining({ kind: 'discovery', source: 'default', workflowId: 'wf-1' }),
  ]);
  expect(counts).toEqual({ alert: 1, discovery: 1 });
  await listed(true, changes);
  const limited = await open(changes).find({ withAcknowledged: false, sources: ['eu'] });
  expect(limited.items).toEqual([]);
  expect(asked).toEqual([
    [['firing', 'acknowledged'], undefined],
    [['firing', 'acknowledged'], undefined],
    [['firing', 'acknowledged'], ['eu']],
  ]);
});

test('alerts that are suppressed are left out, however many, unless acknowledged ones are asked for', async () => {
  const anAlert = (id: string): Alert => ({
    id,
    rule: 'failed-runs',
    labels: {},
    state: 'firing',
    severity: 'error',
    owner: null,
    annotations: {},
    count: 1,
    runsTotal: 1,
    runs: [],
    startedAt: NOON - MINUTE,
    updatedAt: NOON,
    resolvedAt: null,
    reason: null,
    acknowledged: null,
    notified: [],
  });
  const pages = [Array.from({ length: 200 }, (_, at) => anAlert(idOf(at))), [anAlert(LOUD)]];
  const alerts = alertsOf([], ...pages);
  const silenced = { kind: 'silence' as const, id: 'sil_1', by: 'ana', until: NOON };
  const alerting: NonNullable<GivenDaemon['alerting']> = {
    suppressorsOf: async (shown) =>
      new Map(shown.map(({ id }) => [id, id === LOUD ? [] : [silenced]])),
  };
  const { items, counts } = await listed(false, { stores: { alerts }, alerting });
  expect([items.map(({ alertId }) => alertId), counts]).toEqual([[LOUD], { alert: 1 }]);
  const all = await listed(true, { stores: { alerts }, alerting });
  expect(all.items[0]).toMatchObject({ alertId: idOf(0), suppressedBy: [silenced] });
});

test('an endpoint that writes to the log is listed while this process cannot write it', async () => {
  const eventLog = { trouble: () => ({ reason: 'ENOSPC', since: NOON - MINUTE }) };
  const { items } = await listed(false, { eventLog });
  expect(items).toEqual([
    {
      kind: 'endpoint',
      severity: 'error',
      since: NOON - MINUTE,
      message: 'audit waits: this process cannot write its log (ENOSPC)',
      endpoint: 'audit',
      count: 0,
      deliveries: { waiting: 0, dead: 0 },
    },
  ]);
});
