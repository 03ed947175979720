import { afterEach, describe, expect, test } from '@jest/globals';
import type { FaultInput } from '../../src/simulator/fault.ts';
import { PRIVATE_CANARY } from '../../src/simulator/wire-run.ts';
import { SOURCE, startPollRig, type PollRig } from '../support/poll-rig.ts';
import { waitFor } from '../support/wait-for.ts';

const WORKFLOW = '5f0c2b7e-3a4d-4c55-9a53-0c1d2e3f4a5b';

/** Faster than anything but these tests would poll. */
const QUICK = { min_interval: '50ms', max_interval: '1s' };

/** So many single polls that they would keep a slow machine from its lists come less often. */
const MANY = 20;
const UNHURRIED = { ...QUICK, max_interval: '3s' };

const pollingOf = (count: number) => (count < MANY ? QUICK : UNHURRIED);

/** Single polls that are deferred by so much are deferred because of a list. */
const FAR_MS = 5_000;

let rig: PollRig;

afterEach(() => rig.stop());

/** Adds runs that go on for ever, a second between any two. @returns their ids, the newest last */
function addRuns(count: number, { name = 'run', newestAgeMs = 0 } = {}): string[] {
  return Array.from({ length: count }, (_, index) => {
    const age_ms = newestAgeMs + (count - index) * 1_000;
    const steps = [{ after_ms: 0, status: 'running', progress: 10 }];
    const id = `${name}-${index}`;
    return rig.simulator.add({ id, workflow_id: WORKFLOW, age_ms, steps }).id;
  });
}

const singles = () => rig.simulator.requests.total - rig.simulator.requests.lists;

const types = async () => (await rig.events()).map(({ type }) => type);

const told = async (wanted: string) => (await types()).filter((type) => type === wanted).length;

const looks = () => rig.log().filter(({ msg }) => msg === 'list.page' || msg === 'list.fallback');

async function nextPolls(runIds: string[]): Promise<number[]> {
  return (await rig.stores.requests.dueTimes(SOURCE, runIds)).map((at) => at ?? 0);
}

const isFar = (at: number) => at > Date.now() + FAR_MS;

/** Waits until a list has stood in for the single polls of each of these runs. */
async function untilPutOff(runIds: string[]): Promise<void> {
  const left = new Set(runIds);
  await waitFor(
    async () => {
      const all = [...left];
      const times = await nextPolls(all);
      for (const [at, id] of all.entries()) if (isFar(times[at] ?? 0)) left.delete(id);
      return left.size === 0;
    },
    { describe: () => `the polls of ${left.size} runs to be put off`, everyMs: 50 },
  );
}

/** Waits for so many more reads of lists. */
async function untilLooked(times: number): Promise<void> {
  const before = looks().length;
  await waitFor(() => looks().length >= before + times, { describe: 'looks at the list' });
}

/** Waits until a list stands in for the single polls of all these runs, and none is under way. */
async function untilAtRest(runIds: string[]): Promise<void> {
  await untilPutOff(runIds);
  // A poll that was under way just then has set a time of its own, and is deferred by the next read.
  await waitFor(
    async () => {
      const before = singles();
      await untilLooked(3);
      return singles() === before;
    },
    { describe: 'single polls to come to rest' },
  );
}

/** Runs for which the list stands in. */
async function startBatch(count: number): Promise<string[]> {
  rig = await startPollRig({ polling: pollingOf(count) });
  const runs = addRuns(count);
  await rig.watch(runs);
  await untilAtRest(runs);
  return runs;
}

