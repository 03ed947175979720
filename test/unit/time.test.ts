import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  formatDuration,
  inTwoUnits,
  parseDuration,
  parseIsoTime,
  spanText,
} from '../../src/core/time.ts';

describe('durations', () => {
  test.each([
    ['250ms', 250],
    ['10s', 10_000],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['7d', 604_800_000],
    ['2w', 1_209_600_000],
    ['1.5s', 1_500],
  ])('the duration %s is %i ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each(['', '10', 's', '-5s', '5 s', '1h30m', '1y', '1e3s'])('%p is no duration', (text) => {
    expect(parseDuration(text)).toBeNull();
  });

  test('a formatted duration parses back', () => {
    fc.assert(fc.property(fc.nat(), (ms) => expect(parseDuration(formatDuration(ms))).toBe(ms)));
  });
});

describe('spans', () => {
  test.each([
    [0, '0 s'],
    [870, '0.9 s'],
    [9_949, '9.9 s'],
    [9_999, '10 s'],
    [59_499, '59 s'],
    [59_600, '1 min'],
    [125_500, '2 min 6 s'],
    [3_599_600, '1 h'],
    [3_600_000, '1 h'],
    [7_140_000, '1 h 59 min'],
    [7_199_000, '2 h'],
    [86_399_000, '1 d'],
    [90_000_000, '1 d 1 h'],
    [604_790_000, '7 d'],
    [-5, '0 s'],
  ])('a span of %i ms reads as %s', (ms, text) => {
    expect(spanText(ms)).toBe(text);
  });

  test('a span in two units is off by half of the smaller unit at most', () => {
    const unitMs = { s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 };
    fc.assert(
      fc.property(fc.nat(10 * 86_400_000), (ms) => {
        const sum = inTwoUnits(ms).reduce((all, [value, unit]) => all + value * unitMs[unit], 0);
        const smaller = ms < 3_599_500 ? unitMs.s : ms < 86_370_000 ? unitMs.min : unitMs.h;
        expect(Math.abs(sum - ms)).toBeLessThanOrEqual(smaller / 2);
      }),
    );
  });
});

describe('times', () => {
  test.each([
    ['2025-05-04', Date.UTC(2025, 4, 4)],
    ['2024-02-29', Date.UTC(2024, 1, 29)],
    ['2025-05-04T10:00Z', Date.UTC(2025, 4, 4, 10)],
    ['2025-05-04T10:00:30.250+02:00', Date.UTC(2025, 4, 4, 8, 0, 30, 250)],
    [' 2025-05-04T10:00:00-05:30 ', Date.UTC(2025, 4, 4, 15, 30)],
  ])('the time %p is read', (text, at) => {
    expect(parseIsoTime(text)).toBe(at);
  });

  test.each([
    '',
    'now',
    '2025-5-4',
    '2025-02-29',
    '2025-02-30T10:00:00Z',
    '2025-13-01',
    '2025-05-04T10:00:00',
    '2025-05-04 10:00:00Z',
    '2025-05-04T25:00:00Z',
    '2025-05-04T10:60:00Z',
    '2025-05-04T10:00:00+2',
    'May 4, 2025',
  ])('%p is no time', (text) => {
    expect(parseIsoTime(text)).toBeNull();
  });

  test('every moment that is written can be read', () => {
    const moments = fc.date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true });
    fc.assert(
      fc.property(moments, (moment) =>
        expect(parseIsoTime(moment.toISOString())).toBe(moment.getTime()),
      ),
    );
  });
});
