import { describe, expect, test } from '@jest/globals';
import { graceMs, holdMs, roundMs, autoConcurrency } from '../../src/core/source/rate-limit.ts';
import { patienceMs, pollKind } from '../../src/core/source/request-order.ts';

const ROUND_MS = 20_000;

describe('the patience of a poll', () => {
  const patience = (profile: 'urgent' | 'normal' | 'frugal', maxDelayMs: number | null = null) =>
    patienceMs(pollKind({ profile, maxDelayMs }, ROUND_MS), ROUND_MS);

  test('urgent polls go first by a round of all watches, and frugal ones last by two', () => {
    expect([patience('urgent'), patience('normal'), patience('frugal')]).toEqual([
      0,
      ROUND_MS,
      2 * ROUND_MS,
    ]);
  });

  test("a poll's patience is never longer than the delay that the watch accepts", () => {
    expect(patience('frugal', 2 * ROUND_MS)).toBe(2 * ROUND_MS);
    expect(patience('frugal', 2 * ROUND_MS - 1)).toBe(ROUND_MS);
    expect(patience('normal', ROUND_MS - 1)).toBe(0);
  });

  test('polls have no patience while the rate limit is not short', () => {
    expect(patienceMs('frugal', 0)).toBe(0);
  });
});

describe('a rate limit', () => {
  const limit = { requests: 10, perMs: 1_000 };

  test('a request without an answer counts for half of its period more, a second at most', () => {
    expect(graceMs(limit)).toBe(500);
    expect(graceMs({ requests: 600, perMs: 60_000 })).toBe(1_000);
    expect(holdMs(limit)).toBe(1_501);
  });

  test('a rate limit gives every watch its turn once in a round', () => {
    expect(roundMs(200, limit)).toBe(20_000);
    expect(roundMs(0, limit)).toBe(0);
  });
});

const source = (perSecond: number, timeoutMs = 10_000) => ({
  limit: { requests: perSecond, perMs: 1_000 },
  timeoutMs,
});

describe('concurrent requests to a source', () => {
  test.each([
    [10, 10_000, 100],
    [200, 3_000, 600],
    [200, 10_000, 1_024],
    [1, 1_000, 16],
  ])(
    'a source with %d requests a second and answers of %d ms gets %d concurrent requests',
    (perSecond, timeoutMs, expected) => {
      const one = source(perSecond, timeoutMs);
      expect(autoConcurrency(one, [one])).toBe(expected);
    },
  );

  test('sources that together need more concurrent requests than a process should hold share them', () => {
    const [large, small] = [source(300), source(100)];
    expect(autoConcurrency(large, [large, small])).toBe(768);
    expect(autoConcurrency(small, [large, small])).toBe(256);
  });
});
