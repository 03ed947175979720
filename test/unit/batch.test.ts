import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  BACKSTOP_MS,
  isNextPageWorthIt,
  planBatch,
  putOffAt,
  recallAt,
} from '../../src/core/batch.ts';
import { newWatch } from '../support/builders.ts';

const NOW = Date.parse('2026-01-01T12:00:00.000Z');

const interval = fc.integer({ min: 50, max: 300_000 });
const intervals = fc.array(interval, { minLength: 1, maxLength: 300 });
const pages = fc.integer({ min: 1, max: 10 });
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

const members = (ms: number[]) => ms.map((intervalMs) => ({ intervalMs, createdAt: 0 }));

const plan = (ms: number[], pagesRead = 1, minIntervalMs = 1) =>
  planBatch(members(ms), { pages: pagesRead, minIntervalMs });

describe('the plan for a list', () => {
  test('looks √k times as often as k equal runs were polled, with √k times fewer requests', () => {
    const k = 100;
    const { intervalMs, pays } = plan(Array.from({ length: k }, () => 5_000));
    expect(pays).toBe(true);
    expect(intervalMs).toBeCloseTo(5_000 / Math.sqrt(k));
    const requestsAlone = k / 5_000;
    expect(1 / intervalMs).toBeCloseTo(requestsAlone / Math.sqrt(k));
  });

  test('never looks less often than the run that is polled most often alone', () => {
    fc.assert(
      fc.property(intervals, pages, (ms, read) => {
        expect(plan(ms, read).intervalMs).toBeLessThanOrEqual(Math.min(...ms) * 1.000_001);
      }),
    );
  });

  test('never looks more often than the limits allow', () => {
    fc.assert(
      fc.property(intervals, pages, fc.integer({ min: 1, max: 10_000 }), (ms, read, least) => {
        expect(plan(ms, read, least).intervalMs).toBeGreaterThanOrEqual(least);
      }),
    );
  });

  test('takes fewer requests than single polls wherever it pays, backstops included', () => {
    fc.assert(
      fc.property(intervals, pages, fc.integer({ min: 1, max: 10_000 }), (ms, read, least) => {
        const { pays, intervalMs } = plan(ms, read, least);
        const alone = ms.reduce((sum, one) => sum + 1 / one, 0);
        const backstops = ms.reduce((sum, one) => sum + 1 / Math.max(one, BACKSTOP_MS), 0);
        expect(pays).toBe(ms.length > 1 && read / intervalMs + backstops < alone);
      }),
    );
  });

  test('looks more often and saves more with every run that joins', () => {
    fc.assert(
      fc.property(intervals, interval, (ms, joining) => {
        const [before, after] = [plan(ms), plan([...ms, joining])];
        expect(after.intervalMs).toBeLessThanOrEqual(before.intervalMs);
      }),
    );
  });

  test('is to poll singly what is alone, or as slow as the backstop is', () => {
    expect(plan([1_000]).pays).toBe(false);
    expect(plan([1_000, 1_000]).pays).toBe(true);
    expect(plan([BACKSTOP_MS, BACKSTOP_MS]).pays).toBe(false);
  });
});

describe('the next page of a list', () => {
  const listed = (ageMs: number) => ({
    id: 'run',
    workflow_id: 'w',
    status: 'running',
    progress: 0,
    created_at: new Date(NOW - ageMs).toISOString(),
    finished_at: null,
  });
  /** A page with runs of the last 100 s. */
  const page = { runs: [listed(0), listed(50_000), listed(100_000)], isLast: false, isCut: false };
  const looked = { pays: true, intervalMs: 1_000 };
  const missing = (ageMs: number, intervalMs: number) => [{ createdAt: NOW - ageMs, intervalMs }];

  test('is read for runs that should be on it and are polled more often than the list is', () => {
    expect(isNextPageWorthIt(page, missing(150_000, 500), looked)).toBe(true);
    expect(isNextPageWorthIt(page, missing(150_000, 2_000), looked)).toBe(false);
    expect(isNextPageWorthIt(page, [], looked)).toBe(false);
  });

  test('is not read for runs that are far older, or should have been on this one', () => {
    expect(isNextPageWorthIt(page, missing(1_000_000, 500), looked)).toBe(false);
    expect(isNextPageWorthIt(page, missing(50_000, 500), looked)).toBe(false);
  });

  test('is not read where there is none', () => {
    const gone = missing(150_000, 500);
    expect(isNextPageWorthIt({ ...page, isLast: true }, gone, looked)).toBe(false);
    expect(isNextPageWorthIt({ ...page, isCut: true }, gone, looked)).toBe(false);
    expect(isNextPageWorthIt({ ...page, runs: [] }, gone, looked)).toBe(false);
  });
});

describe('a single poll for which a list stands in', () => {
  const polled = newWatch({
    lastPolledAt: NOW - 1_000,
    nextPollAt: NOW + 500,
    timeoutAt: NOW + 1e9,
  });
  const putOff = (changes: object, random01: number, latestAt = Infinity) =>
    putOffAt({ ...polled, ...changes }, { intervalMs: 1_500, latestAt, random: () => random01 });

  test('is put off to the backstop, counted from the last poll', () => {
    fc.assert(
      fc.property(random, (dice) => {
        const at = putOff({}, dice) ?? 0;
        expect(at).toBeGreaterThanOrEqual(NOW - 1_000 + BACKSTOP_MS * 0.75 - 1);
        expect(at).toBeLessThanOrEqual(NOW - 1_000 + BACKSTOP_MS);
      }),
    );
  });

  test('is put off once and not with every look', () => {
    fc.assert(
      fc.property(random, random, (first, second) => {
        expect(putOff({ nextPollAt: putOff({}, first) }, second)).toBeNull();
      }),
    );
  });

  test('is never put off beyond the end of the watch, or beyond what must be told', () => {
    expect(putOff({ timeoutAt: NOW + 9_000 }, 0)).toBe(NOW + 9_000);
    expect(putOff({}, 0, NOW + 8_000)).toBe(NOW + 8_000);
    expect(putOff({}, 0, NOW)).toBeNull();
  });

  test('is left alone where it comes later anyway', () => {
    const at = putOffAt(
      { ...polled, nextPollAt: NOW + 300_000 },
      { intervalMs: 300_000, latestAt: Infinity, random: () => 0 },
    );
    expect(at).toBeNull();
  });
});

describe('a single poll for which no list stands in any more', () => {
  test('comes within the interval of the watch, and never later than it was set', () => {
    fc.assert(
      fc.property(interval, random, fc.integer({ min: -1_000, max: 400_000 }), (ms, dice, inMs) => {
        const putOff = newWatch({ nextPollAt: NOW + inMs });
        const at = recallAt(putOff, { intervalMs: ms, now: NOW, random: () => dice });
        if (inMs <= ms) expect(at).toBeNull();
        else expect(at).toBeLessThanOrEqual(NOW + ms);
      }),
    );
  });
});
