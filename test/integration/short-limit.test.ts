import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startPollRig, type PollRig } from '../support/poll-rig.ts';
import { waitFor } from '../support/wait-for.ts';

/** A round of all runs takes 2 s, so that their longest interval widens to 10 s. */
const LIMIT = { requests: 10, per: '1s' };
const RUNS = 20;

/** The widened interval alone would lead to two reads in a second. */
const QUICK_READS = 6;

const READS = 3 * RUNS;

let rig: PollRig;
beforeAll(async () => {
  rig = await startPollRig({
    polling: { lists: 'off', min_interval: '100ms', max_interval: '100ms' },
    rateLimit: LIMIT,
  });
});
afterAll(() => rig.stop());

test('what a short rate limit leaves over goes to all runs that wait beyond max_interval', async () => {
  const { simulator } = rig;
  const steps = [{ after_ms: 0, status: 'running' }];
  const ids = Array.from({ length: RUNS }, () => simulator.add({ age_ms: 3_600_000, steps }).id);
  await rig.watch(ids);
  const isSaid = () => rig.log().some(({ msg }) => msg === 'polling.beyond_max_interval');
  await waitFor(isSaid, { describe: 'a survey that finds the rate limit short' });
  simulator.requests.reset();
  await waitFor(() => simulator.requests.mostWithin(1_000) >= QUICK_READS, {
    describe: 'a second with more reads than the widened interval leads to',
  });
  const [total, before] = [
    simulator.requests.total,
    ids.map((id) => simulator.requests.run(id).count),
  ];
  await waitFor(() => simulator.requests.total >= total + READS, {
    describe: 'reads of all runs',
  });
  const reads = ids.map((id, at) => simulator.requests.run(id).count - (before[at] ?? 0));
  expect(Math.min(...reads)).toBeGreaterThan(0);
});
