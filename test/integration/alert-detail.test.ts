import { afterAll, beforeEach, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { Alerting } from '../../src/alert/alerting.ts';
import type { TokenConfig } from '../../src/config/schema.ts';
import { entriesOf, RuleBook } from '../../src/core/alert/entry.ts';
import { MOST_GROUPS } from '../../src/core/alert/judgement.ts';
import type { InhibitRule } from '../../src/core/alert/rule.ts';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import type { Delivery } from '../../src/core/delivery/delivery.ts';
import { noLinks } from '../../src/core/run/links.ts';
import { buildEvent } from '../../src/core/run/transition.ts';
import type { Daemon } from '../../src/daemon.ts';
import { alertsOfRun } from '../../src/http/run-alerts.ts';
import { AlertService } from '../../src/http/alerts.ts';
import { WatchService } from '../../src/http/watches.ts';
import type { DeliveryStore } from '../../src/redis/stores/delivery-store.ts';
import { aSilence } from '../support/alert-stage.ts';
import { newMark, newWatch, NOON, snapshot } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';
import { endpointsOf } from '../support/endpoints.ts';
import { aRule } from '../support/fake-alerts.ts';
import { openStores } from '../support/stores.ts';

const SECOND = 1_000;
const MINUTE = 60_000;

const rules = {
  book: new RuleBook([]),
  inhibitRules: [] as InhibitRule[],
  sources: ['default', 'eu'],
  usual: (): number | null => null,
};
const stores = openStores(undefined, {
  isClockManual: true,
  entriesOf: (change) => entriesOf(rules.book, change, () => null),
});
const { redis, keys, alerts, silences, watches } = stores;
afterAll(() => stores.close());

let now = NOON;

async function setClock(at: number): Promise<void> {
  now = at;
  await redis.set(keys.clock, now);
}

beforeEach(async () => {
  await redis.del(...(await stores.keysLeft()), 'none');
  await setClock(NOON);
  rules.book = new RuleBook([aRule({ groupWaitMs: SECOND })]);
});

function open(deliveries: DeliveryStore = stores.deliveries) {
  const process = testProcess({
    stores: { ...stores, deliveries },
    endpoints: Object.assign(endpointsOf({}), {
      wantingAlertEvent: (_type: string, named: readonly string[]) => [...named],
    }),
    newToken: () => 'judge-1.1',
    traitsOf: () => null,
    now: () => now,
    clock: { measure: async () => undefined },
    log: pino({ enabled: false }),
  });
  const poller = { inDoubt: async () => new Set<string>(), readSoon: async () => undefined };
  const alerting = new Alerting(process, poller, { configurations: async () => [] });
  Object.assign(alerting, { rules });
  const show = (id: string, token: TokenConfig | null = null) =>
    new AlertService(alerting).get({ params: { id }, token });
  const alertsOf = async (runId: string, token: TokenConfig | null = null) => {
    const daemon = Object.assign(process, { alerting }) as Daemon;
    const timeline = await new WatchService(daemon).timeline(
      { runId, sources: ['default'] },
      token,
    );
    return timeline?.alerts;
  };
  return { alerting, engine: alerting.engine, show, alertsOf };
}

const NODES = {
  executed: 1,
  remaining: 1,
  running: [],
  failed: ['n-1'],
  names: { 'n-1': 'Write summary' },
};

/** Has a run fail, and its rule fire. @returns the id of the alert */
async function fail(runId: string, nodes: typeof NODES | null = null): Promise<string> {
  const run = snapshot({ id: runId, workflow_id: 'wf-1', status: 'failed' });
  const before = newWatch({ runId });
  const after = { ...before, run, state: 'finished' as const, endedAt: now };
  const change = { before, after, now, newMark, nodes, linksOf: noLinks };
  const event = buildEvent(change, { type: 'run.failed' }, 1);
  await watches.commit({ before: null, after, events: [event], deliveries: [] });
  const { engine } = open();
  await engine.judge();
  await setClock(now + SECOND);
  await engine.judge();
  const { items } = await alerts.list({ limit: 1 });
  return items[0]?.id ?? '';
}

const OF_EU = {
  name: 'eu',
  token: 'a-token-of-default',
  scopes: ['read'],
  sources: ['default'],
} as unknown as TokenConfig;

test('an alert says where each of its runs stood at its newest event that says so', async () => {
  await fail('run-1', NODES);
  const id = await fail('run-2');
  const { runs } = await open().show(id);
  expect(runs.map(({ run_id: run, nodes }) => [run, nodes])).toEqual([
    ['run-2', null],
    ['run-1', NODES],
  ]);
});

test('a notification says what became of it: sent, waiting for which endpoint and why, or given up', async () => {
  const id = await fail('run-1');
  const [sent] = (await open().show(id)).notified;
  expect(sent).toMatchObject({
    endpoint: 'chat',
    delivery_id: expect.stringMatching(/^dlv_/),
    delivery_state: 'pending',
    delivery_text: 'waiting to be sent',
  });
  const error = { code: 'http_503', message: 'status 503' };
  const last = { at: now, status: 503, error, durationMs: 1, response: 'secret of chat' };
  const texts: [Partial<Delivery>, string][] = [
    [{ state: 'pending', last }, 'waiting for chat: status 503'],
    [{ state: 'parked', last: null }, 'waiting until chat takes deliveries again'],
    [{ state: 'dead', last }, 'given up: status 503'],
    [{ state: 'delivered', last: { ...last, error: null } }, 'delivered'],
    [{ state: 'skipped', last: null }, 'skipped'],
    [{ state: 'superseded', last: null }, 'superseded by a later one'],
  ];
  for (const [changes, text] of texts) {
    const store = Object.create(stores.deliveries) as DeliveryStore;
    store.list = async (...asked) => {
      const page = await stores.deliveries.list(...asked);
      return { ...page, items: page.items.map((one) => Object.assign(one, changes)) };
    };
    const { notified, history } = await open(store).show(id);
    expect(notified).toMatchObject([{ delivery_state: changes.state, delivery_text: text }]);
    expect(history.at(-1)?.deliveries).toMatchObject([{ endpoint: 'chat', delivery_text: text }]);
  }
  const gone = Object.create(stores.deliveries) as DeliveryStore;
  gone.list = async () => ({ items: [], nextCursor: null, total: 0, isCapped: false });
  expect((await open(gone).show(id)).notified).toMatchObject([
    { delivery_id: null, delivery_state: null, delivery_text: 'kept no more' },
  ]);
});

test('the history has silences that were in force while the alert went on, also once it has resolved', async () => {
  const id = await fail('run-1');
  const times = (startsAt: number, until: number) => ({ startsAt, until, createdAt: startsAt });
  const started = { matchers: { workflowId: ['wf-1'] }, by: 'root' };
  for (const [name, at] of Object.entries({
    before: times(NOON - MINUTE, NOON),
    during: times(NOON + MINUTE, NOON + 2 * MINUTE),
    after: times(NOON + 10 * MINUTE, NOON + 20 * MINUTE),
  })) {
    await silences.add(aSilence({ id: `sil_${name}`, ...started, comment: name, ...at }));
  }
  const other = { matchers: { workflowId: ['wf-2'] }, ...times(NOON, NOON + MINUTE) };
  await silences.add(aSilence({ id: 'sil_other', ...other }));
  const { engine, show } = open();
  expect((await show(id)).history.map(({ kind }) => kind)).toEqual(['began', 'fired']);
  await setClock(NOON + 3 * MINUTE);
  const silenced = { kind: 'silenced', text: 'silenced by root', comment: 'during' };
  expect((await show(id)).history).toMatchObject([{}, {}, silenced]);
  await engine.resolve(id, { by: 'ana', comment: null });
  await setClock(NOON + 15 * MINUTE);
  expect((await show(id)).history).toMatchObject([{}, {}, silenced, { kind: 'resolved' }]);
});

test('a token for some sources sees no delivery, no user and no condition of others', async () => {
  const when = { source: ['default', 'eu'], workflow_id: ['wf-1'] };
  rules.book = new RuleBook([aRule({ groupWaitMs: SECOND, when })]);
  const id = await fail('run-1');
  const about = { matchers: { rule: ['failed-runs'] }, startsAt: NOON, until: NOON + MINUTE };
  await silences.add(aSilence({ id: 'sil_1', by: 'root', comment: 'of eu', ...about }));
  const whole = await open().show(id);
  expect(whole.rule_text?.watches).toContain('of workflow wf-1 of source default or eu');
  expect(JSON.stringify(whole.history)).toContain('of eu');
  const { history, notified, rule_text: text } = await open().show(id, OF_EU);
  expect(text?.watches).toBe('run.failed; one alert for each source and workflow');
  expect(history).toContainEqual(
    expect.objectContaining({ kind: 'silenced', text: 'silenced', by: null, comment: null }),
  );
  expect(notified).toMatchObject([{ endpoint: 'chat', delivery_id: null }]);
});

test('an alert of a rule that is configured no more is shown without its words', async () => {
  const id = await fail('run-1');
  rules.book = new RuleBook([]);
  expect((await open().show(id)).rule_text).toBeNull();
});

test('timeline of a run has the alerts that count its events, with what they sent and what keeps them back', async () => {
  const id = await fail('run-1');
  const stored = await stores.timelines.read({ source: 'default', runId: 'run-1' });
  expect(await open().alertsOf('run-1')).toEqual([
    {
      id,
      rule: 'failed-runs',
      state: 'firing',
      acknowledged: null,
      suppressed_by: [],
      notified: (await open().show(id)).notified,
      event_ids: stored!.events.map((event) => event.id),
    },
  ]);
  await watches.commit({
    before: null,
    after: newWatch({ runId: 'run-2', run: snapshot({ id: 'run-2', workflow_id: 'wf-1' }) }),
    events: [],
    deliveries: [],
  });
  expect(await open().alertsOf('run-2')).toEqual([]);

  const silence = {
    id: 'sil_1',
    by: 'root',
    comment: 'deploy',
    startsAt: now,
    until: now + MINUTE,
  };
  await silences.add(aSilence({ ...silence, matchers: { rule: ['failed-runs'] } }));
  await open().engine.acknowledge(id, { by: 'ana', comment: null, until: null });
  expect(await open().alertsOf('run-1')).toMatchObject([
    {
      state: 'acknowledged',
      acknowledged: { by: 'ana' },
      suppressed_by: [{ kind: 'silence', by: 'root' }],
    },
  ]);
  await open().engine.resolve(id, { by: 'ana', comment: null });
  expect(await open().alertsOf('run-1')).toEqual([]);
});

test('timeline of a run does not count an event that its alert has not judged, nor those of a namesake', async () => {
  await fail('run-1');
  const { alertsOf } = open();
  const [first] = (await alertsOf('run-1')) ?? [];
  const { watch: before } = (await watches.get({ source: 'default', runId: 'run-1' }))!;
  const failedAt = (at: number) => {
    const change = { before, after: before, now: at, newMark, nodes: null, linksOf: noLinks };
    return buildEvent(change, { type: 'run.failed' }, 2);
  };
  const stored = await stores.timelines.read({ source: 'default', runId: 'run-1' });
  const { alerting } = open();
  const counted = async (events: RunwatchEvent[]) => {
    const [alert] = await alertsOfRun(alerting, { watch: before, events }, null);
    return alert?.event_ids;
  };
  expect(await counted([...stored!.events, failedAt(now + SECOND)])).toEqual(first?.event_ids);
  expect(await counted([failedAt(NOON - SECOND)])).toEqual([]);
});

test('timeline of a run shows a limited token the alerts of its sources, without users and deliveries of others', async () => {
  const id = await fail('run-1');
  const silence = { id: 'sil_1', by: 'root', startsAt: NOON, until: NOON + MINUTE };
  await silences.add(aSilence({ ...silence, matchers: { rule: ['failed-runs'] } }));
  expect(await open().alertsOf('run-1', OF_EU)).toMatchObject([
    {
      id,
      suppressed_by: [{ kind: 'silence', id: null, by: null }],
      notified: [{ endpoint: 'chat', delivery_id: null }],
    },
  ]);
});

test('timeline of a run hides alerts that are of no one source from a limited token', async () => {
  rules.book = new RuleBook([aRule({ groupWaitMs: SECOND, groupBy: ['workflow_id'] })]);
  const id = await fail('run-1');
  expect(await open().alertsOf('run-1')).toMatchObject([{ id }]);
  expect(await open().alertsOf('run-1', OF_EU)).toEqual([]);
});

test('timeline of a run has the alert that counts its event where its rule has too many groups', async () => {
  const there = Array.from({ length: MOST_GROUPS }, (_, at) => ['inf', `group-${at}`]);
  await redis.zadd(keys.alertGroups('failed-runs'), ...there.flat());
  const id = await fail('run-1');
  expect((await open().show(id)).labels).toEqual({ overflow: 'true', source: 'default' });
  expect(await open().alertsOf('run-1')).toMatchObject([
    { id, event_ids: [expect.stringMatching(/^evt_/)] },
  ]);
});
