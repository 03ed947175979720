import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Alerting } from '../../src/alert/alerting.ts';
import { AlertRules } from '../../src/alert/rules.ts';
import { createClient } from '../../src/client/client.ts';
import type {
  AlertQuery,
  AlertView,
  DeliveryQuery,
  DeliveryView,
  EventQuery,
  EventView,
  WatchQuery,
  WatchView,
} from '../../src/client/types.ts';
import { configSchema } from '../../src/config/schema.ts';
import { newBatch } from '../../src/core/batch.ts';
import { planDeliveries } from '../../src/core/delivery/delivery.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { createServer, listen } from '../../src/http/server.ts';
import { Services } from '../../src/http/services.ts';
import { createTokens } from '../../src/http/tokens.ts';
import { newWatch, NOON, observeContext, snapshot } from '../support/builders.ts';
import { runCli } from '../support/cli-harness.ts';
import { testDaemon } from '../support/daemon.ts';
import { delivered, openStores } from '../support/stores.ts';

/*
 * Each filter of each listing, from a query or a flag to the rows: through the server, its services and
 * Redis. A filter that a layer takes and does not pass on would leave all rows.
 */

const HOUR = 3_600_000;

/** Four runs, of which each filter leaves some. They are registered in this order. */
const RUNS = {
  'invoice-1': { source: 'default', workflow: 'invoices', team: 'ml', status: 'failed', ageH: 5 },
  'invoice-2': { source: 'eu', workflow: 'invoices', team: 'ops', status: 'failed', ageH: 2 },
  'payroll-1': { source: 'eu', workflow: 'payroll', team: 'ml', status: 'completed', ageH: 4 },
  'payroll-2': { source: 'default', workflow: 'payroll', team: 'ops', status: 'running', ageH: 1 },
} as const;

type RunId = keyof typeof RUNS;

const RUN_IDS = Object.keys(RUNS) as RunId[];

/** One filter, as a query of the API and as a flag. Without others, it leaves some rows and not all. */
type Filter<Row> = { query: string; flag: string } & (
  | { admits: (row: Row) => boolean }
  /** Of an order, which leaves all rows. */
  | { arranges: (rows: readonly Row[]) => Row[] }
);

/** Every filter of a listing: the compiler asks for one that is missing. */
type Filters<Query, Row> = Record<Exclude<keyof Query, 'limit' | 'cursor'>, Filter<Row>>;

const isRecent = (time: string) => Date.parse(time) >= NOON - 3 * HOUR;

const WATCHES: Filters<WatchQuery, WatchView> = {
  state: {
    query: 'state=active',
    flag: '--state active',
    admits: ({ state }) => state === 'active',
  },
  status: {
    query: 'status=failed,running',
    flag: '--status failed,running',
    admits: ({ run }) => run?.status !== 'completed',
  },
  source: { query: 'source=eu', flag: '--source eu', admits: ({ source }) => source === 'eu' },
  workflow_id: {
    query: 'workflow_id=payroll',
    flag: '--workflow payroll',
    admits: ({ run }) => run?.workflow_id === 'payroll',
  },
  batch: {
    query: 'batch=nightly',
    flag: '--batch nightly',
    admits: ({ run_id: runId }) => runId.startsWith('invoice'),
  },
  metadata: {
    query: 'metadata.team=ml',
    flag: '--meta team=ml',
    admits: ({ metadata }) => metadata['team'] === 'ml',
  },
  since: {
    query: 'since=3h',
    flag: '--since 3h',
    admits: ({ changed_at: at }) => isRecent(at ?? ''),
  },
  until: {
    query: 'until=3h',
    flag: '--until 3h',
    admits: ({ changed_at: at }) => !isRecent(at ?? ''),
  },
  order: {
    query: 'order=changed',
    flag: '--order changed',
    arranges: (rows) =>
      rows.toSorted((a, b) => (b.changed_at ?? '').localeCompare(a.changed_at ?? '')),
  },
};

const EVENTS: Filters<EventQuery, EventView> = {
  run_id: {
    query: 'run_id=invoice-1',
    flag: '--run invoice-1',
    admits: ({ data }) => data.run_id === 'invoice-1',
  },
  type: {
    query: 'type=run.failed',
    flag: '--type run.failed',
    admits: ({ type }) => type === 'run.failed',
  },
  workflow_id: {
    query: 'workflow_id=payroll',
    flag: '--workflow payroll',
    admits: ({ data }) => data.run?.workflow_id === 'payroll',
  },
  since: {
    query: 'since=3h',
    flag: '--since 3h',
    admits: ({ data }) => isRecent(data.detected_at),
  },
  until: {
    query: 'until=3h',
    flag: '--until 3h',
    admits: ({ data }) => !isRecent(data.detected_at),
  },
  after: {
    query: 'after=evt_failed_~invoice-1',
    flag: '--after evt_failed_~invoice-1',
    // The first of all.
    admits: ({ id }) => id !== 'evt_failed_~invoice-1',
  },
  // The command line has the newest first.
  order: {
    query: 'order=newest',
    flag: '--order oldest',
    arranges: (rows) => rows.toReversed(),
  },
};

