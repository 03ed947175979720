import { expect, test } from '@jest/globals';
import { NO_LOAD } from '../../src/core/cadence/load.ts';
import {
  LongestWait,
  readsText,
  readTimesOf,
  sourceReads,
  widenedWait,
} from '../../src/core/source/read-times.ts';
import { newWatch, snapshot, stretchedReads } from '../support/builders.ts';

const reads = stretchedReads();
const { limit } = reads;

test('runs that are read too rarely are said with the rate limit that would do', () => {
  expect(readsText(reads)).toBe(
    '1,343 of 2,000 runs read less often than max_interval (1 min) asks for, the slowest every 16 min; source default may be asked 10/s; 38/s would do',
  );
  expect(readsText({ ...reads, isByLists: false })).toMatch(
    /38\/s would do, or polling.lists auto$/,
  );
});

test('how often runs are read is said while that is often enough', () => {
  expect(readsText({ ...reads, usualMs: 2_500, longestMs: 9_000, stretched: 0 })).toBe(
    '2,000 runs read every 2.5 s, the slowest every 9 s; source default may be asked 10/s',
  );
  expect(readsText({ ...reads, runs: 1, usualMs: null, longestMs: 60_000, stretched: 0 })).toBe(
    '1 run read at least every 1 min; source default may be asked 10/s',
  );
});

test('a run that its cadence reads rarely does not count as read too rarely', () => {
  const times = [
    { readMs: 300_000, intervalMs: 300_000 },
    { readMs: 90_000, intervalMs: 30_000 },
    { readMs: 70_000, intervalMs: 60_000 },
  ];
  expect(readTimesOf(times, 60_000)).toEqual({
    runs: 3,
    usualMs: 90_000,
    longestMs: 300_000,
    stretched: 1,
  });
});

test('without lists, the longest interval of a short rate limit is what runs wait for', () => {
  const source = {
    source: 'eu',
    limit,
    maxIntervalMs: 60_000,
    waitMs: null,
    planned: null,
    isByLists: false,
  };
  const load = { ...NO_LOAD, roundMs: 200_000 };
  expect(sourceReads({ ...source, load, active: 2_000 })).toMatchObject({
    runs: 2_000,
    usualMs: null,
    longestMs: 1_000_000,
    stretched: 2_000,
    wantedRequests: 38,
  });
  expect(sourceReads({ ...source, load: NO_LOAD, active: 20 })).toMatchObject({
    longestMs: 60_000,
    stretched: 0,
  });
  // Requests that are left over are shared by all runs.
  expect(sourceReads({ ...source, load, active: 2_000, waitMs: 210_000 })).toMatchObject({
    longestMs: 210_000,
    stretched: 2_000,
  });
  // A process that has just started takes the limit for short.
  expect(
    sourceReads({ ...source, load: { ...NO_LOAD, roundMs: 20_000, rounds: 5 }, active: 200 }),
  ).toMatchObject({ longestMs: 100_000, stretched: 0 });
});

test('with lists, nothing is said of read times before the first plan', () => {
  const source = {
    source: 'eu',
    limit,
    maxIntervalMs: 60_000,
    waitMs: null,
    load: NO_LOAD,
    active: 2_000,
  };
  expect(sourceReads({ ...source, planned: null, isByLists: true })).toBeNull();
  const planned = { times: { ...reads }, wantedPerMs: 0.02 };
  expect(sourceReads({ ...source, planned, isByLists: true })).toMatchObject({
    stretched: 1_343,
    wantedRequests: 20,
  });
});

test('a wait counts between two polls of a run with a widened interval', () => {
  const [maxIntervalMs, lagMs] = [60_000, 0];
  const waitOf = (intervalMs: number, waitMs: number, status = 'running') => {
    const before = newWatch({
      run: snapshot({ status }),
      lastPolledAt: 1_000,
      cadence: { intervalMs, failures: 0 },
    });
    return widenedWait(before, { lastPolledAt: 1_000 + waitMs }, { maxIntervalMs, lagMs });
  };
  expect(waitOf(300_000, 70_000)).toBe(70_000);
  expect(waitOf(60_000, 70_000)).toBeNull();
  expect(waitOf(300_000, 290_000, 'awaiting_human_feedback')).toBeNull();
  // An event stream stood in for the polls between.
  expect(waitOf(300_000, 900_000)).toBeNull();
});

test('the longest wait of the last seconds is known, and is forgotten with the seconds after', () => {
  let now = 0;
  const longest = new LongestWait(() => now);
  expect(longest.ms).toBeNull();
  longest.add(25_000);
  longest.add(9_000);
  expect(longest.ms).toBe(25_000);
  now = 6_000;
  longest.add(5_000);
  expect(longest.ms).toBe(25_000);
  now = 12_000;
  longest.add(5_000);
  expect(longest.ms).toBe(5_000);
});
