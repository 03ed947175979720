import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  contains,
  isLocation,
  mutedUntil,
  nextDigest,
} from '../../src/core/alert/time-interval.ts';

const at = (text: string) => Date.parse(text);
const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const LISBON = 'Europe/Lisbon';
const night = { times: [{ from: 22 * 60, to: 24 * 60 }], location: LISBON };
const morning = { times: [{ from: 0, to: 6 * 60 }], location: LISBON };

describe('time intervals', () => {
  test.each([
    ['2026-07-01T20:59:00Z', false],
    ['2026-07-01T21:00:00Z', true],
    ['2026-07-01T22:59:59Z', true],
    ['2026-07-01T23:00:00Z', false],
    ['2026-01-01T21:30:00Z', false],
    ['2026-01-01T22:00:00Z', true],
  ])('an interval goes by the clock of its location: %s %s', (time, isWithin) => {
    expect(contains(night, at(time))).toBe(isWithin);
  });

  test.each([
    [{ weekdays: [{ from: 1, to: 5 }] }, '2026-03-06T12:00:00Z', true],
    [{ weekdays: [{ from: 1, to: 5 }] }, '2026-03-07T12:00:00Z', false],
    [{ daysOfMonth: [{ from: -1, to: -1 }] }, '2026-02-28T12:00:00Z', true],
    [{ daysOfMonth: [{ from: -1, to: -1 }] }, '2026-02-27T12:00:00Z', false],
    [{ daysOfMonth: [{ from: 1, to: 5 }] }, '2026-02-05T12:00:00Z', true],
    [{ months: [{ from: 12, to: 12 }] }, '2026-12-31T12:00:00Z', true],
    [{ years: [{ from: 2027, to: 2028 }] }, '2026-12-31T12:00:00Z', false],
  ])('an interval holds where each of its fields does: %j at %s', (fields, time, isWithin) => {
    expect(contains({ ...fields, location: 'UTC' }, at(time))).toBe(isWithin);
  });

  test('a mute of two intervals that meet ends with the second', () => {
    expect(iso(mutedUntil([night, morning], at('2026-07-01T21:30:10Z')))).toBe(
      '2026-07-02T05:00:00.000Z',
    );
    expect(mutedUntil([night, morning], at('2026-07-01T12:00:00Z'))).toBeNull();
  });

  test.each([
    ['the clock leaps forward', '2026-03-28T23:00:00Z', '2026-03-29T05:00:00.000Z'],
    ['the clock is set back', '2026-10-24T23:00:00Z', '2026-10-25T06:00:00.000Z'],
  ])('a mute ends at its time on the wall in the night in which %s', (_night, time, end) => {
    expect(iso(mutedUntil([night, morning], at(time)))).toBe(end);
  });

  test('a mute of a few minutes ends on its minute', () => {
    const brief = { times: [{ from: 12 * 60 + 3, to: 12 * 60 + 7 }], location: 'UTC' };
    expect(iso(mutedUntil([brief], at('2026-07-01T12:04:30Z')))).toBe('2026-07-01T12:07:00.000Z');
  });

  test.each([
    ['12:04:30', '12:05'],
    ['08:10:00', '12:05'],
    ['07:59:59', '08:05'],
  ])('a mute ends at a gap of a few minutes: at %s until %s', (time, end) => {
    const mutes = [
      { times: [{ from: 0, to: 8 * 60 + 5 }], location: 'UTC' },
      { times: [{ from: 8 * 60 + 10, to: 12 * 60 + 5 }], location: 'UTC' },
      { times: [{ from: 12 * 60 + 6, to: 24 * 60 }], location: 'UTC' },
    ];
    expect(iso(mutedUntil(mutes, at(`2026-07-01T${time}Z`)))).toBe(`2026-07-01T${end}:00.000Z`);
  });

  test('a mute ends at the first minute that it does not contain', () => {
    const minutes = fc.integer({ min: 0, max: 1_440 });
    const interval = fc
      .tuple(minutes, minutes)
      .filter(([from, to]) => from < to)
      .map(([from, to]) => ({ times: [{ from, to }], location: LISBON }));
    const time = fc.integer({ min: at('2026-03-28T00:00:00Z'), max: at('2026-03-30T00:00:00Z') });
    fc.assert(
      fc.property(fc.array(interval, { minLength: 1, maxLength: 4 }), time, (mutes, begin) => {
        const isMuted = (ms: number) => mutes.some((mute) => contains(mute, ms));
        const end = mutedUntil(mutes, begin);
        if (end === null) return expect(isMuted(begin)).toBe(false);
        let minute = Math.floor(begin / 60_000) * 60_000;
        while (minute < begin + 8 * DAY && isMuted(Math.max(minute, begin))) minute += 60_000;
        return expect(end - minute).toBeLessThan(minute < begin + 8 * DAY ? 1 : 15 * 60_000);
      }),
      { numRuns: 30 },
    );
  });

  test('only time zones of the IANA database are locations', () => {
    expect(['Europe/Lisbon', 'UTC', 'Lisbon', ''].map(isLocation)).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});

describe('digests', () => {
  const eight = { minute: 8 * 60, location: LISBON };

  test.each([
    ['2026-07-01T06:59:59Z', '2026-07-01T07:00:00.000Z'],
    ['2026-07-01T07:00:00Z', '2026-07-02T07:00:00.000Z'],
    ['2026-03-28T12:00:00Z', '2026-03-29T07:00:00.000Z'],
    ['2026-10-24T12:00:00Z', '2026-10-25T08:00:00.000Z'],
  ])('the digest after %s is due at %s', (after, due) => {
    expect(iso(nextDigest(eight, at(after)))).toBe(due);
  });

  test('a digest at a minute that the clock leaps over is due after the leap', () => {
    const half = { minute: 90, location: LISBON };
    expect(iso(nextDigest(half, at('2026-03-28T12:00:00Z')))).toBe('2026-03-29T01:00:00.000Z');
  });

  test('a digest at a minute that comes twice is due the first time', () => {
    const half = { minute: 90, location: LISBON };
    const first = nextDigest(half, at('2026-10-24T12:00:00Z'));
    expect(iso(first)).toBe('2026-10-25T00:30:00.000Z');
    expect(iso(nextDigest(half, first))).toBe('2026-10-26T01:30:00.000Z');
  });

  test('each day of a year has one digest, in any time zone', () => {
    const zone = fc.constantFrom(LISBON, 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata');
    fc.assert(
      fc.property(zone, fc.integer({ min: 0, max: 1_439 }), (location, minute) => {
        const begin = at('2026-01-01T12:00:00Z');
        const format = new Intl.DateTimeFormat('en-CA', { timeZone: location });
        const days = new Set<string>();
        let [count, due] = [0, begin];
        while ((due = nextDigest({ minute, location }, due)) <= begin + 365 * DAY) {
          days.add(format.format(due));
          count += 1;
        }
        expect(days.size).toBe(count);
        expect(count).toBe(365);
      }),
      // There the year begins at the minute of a digest.
      { numRuns: 5, examples: [['Australia/Lord_Howe', 23 * 60]] },
    );
  });
});
