import { afterAll, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { emptyStatistics } from '../../src/core/cadence/hazard.ts';
import type { DurationSample } from '../../src/core/cadence/phase.ts';
import { StatisticsCache } from '../../src/source/statistics-cache.ts';
import type { StatisticsStore } from '../../src/redis/stores/statistics-store.ts';
import { newWatch, NOON } from '../support/builders.ts';
import { openStores } from '../support/stores.ts';

const { watches, statistics: store, close } = openStores();
afterAll(close);

let count = 0;
const fresh = (what: string) => `${what}-${(count += 1)}`;

/** A process: a cache and a clock of its own, which writes what it learns as polls do. */
function startProcess(over: Pick<StatisticsStore, 'read' | 'lastUsed' | 'usedSince'> = store) {
  const clock = { now: NOON };
  let woken = 0;
  const log = pino({ level: 'silent' });
  class Cache extends StatisticsCache {
    override wake(): void {
      woken += 1;
    }
  }
  const cache = new Cache(over, () => clock.now, log);
  return {
    lookup: cache.lookup,
    refresh: () => cache.refresh(),
    woken: () => woken,
    pass: (ms: number) => (clock.now += ms),
    samplesOf: (workflowId: string, state: string | null = 'running/0') =>
      cache.lookup('default', workflowId, state)?.runs,
    async see(workflowId: string, times = 1) {
      const samples = Array.from({ length: times }, (): DurationSample => {
        return {
          source: 'default',
          workflowId,
          state: 'running/0',
          fromS: 0,
          toS: 10,
          ended: true,
        };
      });
      const after = newWatch({ runId: fresh('run') });
      await watches.commit({ before: null, after, events: [], deliveries: [], samples });
      cache.learn(samples);
    },
  };
}

describe('statistics cache of a process', () => {
  test('the cache has samples of its own process at once, and counts them once', async () => {
    const workflowId = fresh('workflow');
    const process = startProcess();
    await process.refresh();
    for (let samples = 1; samples <= 3; samples += 1) {
      await process.see(workflowId);
      expect(process.samplesOf(workflowId)).toBe(samples);
      process.pass(5_000);
      await process.refresh();
      expect(process.samplesOf(workflowId)).toBe(samples);
    }
  });

  test('a new cache reads the statistics of other processes before the first lookup', async () => {
    const workflowId = fresh('workflow');
    await startProcess().see(workflowId, 7);
    const second = startProcess();
    await second.refresh();
    expect(second.samplesOf(workflowId)).toBe(7);
    expect(second.woken()).toBe(0);
  });

  test('the first lookup of a workflow requests one refresh', async () => {
    const process = startProcess();
    await process.refresh();
    const workflowId = fresh('workflow');
    await startProcess().see(workflowId);
    expect([process.samplesOf(workflowId), process.samplesOf(workflowId, null)]).toEqual([
      undefined,
      undefined,
    ]);
    expect(process.woken()).toBe(1);
    await process.refresh();
    expect(process.samplesOf(workflowId)).toBe(1);
  });

  test('the cache reads new samples of other processes some seconds later', async () => {
    const workflowId = fresh('workflow');
    const [one, other] = [startProcess(), startProcess()];
    await one.see(workflowId);
    await other.refresh();
    await one.see(workflowId);
    await other.refresh();
    expect(other.samplesOf(workflowId)).toBe(1);
    other.pass(4_000);
    await other.refresh();
    expect(other.samplesOf(workflowId)).toBe(2);
  });

  test('the cache reads only workflows that were used since', async () => {
    const ids = Array.from({ length: 300 }, () => fresh('workflow'));
    const read: string[] = [];
    const process = startProcess({
      read: async (wanted, options) => {
        read.push(...wanted.map(({ workflowId }) => workflowId));
        return store.read(wanted, options);
      },
      lastUsed: async () => [],
      usedSince: (time) => store.usedSince(time),
    });
    const other = startProcess();
    for (const id of ids) await other.see(id);
    const lookups = () => ids.map((id) => process.samplesOf(id));
    lookups();
    const refresh = async () => {
      process.pass(4_000);
      await process.refresh();
    };
    await refresh();
    // Reading counted as use.
    await refresh();
    read.length = 0;
    await refresh();
    expect(read).toEqual([]);
    await other.see(ids[7]!);
    await refresh();
    expect(read).toEqual([ids[7]]);
    expect(lookups()).toEqual(ids.map((_, at) => (at === 7 ? 2 : 1)));
  });

  test('the cache reads everything again from a store that counts from the beginning', async () => {
    const workflowId = fresh('workflow');
    let isLost = false;
    const process = startProcess({
      read: async (wanted, options) =>
        isLost ? wanted.map(() => null) : store.read(wanted, options),
      lastUsed: (limit) => store.lastUsed(limit),
      usedSince: async (time) => (isLost ? { time: 0, names: [] } : store.usedSince(time)),
    });
    await startProcess().see(workflowId);
    process.samplesOf(workflowId);
    await process.refresh();
    expect(process.samplesOf(workflowId)).toBe(1);
    isLost = true;
    process.pass(4_000);
    await process.refresh();
    expect(process.samplesOf(workflowId)).toBeUndefined();
  });

  test('caches of all processes converge', async () => {
    const workflowId = fresh('workflow');
    const [one, other] = [startProcess(), startProcess()];
    await Promise.all([one.refresh(), other.refresh()]);
    await Promise.all([one.see(workflowId), other.see(workflowId, 2), one.see(workflowId)]);
    for (const process of [one, other]) {
      process.pass(4_000);
      await process.refresh();
    }
    const [ours, theirs] = [one, other].map(({ lookup }) =>
      lookup('default', workflowId, 'running/0'),
    );
    expect(ours?.runs).toBe(4);
    expect(ours).toEqual(theirs);
  });
});

describe('limits of the statistics cache', () => {
  test('the cache keeps its statistics while Redis cannot be read', async () => {
    const workflowId = fresh('workflow');
    let isAway = false;
    const process = startProcess({
      read: async (wanted, options) =>
        isAway ? Promise.reject(new Error('away')) : store.read(wanted, options),
      lastUsed: (limit) => store.lastUsed(limit),
      usedSince: (time) => store.usedSince(time),
    });
    await process.see(workflowId);
    await process.refresh();
    isAway = true;
    process.pass(60_000);
    await expect(process.refresh()).rejects.toThrow('away');
    expect(process.samplesOf(workflowId)).toBe(1);
    await process.see(workflowId);
    expect(process.samplesOf(workflowId)).toBe(2);
  });

  test('the cache drops a workflow without a lookup for a quarter of an hour', async () => {
    const [asked, unasked] = [fresh('workflow'), fresh('workflow')];
    const process = startProcess();
    await process.see(asked);
    await process.see(unasked);
    await process.refresh();
    process.pass(600_000);
    expect(process.samplesOf(asked)).toBe(1);
    process.pass(600_000);
    await process.refresh();
    expect([process.samplesOf(asked), process.woken()]).toEqual([1, 0]);
    expect([process.samplesOf(unasked), process.woken()]).toEqual([undefined, 1]);
  });

  test('the cache drops the least recently used workflows beyond its limit', async () => {
    const states = new Map(
      Array.from({ length: 100 }, (_, at) => [`running/${at}`, emptyStatistics()] as const),
    );
    const process = startProcess({
      lastUsed: async () => [],
      usedSince: async () => ({ time: 0, names: [] }),
      read: async (wanted) =>
        wanted.map(({ source, workflowId }) => {
          return { source, workflowId, version: 1, states, durations: null, polled: null };
        }),
    });
    const ids = Array.from({ length: 201 }, () => fresh('crowd'));
    for (const id of ids) {
      process.pass(1);
      process.samplesOf(id);
    }
    await process.refresh();
    await process.refresh();
    const woken = process.woken();
    expect(ids.map((id) => process.samplesOf(id) === undefined)).toEqual(
      ids.map((_, at) => at === 0),
    );
    expect(process.woken()).toBe(woken + 1);
  });
});
