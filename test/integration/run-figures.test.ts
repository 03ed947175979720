import { afterAll, beforeEach, expect, test } from '@jest/globals';
import type { RunSnapshot } from '../../src/core/run/snapshot.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { isoTime } from '../../src/core/event/event.ts';
import { failureRate, quantile } from '../../src/core/watch/run-figures.ts';
import { endWatch } from '../../src/watches/end.ts';
import { newWatch, NOON, observeContext, snapshot } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores();
const { redis, watches, runFigures } = stores;
afterAll(() => stores.close());
beforeEach(async () => void (await redis.del(...(await stores.keysLeft()), 'none')));

const HOUR = 3_600_000;
let runs = 0;

/** Watches a run from a time on; polls see it so, a second apart. @returns its watch */
async function aRun(from: number, seen: Partial<RunSnapshot>[]) {
  const key = { source: 'default', runId: `run-${(runs += 1)}` };
  const first = newWatch({ ...key, registeredAt: from, changedAt: from });
  await watches.commit({ before: null, after: first, events: [], deliveries: [] });
  for (const [at, changes] of seen.entries()) {
    const before = (await watches.get(key))!;
    const run = snapshot({ id: key.runId, ...changes });
    const context = observeContext(from + 1_000 * (at + 1));
    const { watch: after } = observe(before.watch, { kind: 'run', run }, context);
    await watches.commit({ before, after, events: [], deliveries: [] });
  }
  return key;
}

test('active runs are counted by workflow and status, and leave with their watch', async () => {
  await aRun(NOON, [{ status: 'queued' }, { status: 'running' }]);
  await aRun(NOON, [{ status: 'running', workflow_id: 'other one' }]);
  const ended = await aRun(NOON, [{ status: 'running' }]);
  await endWatch(testProcess({ stores, now: () => NOON + 5_000 }), ended);
  const { workflows } = await runFigures.since(NOON - HOUR, NOON + 10_000);
  expect(workflows).toMatchObject([
    { workflowId: 'workflow-1', active: { running: 1 }, figures: { ended: { cancelled: 1 } } },
    { workflowId: 'other one', active: { running: 1 }, figures: { ended: {} } },
  ]);
});

test('ended runs have duration, delay and requests, of the time that is asked for', async () => {
  const end = (from: number, status: string) =>
    aRun(from, [
      { status: 'running' },
      {
        status,
        started_at: isoTime(from - 60_000),
        finished_at: isoTime(from + 1_500),
      },
    ]);
  for (const status of ['completed', 'completed', 'failed']) await end(NOON, status);
  await end(NOON - 5 * HOUR, 'failed');
  await end(NOON - 72 * HOUR, 'failed');
  const now = NOON + 60_000;
  const of = async (hours: number) =>
    (await runFigures.since(now - hours * HOUR, now)).workflows[0]!;
  const { figures } = await of(1);
  expect(figures).toMatchObject({ ended: { completed: 2, failed: 1 }, requests: 6, polled: 3 });
  expect(failureRate(figures.ended)).toBeCloseTo(1 / 3);
  expect(quantile(figures.durations, 0.5)! / 61_500).toBeCloseTo(1, 0);
  expect(quantile(figures.delays, 0.95)! / 500).toBeCloseTo(1, 0);
  expect((await of(24)).figures.ended).toEqual({ completed: 2, failed: 2 });
  expect((await of(24 * 7)).figures.ended).toEqual({ completed: 2, failed: 3 });
  const ttls = await Promise.all(
    (await stores.keysLeft())
      .filter((key) => key.includes('run-figures'))
      .map((key) => redis.ttl(key)),
  );
  expect(ttls.every((ttl) => ttl > 0)).toBe(true);
});

test('no workflow has figures where no run was watched', async () => {
  expect((await runFigures.since(NOON - HOUR, NOON)).workflows).toEqual([]);
  expect(failureRate({ gone: 3 })).toBeNull();
  expect(quantile({}, 0.5)).toBeNull();
});
