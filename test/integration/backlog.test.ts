import { afterEach, expect, test } from '@jest/globals';
import { AttentionService } from '../../src/http/attention.ts';
import {
  deliveredTo,
  endpoints,
  named,
  notices,
  startBacklogDaemon,
  type BacklogDaemon,
} from '../support/backlog-rig.ts';
import { NOON } from '../support/builders.ts';
import { testDaemon } from '../support/daemon.ts';
import { testRedis } from '../support/redis.ts';

const opened: BacklogDaemon[] = [];
afterEach(() => Promise.all(opened.splice(0).map(({ stores }) => stores.close())));

function startDaemon(target: ReturnType<typeof testRedis>): BacklogDaemon {
  const daemon = startBacklogDaemon(target);
  opened.push(daemon);
  return daemon;
}

/** Does something for each run, by two daemons in turn and side by side. */
async function each(
  runs: string[],
  [first, second]: [BacklogDaemon, BacklogDaemon],
  step: 'stall' | 'move',
) {
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
  const attention = new AttentionService(
    testDaemon({
      stores: restarted.stores,
      endpoints,
      poller: { sources: [], overdue: () => [], discovery: { troubles: async () => null } },
      alerting: { suppressorsOf: async () => new Map() },
      now: () => NOON,
    }),
  );
  const { items } = await attention.find({ withAcknowledged: false });
  expect(items.map(({ kind, count }) => [kind, count])).toEqual([['stalled', 600]]);
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

test('600 runs that are queued and leave one a minute, by their polls, are one notice, and its end', async () => {
  const daemon = startDaemon(testRedis());
  const runs = named(600);
  const minute = 60_000;
  const queued = { workflow_id: 'letters', status: 'queued' };
  const poll = (run: string, minutes: number, said = queued) =>
    daemon.poll(run, NOON + minutes * minute, { ...said, progress: null });
  for (const run of runs) await daemon.register(run);
  // Two polls find it too long.
  for (const minutes of [31, 32]) await Promise.all(runs.map((run) => poll(run, minutes)));
  for (const [at, run] of runs.entries()) {
    await poll(run, 33 + at, { ...queued, status: 'running' });
    const later = runs[at + 1 + ((at * 7) % (runs.length - at))];
    if (later !== undefined) await poll(later, 33 + at);
  }
  expect(await deliveredTo(daemon, 'ops')).toEqual({
    'run.stalled': 5,
    'run.recovered': 5,
    'workflow.stalled': 1,
    'workflow.recovered': 1,
  });
  expect(await notices(daemon)).toMatchObject([
    { type: 'workflow.stalled', data: { state: 'queued' } },
    { type: 'workflow.recovered', data: { state: 'queued', count: 5 } },
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
