import { afterEach, describe, expect, test } from '@jest/globals';
import { startPollRig, type PollRig } from '../support/poll-rig.ts';
import { waitFor } from '../support/wait-for.ts';

const RUNS = 30;

let rig: PollRig | undefined;

afterEach(async () => {
  await rig?.stop();
  rig = undefined;
});

/** Watches runs that go on for ever. @returns how many of them were polled so often since it was asked to begin */
async function watchRuns({ simulator, watch }: PollRig) {
  const steps = [{ after_ms: 0, status: 'running' }];
  const ids = Array.from({ length: RUNS }, () => simulator.add({ steps }).id);
  await watch(ids);
  const counts = () => ids.map((id) => simulator.requests.run(id).count);
  let before = ids.map(() => 0);
  return {
    polled: (times: number) =>
      counts().filter((count, at) => count - (before[at] ?? 0) >= times).length,
    begin: () => void (before = counts()),
  };
}

const quick = { lists: 'off', min_interval: '100ms', max_interval: '200ms' };

describe('slots of a source', () => {
  test('a rate limit that is raised is used at once, however long the old one keeps requests back', async () => {
    rig = await startPollRig({ polling: quick, rateLimit: { requests: 1, per: '1h' } });
    const { polled } = await watchRuns(rig);
    await waitFor(() => polled(1) === 1, {
      describe: 'as many polls as the rate limit lets through',
    });
    rig.limitTo(1_000);
    await waitFor(() => polled(2) === RUNS, { describe: 'polls of every run by the raised limit' });
  });

  test('two requests under way poll every run as well', async () => {
    rig = await startPollRig({ polling: { ...quick, concurrency: 2 } });
    const { polled } = await watchRuns(rig);
    await waitFor(() => polled(3) === RUNS, { describe: 'three polls of every run' });
  });

  test('polls go on after Redis has stood still, and each run is due once', async () => {
    rig = await startPollRig({ polling: quick });
    const { polled, begin } = await watchRuns(rig);
    await waitFor(() => polled(1) === RUNS, { describe: 'a poll of every run' });
    const { redis, requests } = rig.stores;
    await redis.call('CLIENT', 'PAUSE', 2_000, 'ALL');
    await redis.ping();
    begin();
    await waitFor(() => polled(3) === RUNS, { describe: 'polls of every run after the pause' });
    expect(await requests.countWatches('default')).toBe(RUNS);
  });

  test('of several processes each run is polled by one at a time, whatever each has room for', async () => {
    rig = await startPollRig({ polling: { ...quick, concurrency: 2 }, pollers: 3 });
    const { polled } = await watchRuns(rig);
    await waitFor(() => polled(5) === RUNS, { describe: 'five polls of every run' });
    const { maxInFlight, maxInFlightPerRun } = rig.simulator.requests;
    expect(maxInFlightPerRun).toBe(1);
    expect(maxInFlight).toBeLessThanOrEqual(6);
  });
});