const DELIVERIES: Filters<DeliveryQuery, DeliveryView> = {
  state: {
    query: 'state=delivered',
    flag: '--state delivered',
    admits: ({ state }) => state === 'delivered',
  },
  endpoint: {
    query: 'endpoint=ops',
    flag: '--endpoint ops',
    admits: ({ endpoint }) => endpoint === 'ops',
  },
  run_id: {
    query: 'run_id=invoice-1',
    flag: '--run invoice-1',
    admits: ({ run_id: id }) => id === 'invoice-1',
  },
  source: {
    query: 'source=eu',
    flag: '--source eu',
    admits: ({ run_id: id }) => RUNS[id as RunId].source === 'eu',
  },
  event_id: {
    query: 'event_id=evt_failed_~invoice-1',
    flag: '--event evt_failed_~invoice-1',
    admits: ({ event_id: id }) => id === 'evt_failed_~invoice-1',
  },
  since: {
    query: 'since=3h',
    flag: '--since 3h',
    admits: ({ created_at: at }) => isRecent(at),
  },
  until: {
    query: 'until=3h',
    flag: '--until 3h',
    admits: ({ created_at: at }) => !isRecent(at),
  },
};

const ALERTS: Filters<AlertQuery, AlertView> = {
  state: {
    query: 'state=acknowledged',
    flag: '--state acknowledged',
    admits: ({ state }) => state === 'acknowledged',
  },
  rule: {
    query: 'rule=failed-runs',
    flag: '--rule failed-runs',
    admits: ({ rule }) => rule === 'failed-runs',
  },
};

/** The invoices are in it. */
const NIGHTLY = newBatch('1', { sources: null, name: 'nightly' }, NOON);

const config = configSchema.parse({
  data_dir: '/nowhere',
  sources: { default: { api_key: 'a' }, eu: { api_key: 'b' } },
  endpoints: { ops: { type: 'log' }, audit: { type: 'log' } },
  // Their endpoint is left out, since it is not configured: the deliveries are those of the runs.
  rules: [
    { name: 'failed-runs', events: ['run.failed'], group_wait: '0s', notify: ['away'] },
    { name: 'ended-runs', events: ['run.completed'], group_wait: '0s', notify: ['away'] },
  ],
});
const alertRules = new AlertRules(config);
const stores = openStores(undefined, {
  isClockManual: true,
  entriesOf: (change) => alertRules.entriesOf(change),
});
const daemon = testDaemon({
  config,
  stores,
  alertRules,
  now: () => NOON,
  tokens: createTokens([]),
  connections: { state: () => ({ kind: 'ok' }) },
  poller: { sourceOf: () => undefined },
});
const alerting = new Alerting(
  daemon,
  { inDoubt: async () => new Set(), readSoon: async () => undefined },
  { configurations: async () => [] },
);
Object.assign(daemon, { alerting });
Object.assign(daemon.poller, { process: daemon });
Object.assign(daemon.deliverer, { process: daemon });
const server = createServer(daemon, new Services(daemon), new AbortController().signal);
let url: string;

beforeAll(async () => {
  await stores.redis.set(stores.keys.clock, NOON);
  await stores.batches.begin(NIGHTLY, '');
  for (const id of RUN_IDS) await register(id);
  // Events are in the order in which changes are noticed.
  for (const id of RUN_IDS.toSorted((a, b) => RUNS[b].ageH - RUNS[a].ageH)) await poll(id);
  await settle('invoice-1');
  await alerting.engine.judge();
  const { items } = await stores.alerts.list({ rule: 'failed-runs', sources: ['eu'], limit: 1 });
  await alerting.engine.acknowledge(items[0]!.id, { by: 'ana', comment: null, until: null });
  url = await listen(server, { host: '127.0.0.1', port: 0 });
});

afterAll(async () => {
  await server.close();
  await stores.close();
});

async function register(runId: RunId): Promise<void> {
  const { source, team, status } = RUNS[runId];
  const registeredAt = NOON - 6 * HOUR;
  const endpoint = status === 'failed' ? 'ops' : 'audit';
  const after = newWatch({
    runId,
    source,
    metadata: { team },
    registeredAt,
    changedAt: registeredAt,
    subscriptions: [{ kind: 'endpoint', endpoint }],
    ...(runId.startsWith('invoice') && { batches: [NIGHTLY.id] }),
  });
  await stores.watches.commit({ before: null, after, events: [], deliveries: [] });
}

