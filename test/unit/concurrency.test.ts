import { describe, expect, test } from '@jest/globals';
import { autoConcurrency } from '../../src/core/source/concurrency.ts';

const source = (perSecond: number, timeoutMs = 10_000) => ({
  limit: { requests: perSecond, perMs: 1_000 },
  timeoutMs,
});

describe('how many requests to a source may be under way', () => {
  test.each([
    [10, 10_000, 100],
    [200, 3_000, 600],
    [200, 10_000, 1_024],
    [1, 1_000, 16],
  ])('is what %d a second need at %d ms an answer: %d', (perSecond, timeoutMs, expected) => {
    const one = source(perSecond, timeoutMs);
    expect(autoConcurrency(one, [one])).toBe(expected);
  });

  test('is shared by sources that together need more than a process should hold', () => {
    const [large, small] = [source(300), source(100)];
    expect(autoConcurrency(large, [large, small])).toBe(768);
    expect(autoConcurrency(small, [large, small])).toBe(256);
  });
});
