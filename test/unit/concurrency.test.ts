import { describe, expect, test } from '@jest/globals';
import { autoConcurrency } from '../../src/core/source/limiter.ts';

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
