import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  afterFull,
  afterLate,
  FIRST_WINDOW,
  windowSize,
  type RequestWindow,
} from '../../src/core/source/window.ts';

const IDLE = 0.2;
const MOST = 2_048;

/** The window after so many claims, each of which has filled it. */
function filled(window: RequestWindow, claims: number, busyShare = IDLE): RequestWindow {
  let after = window;
  for (let claim = 0; claim < claims; claim += 1) {
    after = afterFull(after, { claimed: Math.floor(after.size), busyShare, most: MOST });
  }
  return after;
}

describe('window of requests under way', () => {
  test('a window that is too small grows to hundreds within a few rounds', () => {
    expect(filled(FIRST_WINDOW, 15).size).toBeGreaterThan(500);
  });

  test('a window that requests to a slow source fill grows with each claim, however few it gives', () => {
    let window = FIRST_WINDOW;
    for (let claim = 0; claim < 500; claim += 1) {
      window = afterFull(window, { claimed: 1, busyShare: IDLE, most: MOST });
    }
    expect(window.size).toBeGreaterThan(500);
  });

  test('the window of a process that is busy all the time does not grow', () => {
    expect(filled(FIRST_WINDOW, 15, 0.95)).toEqual(FIRST_WINDOW);
  });

  test('of requests that come too late only those claimed after the last step make the window smaller', () => {
    const once = afterLate(filled(FIRST_WINDOW, 10), 5_000, 10_000);
    expect(once.size).toBeLessThan(filled(FIRST_WINDOW, 10).size);
    expect(afterLate(once, 9_999, 11_000)).toEqual(once);
    expect(afterLate(once, 10_001, 11_000).size).toBeLessThan(once.size);
  });

  test('a window is at most what settings and rate limit allow, and one at the least', () => {
    expect(windowSize(FIRST_WINDOW, 3)).toBe(3);
    expect(windowSize({ ...FIRST_WINDOW, size: 0.5 }, 3)).toBe(1);
    expect(windowSize(FIRST_WINDOW, 1_000)).toBe(64);
  });

  test('whatever comes, a window is never too small to recover from, and reaches any size again', () => {
    const step = fc.record({
      isLate: fc.boolean(),
      ms: fc.integer({ min: 0, max: 5_000 }),
      claimed: fc.integer({ min: 1, max: 1_024 }),
      busyShare: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        let [now, window]: [number, RequestWindow] = [0, FIRST_WINDOW];
        for (const { isLate, ms, claimed, busyShare } of steps) {
          const claimedAt = now;
          now += ms;
          const before = window.size;
          window = isLate
            ? afterLate(window, claimedAt, now)
            : afterFull(window, { claimed, busyShare, most: MOST });
          expect(window.size).toBeGreaterThanOrEqual(32);
          expect(window.size).toBeLessThanOrEqual(MOST);
          if (isLate) expect(window.size).toBeLessThanOrEqual(before);
          else expect(window.size).toBeGreaterThanOrEqual(before);
        }
        expect(filled(window, 25).size).toBeGreaterThan(1_024);
      }),
    );
  });
});
