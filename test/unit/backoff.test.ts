import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  fullJitter,
  jitterUp,
  MAX_RETRY_AFTER_MS,
  parseRetryAfter,
} from '../../src/core/backoff.ts';

const NOW = Date.UTC(2026, 0, 1, 12);
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('Retry-After', () => {
  test.each([
    ['120', 120_000],
    [' 0 ', 0],
    ['1.5', 1_500],
    ['0.2', 200],
    ['-5', null],
    ['1e9', null],
    ['Thu, 01 Jan 2026 12:00:30 GMT', 30_000],
    ['Thu, 01 Jan 2026 11:00:00 GMT', 0],
    ['99999999999', MAX_RETRY_AFTER_MS],
    ['soon', null],
    ['', null],
    [undefined, null],
  ])('Retry-After %p parses to %p ms', (header, expected) => {
    expect(parseRetryAfter(header, NOW)).toBe(expected);
  });

  test('Retry-After parses to null or to a bounded time, whatever the header', () => {
    fc.assert(
      fc.property(fc.string(), (header) => {
        const ms = parseRetryAfter(header, NOW);
        if (ms !== null) expect(ms >= 0 && ms <= MAX_RETRY_AFTER_MS).toBe(true);
      }),
    );
  });
});

describe('jitter', () => {
  test('failure backoff lies between a tenth of its bound and the bound', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), random, (failures, value) => {
        const bound = Math.min(60_000, 1_000 * 2 ** (failures - 1));
        const ms = fullJitter({ baseMs: 1_000, maxMs: 60_000 }, failures, () => value);
        expect(ms).toBeGreaterThanOrEqual(bound * 0.1 - 1);
        expect(ms).toBeLessThanOrEqual(bound);
      }),
    );
  });

  test('upward jitter never shortens a delay', () => {
    fc.assert(
      fc.property(fc.nat(1e9), random, (ms, value) => {
        expect(jitterUp(ms, 0.1, () => value)).toBeGreaterThanOrEqual(ms);
      }),
    );
  });
});
