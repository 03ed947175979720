import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  BACKSTOP_MS,
  isNextPageWorthIt,
  planBatch,
  putOffAt,
  recallAt,
} from '../../src/core/feed/batch.ts';
import { newWatch } from '../support/builders.ts';

const NOW = Date.parse('2026-01-01T12:00:00.000Z');

const interval = fc.integer({ min: 50, max: 300_000 });
const intervals = fc.array(interval, { minLength: 1, maxLength: 300 });
const pages = fc.integer({ min: 1, max: 10 });
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

const members = (ms: number[]) => ms.map((intervalMs) => ({ intervalMs, createdAt: 0 }));

const plan = (ms: number[], pagesRead = 1, minIntervalMs = 1) =>
  planBatch(members(ms), { pages: pagesRead, minIntervalMs });

describe('list plan', () => {
  test('a list of k equal runs is swept √k times as often as each was polled, with √k times fewer requests', () => {
    const k = 100;
    const { intervalMs, pays } = plan(Array.from({ length: k }, () => 5_000));
    expect(pays).toBe(true);
    expect(intervalMs).toBeCloseTo(5_000 / Math.sqrt(k));
    const requestsAlone = k / 5_000;
    expect(1 / intervalMs).toBeCloseTo(requestsAlone / Math.sqrt(k));
  });

  test('a list is swept at least as often as its most often polled run', () => {
    fc.assert(
      fc.property(intervals, pages, (ms, read) => {
        expect(plan(ms, read).intervalMs).toBeLessThanOrEqual(Math.min(...ms) * 1.000_001);
      }),
    );
  });

  test('a list is swept no more often than the limits allow', () => {
    fc.assert(
      fc.property(intervals, pages, fc.integer({ min: 1, max: 10_000 }), (ms, read, least) => {
        expect(plan(ms, read, least).intervalMs).toBeGreaterThanOrEqual(least);
      }),
    );
  });

  test('a list that pays takes fewer requests than single polls, backstops included', () => {
    fc.assert(
      fc.property(intervals, pages, fc.integer({ min: 1, max: 10_000 }), (ms, read, least) => {
        const { pays, intervalMs } = plan(ms, read, least);
        const alone = ms.reduce((sum, one) => sum + 1 / one, 0);
        const backstops = ms.reduce((sum, one) => sum + 1 / Math.max(one, BACKSTOP_MS), 0);
        expect(pays).toBe(ms.length > 1 && read / intervalMs + backstops < alone);
      }),
    );
  });

  test('each run that joins a list makes sweeps more frequent and saves more requests', () => {
    fc.assert(
      fc.property(intervals, interval, (ms, joining) => {
        const [before, after] = [plan(ms), plan([...ms, joining])];
        expect(after.intervalMs).toBeLessThanOrEqual(before.intervalMs);
      }),
    );
  });

  test('a single run, or runs as slow as the backstop, are polled singly', () => {
    expect(plan([1_000]).pays).toBe(false);
    expect(plan([1_000, 1_000]).pays).toBe(true);
    expect(plan([BACKSTOP_MS, BACKSTOP_MS]).pays).toBe(false);
  });
});

describe('next page of a list', () => {
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

  test('a sweep reads the next page if it should hold runs that are polled more often than the list', () => {
    expect(isNextPageWorthIt(page, missing(150_000, 500), looked)).toBe(true);
    expect(isNextPageWorthIt(page, missing(150_000, 2_000), looked)).toBe(false);
    expect(isNextPageWorthIt(page, [], looked)).toBe(false);
  });

  test('a sweep skips the next page for runs that are far older, or should have been on this one', () => {
    expect(isNextPageWorthIt(page, missing(1_000_000, 500), looked)).toBe(false);
    expect(isNextPageWorthIt(page, missing(50_000, 500), looked)).toBe(false);
  });

  test('a sweep reads no page after the last one', () => {
    const gone = missing(150_000, 500);
    expect(isNextPageWorthIt({ ...page, isLast: true }, gone, looked)).toBe(false);
    expect(isNextPageWorthIt({ ...page, isCut: true }, gone, looked)).toBe(false);
    expect(isNextPageWorthIt({ ...page, runs: [] }, gone, looked)).toBe(false);
  });
});

describe('single poll deferred for a list', () => {
  const polled = newWatch({
    lastPolledAt: NOW - 1_000,
    nextPollAt: NOW + 500,
    timeoutAt: NOW + 1e9,
  });
  const putOff = (changes: object, random01: number, latestAt = Infinity) =>
    putOffAt({ ...polled, ...changes }, { intervalMs: 1_500, latestAt, random: () => random01 });

  test('a single poll is deferred to the backstop, counted from the last poll', () => {
    fc.assert(
      fc.property(random, (dice) => {
        const at = putOff({}, dice) ?? 0;
        expect(at).toBeGreaterThanOrEqual(NOW - 1_000 + BACKSTOP_MS * 0.75 - 1);
        expect(at).toBeLessThanOrEqual(NOW - 1_000 + BACKSTOP_MS);
      }),
    );
  });

  test('a single poll is deferred once and not again with every sweep', () => {
    fc.assert(
      fc.property(random, random, (first, second) => {
        expect(putOff({ nextPollAt: putOff({}, first) }, second)).toBeNull();
      }),
    );
  });

  test("a single poll is never deferred beyond the watch's timeout or a due notification", () => {
    expect(putOff({ timeoutAt: NOW + 9_000 }, 0)).toBe(NOW + 9_000);
    expect(putOff({}, 0, NOW + 8_000)).toBe(NOW + 8_000);
    expect(putOff({}, 0, NOW)).toBeNull();
  });

  test('a single poll that is due later anyway is not moved', () => {
    const at = putOffAt(
      { ...polled, nextPollAt: NOW + 300_000 },
      { intervalMs: 300_000, latestAt: Infinity, random: () => 0 },
    );
    expect(at).toBeNull();
  });
});

describe('single poll after its list feed ended', () => {
  test("a deferred poll comes back within the watch's interval, and never later than it was due", () => {
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