describe('runs of one workflow', () => {
  test('runs of one workflow are polled by one list read, and singly where it shows a change', async () => {
    const runs = await startBatch(25);
    const [before, startedAt] = [singles(), Date.now()];
    /** A list is checked by a single read each five seconds, at the most. */
    const mostChecks = () => 1 + Math.floor((Date.now() - startedAt) / 5_000);
    await untilLooked(5);
    expect(singles()).toBeLessThanOrEqual(before + mostChecks());

    for (const id of runs.slice(0, 10)) rig.simulator.setStatus(id, 'completed', 100);
    await waitFor(async () => (await told('run.completed')) === 10);
    await untilLooked(2);
    expect(singles()).toBeGreaterThanOrEqual(before + 10);
    expect(singles()).toBeLessThanOrEqual(before + 10 + mostChecks());
    expect(rig.simulator.requests.maxInFlightPerRun).toBe(1);
  });

  test('runs are found on their pages although the list moves on meanwhile', async () => {
    rig = await startPollRig({ polling: UNHURRIED });
    const runs = addRuns(10, { newestAgeMs: 90_000 });
    addRuns(90, { name: 'newer' });
    rig.simulator.fault({ kind: 'shift', by: 3, on: 'list' });
    await rig.watch(runs);
    await untilPutOff(runs);
    rig.simulator.setStatus('run-0', 'failed');
    await waitFor(async () => (await types()).includes('run.failed'));
  });

  test('runs are polled singly where lists are off', async () => {
    rig = await startPollRig({ polling: { ...QUICK, lists: 'off' } });
    const runs = addRuns(3);
    await rig.watch(runs);
    await waitFor(() => runs.every((id) => rig.simulator.requests.run(id).count >= 3));
    expect(rig.simulator.requests.lists).toBe(0);
  });

  test('the last active run of a workflow is polled singly again', async () => {
    const runs = await startBatch(3);
    for (const id of runs.slice(1)) rig.simulator.setStatus(id, 'stopped');
    await waitFor(async () => (await types()).length === 2);
    const { count } = rig.simulator.requests.run('run-0');
    await waitFor(() => rig.simulator.requests.run('run-0').count > count);
  });

  test('the last active run of a page is polled singly again', async () => {
    const runs = await startBatch(110);
    for (const id of runs.slice(1, 10)) rig.simulator.setStatus(id, 'stopped');
    await waitFor(async () => (await told('run.stopped')) === 9);
    // Its page does not defer it any more.
    const isPutOff = async () => (await nextPolls(['run-0'])).some(isFar);
    await waitFor(async () => !(await isPutOff()));
    const { count } = rig.simulator.requests.run('run-0');
    for (let more = 1; more <= 3; more += 1) {
      await waitFor(() => rig.simulator.requests.run('run-0').count >= count + more);
      await untilLooked(1);
      expect(await isPutOff()).toBe(false);
    }
  });

  test('no list is read once all runs have ended', async () => {
    for (const id of await startBatch(3)) rig.simulator.setStatus(id, 'stopped');
    const left = () => rig.stores.redis.exists(...rig.stores.keys.requestsDue(SOURCE));
    await waitFor(async () => (await left()) === 0, { describe: 'pages and plan to leave' });
  });

  test('a run is read at once when a user asks for it', async () => {
    await startBatch(3);
    const { count } = rig.simulator.requests.run('run-1');
    await rig.pollNow('run-1');
    await waitFor(() => rig.simulator.requests.run('run-1').count > count);
  });
});

describe('progress', () => {
  const steps = async (endpoints: object) => {
    rig = await startPollRig({ polling: QUICK, endpoints: { log: { type: 'log', ...endpoints } } });
    const runs = addRuns(3);
    await rig.watch(runs);
    await untilPutOff(runs);
    rig.simulator.setStatus('run-0', 'running', 50);
  };

  test('a change of progress causes a single poll where an endpoint subscribes to progress', async () => {
    await steps({ events: ['run.progress'] });
    await waitFor(async () => (await types()).includes('run.progress'));
  });

  test('a change of progress causes no single poll without a subscription to progress', async () => {
    await steps({});
    await untilLooked(4);
    const [, ...since] = looks().slice(-4);
    expect(since).toMatchObject([{ changed: 0 }, { changed: 0 }, { changed: 0 }]);
  });
});

test('a run that is deleted is read as soon as its page is read without it', async () => {
  const runs = await startBatch(5);
  const [, deleted = ''] = runs;
  rig.simulator.delete(deleted);
  await waitFor(() => looks().some(({ vanished }) => vanished === 1));
  await waitFor(async () => {
    const stored = await rig.stores.watches.get({ source: SOURCE, runId: deleted });
    return stored?.watch.missing !== null;
  });
  expect(looks().filter(({ vanished }) => Number(vanished) > 0)).toHaveLength(1);
});