async function poll(runId: RunId): Promise<void> {
  const { source, workflow, status, ageH } = RUNS[runId];
  const now = NOON - ageH * HOUR;
  const before = (await stores.watches.get({ source, runId }))!;
  const run = snapshot({ id: runId, status, workflow_id: workflow });
  const { watch: after, events } = observe(before.watch, { kind: 'run', run }, observeContext(now));
  const deliveries = planDeliveries(after, events, after.subscriptions, {
    wants: () => true,
    now,
  });
  await stores.watches.commit({ before, after, events, deliveries });
}

/** Has the deliveries of a run arrive. */
async function settle(runId: RunId): Promise<void> {
  const { items } = await stores.deliveries.list(
    { runs: [{ source: 'default', runId }] },
    { limit: 10 },
  );
  const limits = { most: 2, rate: null, deadlineMs: 10_000 };
  for (const { id } of items) {
    const before = (await stores.deliveries.get(id))!;
    const after = delivered(before.delivery, NOON);
    await stores.outbox.withhold({ before, after, limits, now: NOON });
  }
}

/** Rows of a listing, of which each has an id. */
interface Rows<Row> {
  data: Row[];
}

/** What the API lists. */
async function listed<Row>(path: string): Promise<Row[]> {
  const response = await fetch(`${url}${path}`);
  const body = (await response.json()) as Rows<Row>;
  expect({ status: response.status, body }).toMatchObject({ status: 200 });
  return body.data;
}

/** What a verb lists. */
async function shown<Row>(args: string): Promise<Row[]> {
  const env = { RUNWATCH_URL: url };
  const options = { env, now: () => NOON };
  const { stdout, stderr, exitCode } = await runCli([...args.split(' '), '--json'], options);
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  return (JSON.parse(stdout) as Rows<Row>).data;
}

/** Rows are those that a filter leaves of all. */
function expectFiltered<Row>(
  rows: readonly Row[],
  all: readonly Row[],
  { filter, idOf }: { filter: Filter<Row>; idOf: (row: Row) => string },
): void {
  const ids = rows.map(idOf);
  if ('arranges' in filter) {
    expect(ids).toEqual(filter.arranges(all).map(idOf));
    expect(ids).not.toEqual(all.map(idOf));
    return;
  }
  const admitted = all.filter(filter.admits).map(idOf);
  expect(ids.toSorted()).toEqual(admitted.toSorted());
  expect(admitted.length).toBeGreaterThan(0);
  expect(admitted.length).toBeLessThan(all.length);
}

/** Tests of each filter of a listing, alone. */
function testFilters<Row>(
  filters: Readonly<Record<string, Filter<Row>>>,
  { path, verb, idOf }: { path: string; verb: string; idOf: (row: Row) => string },
): void {
  describe.each(Object.entries(filters))(`the filter %s of ${path}`, (_name, filter) => {
    test(`GET ${path}?${filter.query} has the rows that this filter admits, and no others`, async () => {
      const all = await listed<Row>(path);
      expectFiltered(await listed<Row>(`${path}?${filter.query}`), all, { filter, idOf });
    });

    test(`runwatch ${verb} ${filter.flag} has the rows that this filter admits, and no others`, async () => {
      const all = await shown<Row>(verb);
      expectFiltered(await shown<Row>(`${verb} ${filter.flag}`), all, { filter, idOf });
    });
  });
}

testFilters(WATCHES, { path: '/v1/watches', verb: 'list', idOf: ({ run_id: id }) => id });
testFilters(EVENTS, { path: '/v1/events', verb: 'events', idOf: ({ id }) => id });
testFilters(DELIVERIES, { path: '/v1/deliveries', verb: 'deliveries', idOf: ({ id }) => id });
testFilters(ALERTS, { path: '/v1/alerts', verb: 'alerts', idOf: ({ id }) => id });

test('a filter of the client takes several values, and each admits rows', async () => {
  const client = createClient({ url });
  const { data: watches } = await client.listWatches({ status: ['failed', 'running'] });
  expect(new Set(watches.map(({ run }) => run?.status))).toEqual(new Set(['failed', 'running']));
  const { data: alerts } = await client.listAlerts({ state: ['acknowledged', 'firing'] });
  expect(new Set(alerts.map(({ state }) => state))).toEqual(new Set(['acknowledged', 'firing']));
  const { data: both } = await client.listWatches({ workflow_id: ['invoices', 'payroll'] });
  expect(both.map(({ run_id: id }) => id).toSorted()).toEqual(RUN_IDS.toSorted());
});
