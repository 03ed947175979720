import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatDuration, parseDuration, parseIsoTime } from '../../src/core/time.ts';

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