describe('several processes', () => {
  test('several processes read a list one at a time', async () => {
    rig = await startPollRig({ polling: QUICK, pollers: 3 });
    const runs = addRuns(5);
    await rig.watch(runs);
    await untilAtRest(runs);
    rig.simulator.requests.reset();
    rig.simulator.fault({ kind: 'stall', ms: 100, on: 'list' });
    await untilLooked(6);
    // A single read that checks the list may come between.
    const { lists, maxInFlight } = rig.simulator.requests;
    expect(lists).toBeGreaterThanOrEqual(6);
    expect(maxInFlight).toBeLessThanOrEqual(1 + singles());
  });
});

describe('a budget that is short', () => {
  test('a short budget goes to first reads before it goes to list pages, which get a tenth', async () => {
    rig = await startPollRig({ polling: QUICK, rateLimit: { requests: 11, per: '8s' } });
    // By the end of a first poll, the poller knows how many watches there were when it started.
    const { id: first } = rig.simulator.add({ steps: [{ after_ms: 0, status: 'failed' }] });
    await rig.watch([first]);
    await waitFor(async () => (await told('run.failed')) === 1);
    const runs = addRuns(10);
    await rig.watch(runs);
    await waitFor(() => runs.every((id) => rig.simulator.requests.run(id).count > 0));
    const { requests } = rig.simulator;
    const last = Math.max(...runs.map((id) => requests.run(id).times[0] ?? Infinity));
    expect(requests.requestsBetween(0, last + 1)).toBeLessThanOrEqual(11 + 2);
    await untilLooked(1);
  });
});

test('a rate limit that is raised by a reload is what the next plan of lists goes by', async () => {
  rig = await startPollRig({ polling: QUICK, rateLimit: { requests: 3, per: '1s' } });
  const cost = async () => (await rig.stores.feeds.plan(SOURCE))?.costMultiplier ?? 0;
  await rig.watch(addRuns(40));
  await waitFor(async () => (await cost()) > 1, { describe: 'a plan under a short rate limit' });
  rig.limitTo(10_000);
  await waitFor(async () => (await cost()) === 1, { describe: 'a plan under the new rate limit' });
});

test('of many runs that are registered at once, those that a list shows to have ended are read first', async () => {
  rig = await startPollRig({ polling: QUICK, rateLimit: { requests: 20, per: '1s' } });
  const runs = addRuns(300);
  const ended = runs.slice(0, 5);
  for (const id of ended) rig.simulator.setStatus(id, 'failed');
  // The first reads alone would come to those last.
  await rig.watch(runs.toReversed());
  await waitFor(async () => (await told('run.failed')) === ended.length);
  const read = runs.filter((id) => rig.simulator.requests.run(id).count > 0);
  expect(read.length).toBeLessThan(200);
});

describe('a list that can not be trusted', () => {
  const causes: [string, string, FaultInput][] = [
    ['is forbidden', 'not_offered', { kind: 'status', status: 403 }],
    ['is not there', 'not_offered', { kind: 'status', status: 404 }],
    ['fails', 'unavailable', { kind: 'status', status: 500 }],
    ['has another shape', 'invalid_response', { kind: 'wrong_shape' }],
    ['claims what no single read bears out', 'disagrees', { kind: 'claim', status: 'completed' }],
  ];

  const fallbacks = () => rig.log().filter(({ msg }) => msg === 'list.fallback');

  test.each(causes)(
    'is given up at once when it %s, and so is the one of the source',
    async (_, reason, fault) => {
      const runs = await startBatch(5);
      rig.simulator.fault({ ...fault, on: 'list' });
      await waitFor(() => fallbacks().length === 2);
      expect(fallbacks()).toEqual(
        expect.arrayContaining([
          expect.objectContaining({ source: SOURCE, workflow_id: WORKFLOW, outcome: reason }),
          expect.objectContaining({ source: SOURCE, workflow_id: null, outcome: reason }),
        ]),
      );
      const lists = rig.simulator.requests.lists;
      rig.simulator.requests.reset();
      await waitFor(() => runs.every((id) => rig.simulator.requests.run(id).count >= 2));
      expect(await types()).toEqual([]);
      expect(rig.simulator.requests.lists).toBe(0);
      expect(lists).toBeGreaterThan(0);
      expect(await rig.metrics()).toContain(
        `runwatch_list_pages_total{source="${SOURCE}",outcome="${reason}"} 2`,
      );
    },
  );

  test('a list is not given up where single polls lag behind it by less than two seconds', async () => {
    const runs = await startBatch(20);
    rig.simulator.fault({ kind: 'lag', ms: 400, on: 'run' });
    for (const [at, id] of runs.entries()) {
      rig.simulator.setStatus(id, 'completed', 100);
      await waitFor(async () => (await told('run.completed')) > at);
    }
    expect(fallbacks()).toEqual([]);
  });

  test('a 429 of a list pauses the source', async () => {
    await startBatch(5);
    rig.simulator.fault({ kind: 'status', status: 429, retry_after: 600, on: 'list', count: 1 });
    await waitFor(() => looks().some(({ outcome }) => outcome === 'rate_limited'));
    const { state } = await rig.stores.sources.read(SOURCE);
    expect(state?.closed).toMatchObject({ reason: 'rate_limited' });
  });
});

