import { afterEach, describe, expect, test } from '@jest/globals';
import type { FaultInput } from '../../src/simulator/fault.ts';
import { SOURCE, startPollRig, type PollRig } from '../support/poll-rig.ts';
import { waitFor } from '../support/wait-for.ts';

let rig: PollRig;

afterEach(() => rig.stop());

const types = async () => (await rig.events()).map(({ type }) => type);
const lines = (msg: string) => rig.log().filter((line) => line['msg'] === msg);
const stored = (runId: string) => rig.stores.watches.get({ source: SOURCE, runId });

/**
 * Runs that are running and were seen, in a source that is polled by so many processes. On a slow machine
 * answers from before an outage arrive seconds after its begin.
 */
async function start(
  count: number,
  { pollers = 1, unreachableAfter = '15s' } = {},
): Promise<string[]> {
  const polling = {
    min_interval: '200ms',
    max_interval: '500ms',
    unreachable_after: unreachableAfter,
    lists: 'off',
  };
  rig = await startPollRig({ polling, pollers });
  const steps = [{ after_ms: 0, status: 'running' }];
  const runs = Array.from({ length: count }, () => rig.simulator.add({ steps }).id);
  await rig.watch(runs);
  await waitFor(async () => {
    const watches = await Promise.all(runs.map(stored));
    return watches.every((one) => one?.watch.run);
  });
  return runs;
}

/**
 * Waits until the source is closed.
 * @param runId polled by hand meanwhile, since one run alone backs off by chance
 * @returns since when it is
 */
async function untilClosed(runId: string): Promise<number> {
  const closed = await waitFor(async () => {
    const { state } = await rig.stores.sources.read(SOURCE);
    if (state?.closed) return state.closed;
    await rig.pollNow(runId);
    return false;
  });
  return closed.at;
}

describe('source without any valid answer', () => {
  test.each<[string, FaultInput, number, number]>([
    ['503, with two processes', { kind: 'status', status: 503 }, 24, 2],
    ['reset connections, with one run', { kind: 'reset' }, 1, 1],
  ])(
    'a source that answers with %s is probed, has one event each way, and no unreachable run',
    async (...given) => {
      const [, fault, count, pollers] = given;
      const runs = await start(count, { pollers });
      const { requests } = rig.simulator;
      rig.simulator.fault(fault);
      for (const runId of runs) rig.simulator.setStatus(runId, 'failed');
      const from = await untilClosed(runs[0] ?? '');
      await waitFor(() => lines('source.unreachable').length > 0);
      const until = Date.now();
      // Each run may have had one request under way when the source was closed; others are probes, the
      // third of which comes seven seconds later at the earliest.
      const probes = 3 + Math.floor((until - from) / 7_000);
      expect(requests.requestsBetween(from, until)).toBeLessThanOrEqual(runs.length + probes);
      rig.simulator.clearFaults();
      const answered = () =>
        types().then((all) => all.filter((type) => type === 'run.failed').length);
      await waitFor(() => lines('source.recovered').length > 0);
      await waitFor(async () => (await answered()) === runs.length);
      expect(new Set(await types())).toEqual(new Set(['run.failed']));
      expect(lines('source.unreachable')).toHaveLength(1);
      expect(lines('source.recovered')).toHaveLength(1);
    },
  );

  test('a source answers by its list although the polled runs are missing', async () => {
    const [runId = ''] = await start(1);
    rig.simulator.fault({ kind: 'reset' });
    await untilClosed(runId);
    rig.simulator.clearFaults();
    rig.simulator.fault({ kind: 'status', status: 404, on: 'run' });
    await rig.pollNow(runId);
    await waitFor(async () => (await rig.stores.sources.read(SOURCE)).state === null);
    expect(rig.simulator.requests.lists).toBeGreaterThan(0);
  });
});

test('a source with half of its answers invalid has no outage', async () => {
  // A busy machine may have few answers within a second, all of them invalid by chance.
  const runs = await start(30, { unreachableAfter: '30s' });
  rig.simulator.fault({ kind: 'status', status: 500, probability: 0.5, seed: 7 });
  for (const runId of runs) rig.simulator.setStatus(runId, 'failed');
  await waitFor(async () => (await types()).length === runs.length);
  expect((await rig.stores.sources.read(SOURCE)).state?.closed ?? null).toBeNull();
});

test('a requested pause is logged once, and all runs are polled after it', async () => {
  const runs = await start(20);
  rig.simulator.fault({ kind: 'status', status: 429, retry_after: 4 });
  await waitFor(() => lines('source.paused').length > 0);
  rig.simulator.clearFaults();
  for (const runId of runs) rig.simulator.setStatus(runId, 'completed');
  await waitFor(async () => (await types()).length === runs.length);
  expect(new Set(await types())).toEqual(new Set(['run.completed']));
  expect(lines('source.paused')).toHaveLength(1);
});
