import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatDuration, parseDuration } from '../../src/core/time.ts';

describe('durations', () => {
  test.each([
    ['250ms', 250],
    ['10s', 10_000],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['7d', 604_800_000],
    ['1.5s', 1_500],
  ])('the duration %s is %i ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each(['', '10', 's', '-5s', '5 s', '1h30m', '1w', '1e3s'])('%p is no duration', (text) => {
    expect(parseDuration(text)).toBeNull();
  });

  test('a formatted duration parses back', () => {
    fc.assert(fc.property(fc.nat(), (ms) => expect(parseDuration(formatDuration(ms))).toBe(ms)));
  });
});