describe('many runs that a list shows to fail at once', () => {
  /** Runs under a short budget for which the list stands in. */
  async function startMany(count: number): Promise<string[]> {
    const polling = { ...QUICK, max_interval: '1m' };
    rig = await startPollRig({ polling, rateLimit: { requests: 60, per: '1s' } });
    const runs = addRuns(count);
    await rig.watch(runs);
    await untilPutOff(runs);
    return runs;
  }

  test('of many runs that fail at once, each has one event, by a read of its own', async () => {
    const runs = await startMany(100);
    const reads = () => runs.map((id) => rig.simulator.requests.run(id).count);
    const before = reads();
    for (const id of runs) rig.simulator.setStatus(id, 'failed');
    await waitFor(async () => (await told('run.failed')) >= runs.length);
    expect(await types()).toEqual(runs.map(() => 'run.failed'));
    const unread = reads().filter((count, at) => count === before[at]);
    expect(unread).toEqual([]);
  });

  test('runs that a list says to have failed and that go on have no events', async () => {
    const runs = await startMany(100);
    rig.simulator.fault({ kind: 'claim', status: 'failed', one_in: 10, on: 'list' });
    await waitFor(() => looks().some(({ outcome }) => outcome === 'disagrees'));
    const total = () => runs.reduce((sum, id) => sum + rig.simulator.requests.run(id).count, 0);
    const before = total();
    await waitFor(() => total() > before + runs.length);
    expect(await types()).toEqual([]);
  });
});

test('a hint about a run that is watched no more leaves with the next plan', async () => {
  await startBatch(3);
  const mark = { page: 9, newest: 1, oldest: 1, runs: 1, isLast: true, at: 1, head: 1, bytes: 100 };
  const hint = {
    madeAt: Date.now(),
    listed: { status: 'running', progress: 10 },
    workflowId: WORKFLOW,
    createdAt: null,
    known: null,
  };
  const { feeds } = rig.stores;
  const hints = [{ runId: 'ended', hint }];
  // No page that is read shows it, so that nothing judges it.
  const list = { source: SOURCE, workflowId: 'another' };
  await feeds.putPage(list, { mark, hints, judged: [], checkedAt: null, trust: null });
  await waitFor(async () => (await feeds.hints(SOURCE, ['ended']))[0] === null, {
    describe: 'the hint about a run that has ended to leave',
  });
});

test('nothing private of listed runs is kept, logged or counted', async () => {
  const runs = await startBatch(3);
  rig.simulator.fault({ kind: 'bulky', bytes: 10_000, on: 'list' });
  await untilLooked(2);
  rig.simulator.fault({ kind: 'wrong_shape', on: 'list', count: 1 });
  rig.simulator.setStatus(runs[0]!, 'completed');
  await waitFor(async () => (await types()).includes('run.completed'));
  const everything = [await rig.dump(), JSON.stringify(rig.log()), await rig.metrics()].join('\n');
  expect(everything).toContain(WORKFLOW);
  expect(everything).not.toContain(PRIVATE_CANARY);
  expect(everything).not.toContain(rig.simulator.apiKey);
});
