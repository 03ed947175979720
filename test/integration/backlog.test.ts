import { afterEach, expect, test } from '@jest/globals';
import pino from 'pino';
import { configSchema } from '../../src/config/schema.ts';
import { planDeliveries } from '../../src/core/delivery/delivery.ts';
import type { EventType, OwnEvent } from '../../src/core/event/event.ts';
import { loggedTypes } from '../../src/core/event/patterns.ts';
import { noLinks } from '../../src/core/run/links.ts';
import { buildEvent } from '../../src/core/run/transition.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { createBacklogNotices } from '../../src/daemon/backlog-notices.ts';
import { createEndpoints } from '../../src/daemon/endpoints.ts';
import { createAttentionService } from '../../src/daemon/services/attention.ts';
import { createSystemEvents } from '../../src/daemon/system-events.ts';
import { createEndWatch } from '../../src/poll/watch-control.ts';
import { newMark, newWatch, NOON, snapshot, webhookTo } from '../support/builders.ts';
import { testRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';

const hook = webhookTo('https://example.com/hook');
const endpoints = createEndpoints(
  configSchema.parse({
    data_dir: '/tmp',
    endpoints: {
      ops: { type: 'webhook', url: 'https://ops.example' },
      other: { type: 'log', when: { workflow_id: ['another'] } },
      ends: { type: 'log', events: ['run.failed', 'run.stalled'] },
    },
  }),
);
const SUBSCRIPTIONS = [
  ...['ops', 'other', 'ends'].map((endpoint) => ({ kind: 'endpoint' as const, endpoint })),
  hook,
];

const opened: ReturnType<typeof openStores>[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((stores) => stores.close()));
});

/** A daemon on a store: what it writes, and with which words. */
function startDaemon(target: ReturnType<typeof testRedis>) {
  const stores = openStores(target);
  opened.push(stores);
  const log = pino({ level: 'silent' });
  const systemEvents = createSystemEvents({
    store: stores.events,
    endpoints,
    newMark,
    entryOf: () => null,
    dispatch: () => undefined,
    now: () => NOON,
    log,
  });
  stores.watches.noticeBacklogs(
    createBacklogNotices({ systemEvents, endpoints, linksOf: noLinks, log }),
  );
  /** Writes what becomes of a run, again where another daemon was first. */
  async function write(runId: string, changes: Partial<Watch>, types: EventType[]): Promise<void> {
    for (;;) {
      const before = await stores.watches.get({ source: 'default', runId });
      const watch = before?.watch ?? newWatch({ runId }, SUBSCRIPTIONS);
      const after = { ...watch, ...changes };
      const context = { before: watch, after, now: NOON, newMark, nodes: null, linksOf: noLinks };
      const events = types.map((type, at) =>
        buildEvent(context, { type }, watch.sequence + at + 1),
      );
      const { wants } = endpoints;
      const deliveries = planDeliveries(after, events, after.subscriptions, { wants, now: NOON });
      const change = { before, after: { ...after, sequence: watch.sequence + types.length } };
      if (await stores.watches.commit({ ...change, events, deliveries })) return;
    }
  }
  return {
    stores,
    register: (runId: string) => write(runId, {}, []),
    stall: (runId: string, workflow = 'letters') =>
      write(
        runId,
        {
          run: snapshot({ id: runId, workflow_id: workflow, status: 'queued' }),
          dwell: { since: NOON - 60_000, stalled: true },
        },
        ['run.stalled'],
      ),
    move: (runId: string, workflow = 'letters') =>
      write(
        runId,
        {
          run: snapshot({ id: runId, workflow_id: workflow }),
          dwell: { since: NOON, stalled: false },
        },
        ['run.recovered'],
      ),
    cancel: (runId: string) =>
      createEndWatch({ watches: stores.watches, trace: () => undefined, now: () => NOON })({
        source: 'default',
        runId,
      }),
  };
}

type Daemon = ReturnType<typeof startDaemon>;

const named = (count: number, workflow = 'run') =>
  Array.from({ length: count }, (_, at) => `${workflow}-${at}`);

