import { afterEach, expect, test } from '@jest/globals';
import { SOURCE, startPollRig, type PollRig } from '../support/poll-rig.ts';
import { waitFor } from '../support/wait-for.ts';

const AWAITING = 'awaiting_human_feedback';

const COUNT = 20;

let rig: PollRig;

afterEach(() => rig.stop());

const said = (msg: string) => rig.log().filter((line) => line['msg'] === msg);

const polls = (runId: string) => rig.simulator.requests.run(runId).count;

test('a lagging source raises source.inconsistent once, and each run is notified three times at most', async () => {
  rig = await startPollRig({
    pollers: 2,
    // Reads that a busy machine delays tell a source that lags from one that moves only beside long intervals.
    polling: { min_interval: '1s', max_interval: '2s', lists: 'off' },
  });
  const runIds = Array.from({ length: COUNT }, (_, at) => {
    const steps = [{ after_ms: 0, status: AWAITING, progress: 50 }];
    return rig.simulator.add({ id: `run-${at}`, steps }).id;
  });
  rig.simulator.fault({ kind: 'claim', status: 'running', progress: 50, probability: 0.5 });
  await rig.watch(runIds);
  await waitFor(() => said('source.inconsistent').length > 0);
  const before = new Map(runIds.map((id) => [id, polls(id)]));
  await waitFor(() => runIds.every((id) => polls(id) > (before.get(id) ?? 0)));

  const entries = (await rig.events()).filter(({ type }) => type === `run.${AWAITING}`);
  for (const id of runIds) {
    expect(entries.filter(({ data }) => data.run_id === id).length).toBeLessThanOrEqual(3);
  }
  expect(said('source.inconsistent')).toEqual([
    expect.objectContaining({ source: SOURCE, watches: COUNT, level: 40 }),
  ]);
  expect(await rig.metrics()).toMatch(
    /runwatch_poll_contradictions_total\{source="default"\} [1-9]/,
  );

  for (const id of runIds) rig.simulator.setStatus(id, 'completed');
  const ended = async () =>
    (await rig.events()).filter(({ type }) => type === 'run.completed').length;
  await waitFor(async () => (await ended()) === COUNT);
  expect(said('source.inconsistent')).toHaveLength(1);
});
