import { afterAll, afterEach, describe, expect, test } from '@jest/globals';
import type { PollResult } from '../../src/core/run/snapshot.ts';
import { checkGone } from '../../src/watches/gone-checks.ts';
import type { FaultInput } from '../../src/simulator/fault.ts';
import { newWatch, NOON, observeContext, POLICY, snapshot } from '../support/builders.ts';
import { testProcess, testSource } from '../support/daemon.ts';
import { SOURCE, startPollRig, type PollRig } from '../support/poll-rig.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const HOUR = 3_600_000;

/** A 404 is confirmed three times over this. */
const GONE_AFTER_MS = 150;

describe('run that a poll does not find', () => {
  let rig: PollRig;

  afterEach(() => rig.stop());

  const types = async () => (await rig.events()).map(({ type }) => type);
  const stateOf = async (runId: string) =>
    (await rig.stores.watches.get({ source: SOURCE, runId }))?.watch;

  async function start(count: number): Promise<string[]> {
    const polling = {
      min_interval: '20ms',
      max_interval: '50ms',
      gone_after: `${GONE_AFTER_MS}ms`,
      lists: 'off',
    };
    rig = await startPollRig({ polling });
    const steps = [{ after_ms: 0, status: 'running' }];
    const runs = Array.from({ length: count }, () => rig.simulator.add({ steps }).id);
    await rig.watch(runs);
    await waitFor(async () => {
      const watches = await Promise.all(runs.map(stateOf));
      return watches.every((watch) => watch?.run);
    });
    return runs;
  }

  /** Asks for every run again and again, well beyond the time in which a 404 is confirmed. */
  async function askAgain(runs: readonly string[]): Promise<void> {
    const until = Date.now() + 2 * GONE_AFTER_MS;
    for (let turn = 0; turn < 4 || Date.now() < until; turn += 1) {
      const before = rig.simulator.requests.total;
      for (const runId of runs) await rig.pollNow(runId);
      // Not for all: by then it may be an outage, in which one request is made at a time.
      await waitFor(() => rig.simulator.requests.total > before);
    }
  }

  test.each<[string, FaultInput]>([
    ["a proxy's 404 for everything", { kind: 'status', status: 404, is_html: true }],
    [
      "a proxy's 404 for the runs, not the list",
      { kind: 'status', status: 404, is_html: true, on: 'run' },
    ],
    ["Noxus's 404 for everything", { kind: 'status', status: 404 }],
    ['a 422 about something else', { kind: 'status', status: 422 }],
  ])('a run is not gone after %s', async (_, fault) => {
    const runs = await start(5);
    rig.simulator.fault(fault);
    await askAgain(runs);
    expect(await types()).toEqual([]);
    rig.simulator.clearFaults();
    for (const runId of runs) rig.simulator.setStatus(runId, 'completed');
    for (const runId of runs) await rig.pollNow(runId);
    await waitFor(async () => (await types()).length === runs.length);
    expect(new Set(await types())).toEqual(new Set(['run.completed']));
  });

  test('a run that is not found is gone while its source answers for other runs', async () => {
    const [deleted = ''] = await start(2);
    rig.simulator.delete(deleted);
    await waitFor(async () => (await stateOf(deleted))?.state === 'gone');
    expect(await types()).toEqual(['run.gone']);
  });

  test('the only run of a source is gone once the source has answered with its list', async () => {
    const [only = ''] = await start(1);
    rig.simulator.delete(only);
    await waitFor(async () => (await stateOf(only))?.state === 'gone');
    expect(rig.simulator.requests.lists).toBe(1);
  });
});

describe('check of gone runs', () => {
  const stores = openStores();
  afterAll(() => stores.close());

  const key = { source: SOURCE, runId: 'run-1' };
  const scheduled: string[] = [];

  /** A check at so many hours after the run was gone. */
  async function checkAt(hours: number, outcome: PollResult, reads: string[] = []) {
    const now = NOON + hours * HOUR;
    const process = testProcess({ stores, endpoints: { wants: () => true }, now: () => now });
    const source = testSource({
      process,
      name: SOURCE,
      policy: POLICY,
      reader: { readRun: async (runId) => (reads.push(runId), outcome) },
      limiter: {
        claimRead: async () => ({
          settle: () => undefined,
          second: { use: () => undefined, end: () => undefined },
        }),
      },
      schedule: { entered: async () => void scheduled.push(SOURCE) },
      observer: { contextOf: () => observeContext(now) },
    });
    await checkGone({ process, sourceOf: () => source });
    return reads;
  }

  test('a gone run is read hourly, and its watch is active again once the run is found', async () => {
    const missing: PollResult = { kind: 'not_found' };
    const running: PollResult = { kind: 'run', run: snapshot() };
    const gone = { code: 'not_found' as const, message: 'gone', since: NOON };
    const changes = {
      state: 'gone' as const,
      gone,
      run: snapshot(),
      endedAt: NOON,
      nextPollAt: null,
    };
    const after = newWatch(changes, [{ kind: 'endpoint', endpoint: 'ops' }]);
    await stores.watches.commit({ before: null, after, events: [], deliveries: [] });

    expect(await checkAt(0.9, missing)).toEqual([]);
    expect(await checkAt(1, missing)).toEqual(['run-1']);
    expect(await checkAt(1.9, missing)).toEqual([]);
    expect(await checkAt(2, running)).toEqual(['run-1']);
    expect((await stores.watches.get(key))?.watch).toMatchObject({ state: 'active', gone: null });
    expect(scheduled).toEqual([SOURCE]);
    expect((await stores.requests.dueTimes(SOURCE, ['run-1']))[0]).not.toBeNull();
    const events = await stores.events.list(
      { runs: [{ source: 'default', runId: 'run-1' }] },
      { limit: 10 },
    );
    expect(events.items.map(({ event }) => event.type)).toEqual(['watch.recovered']);
    // It is an ordinary watch again.
    expect(await checkAt(9, running)).toEqual([]);
  });
});