/** How many deliveries of each type a receiver has got. */
async function deliveredTo({ stores }: Daemon, endpoint: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  let cursor: string | undefined;
  do {
    const page = await stores.deliveries.list({ endpoint }, { limit: 200, cursor });
    for (const { eventType } of page.items) counts[eventType] = (counts[eventType] ?? 0) + 1;
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  return counts;
}

async function notices({ stores }: Daemon): Promise<OwnEvent[]> {
  const type = loggedTypes(['workflow.*']);
  const page = await stores.events.list({ type }, { limit: 200, order: 'oldest' });
  return page.items.map(({ event }) => event as OwnEvent);
}

/** Does something for each run, by two daemons in turn and side by side. */
async function each(runs: string[], [first, second]: [Daemon, Daemon], step: 'stall' | 'move') {
  for (let at = 0; at < runs.length; at += 50) {
    const some = runs.slice(at, at + 50);
    await Promise.all(some.map((run, turn) => (turn % 2 === 0 ? first : second)[step](run)));
  }
}

test('600 runs that stall in two daemons and move on in others are one notice, and its end', async () => {
  const target = testRedis();
  const runs = named(600);
  await each(runs, [startDaemon(target), startDaemon(target)], 'stall');
  const restarted = startDaemon(target);
  expect(await deliveredTo(restarted, 'ops')).toEqual({ 'run.stalled': 5, 'workflow.stalled': 1 });
  const attention = createAttentionService({
    ...restarted.stores,
    endpoints,
    poller: { sources: [], overdue: () => [] },
    discovery: { troubles: async () => null },
    linksOf: noLinks,
    eventLog: { trouble: () => null },
    now: () => NOON,
  });
  expect((await attention.list({ withAcknowledged: false })).counts.stalled).toBe(600);
  await each(runs, [restarted, startDaemon(target)], 'move');
  expect(await deliveredTo(restarted, 'ops')).toEqual({
    'run.stalled': 5,
    'run.recovered': 5,
    'workflow.stalled': 1,
    'workflow.recovered': 1,
  });
  expect(await deliveredTo(restarted, 'per-watch')).toEqual({
    'run.stalled': 600,
    'run.recovered': 600,
  });
  expect(await notices(restarted)).toMatchObject([
    { type: 'workflow.stalled', data: { workflow_id: 'letters', state: 'queued', count: 6 } },
    { type: 'workflow.recovered', data: { workflow_id: 'letters', state: 'queued', count: 5 } },
  ]);
});

test('an endpoint without notices gets the event of each run, and one of another workflow gets nothing', async () => {
  const daemon = startDaemon(testRedis());
  for (const run of named(8)) await daemon.stall(run);
  expect(await deliveredTo(daemon, 'ends')).toEqual({ 'run.stalled': 8 });
  expect(await deliveredTo(daemon, 'other')).toEqual({});
});

test('ten workflows whose runs stall are ten notices', async () => {
  const daemon = startDaemon(testRedis());
  const workflows = named(10, 'workflow');
  await Promise.all(
    workflows.flatMap((workflow) => named(12, workflow).map((run) => daemon.stall(run, workflow))),
  );
  const raised = await notices(daemon);
  expect(raised.map(({ type }) => type)).toEqual(workflows.map(() => 'workflow.stalled'));
  expect(new Set(raised.map(({ data }) => data['workflow_id']))).toEqual(new Set(workflows));
  expect(await deliveredTo(daemon, 'ops')).toEqual({ 'run.stalled': 50, 'workflow.stalled': 10 });
});

test('runs that are cancelled, end or are forgotten leave the backlog of their workflow', async () => {
  const daemon = startDaemon(testRedis());
  const runs = named(9);
  for (const run of runs) await daemon.stall(run);
  for (const run of runs.slice(0, 3)) await daemon.cancel(run);
  expect((await notices(daemon)).map(({ type }) => type)).toEqual(['workflow.stalled']);
  await daemon.cancel('run-3');
  const types = ['workflow.stalled', 'workflow.recovered'];
  expect((await notices(daemon)).map(({ type }) => type)).toEqual(types);
  for (const run of named(2, 'late')) await daemon.stall(run);
  expect((await notices(daemon)).map(({ type }) => type)).toEqual([...types, 'workflow.stalled']);
  for (const run of [...runs, ...named(2, 'late')]) await daemon.cancel(run);
  const left = (await daemon.stores.keysLeft()).filter((key) => key.includes('watches:stalled'));
  expect(left).toEqual([]);
});

test('a write that fails half-way is repeated, and its notice is raised once', async () => {
  const daemon = startDaemon(testRedis());
  const { redis, keys } = daemon.stores;
  for (const run of named(5)) await daemon.stall(run);
  await daemon.register('run-5');
  await redis.set(keys.ownEvents, 'of another type');
  await expect(daemon.stall('run-5')).rejects.toThrow('WRONGTYPE');
  await redis.del(keys.ownEvents);
  await daemon.stall('run-5');
  const receivedOf = async (type: string) => (await deliveredTo(daemon, 'ops'))[type];
  expect(await receivedOf('workflow.stalled')).toBe(1);

  await redis.rename(keys.ownEvents, `${keys.ownEvents}:kept`);
  await redis.set(keys.ownEvents, 'of another type');
  await expect(daemon.move('run-0')).rejects.toThrow('WRONGTYPE');
  await redis.rename(`${keys.ownEvents}:kept`, keys.ownEvents);
  await daemon.move('run-0');
  expect(await receivedOf('workflow.recovered')).toBe(1);
  expect(await receivedOf('run.stalled')).toBe(5);
});
