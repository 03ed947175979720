import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { OwnClock } from '../../src/core/clock.ts';
import { NOON } from '../support/builders.ts';

/** A process on a host with a wrong clock; the store's clock is right. */
function onHost({ aheadMs = 0 } = {}) {
  let passed = 0;
  let ahead = aheadMs;
  const right = () => NOON + passed;
  const clock = new OwnClock(
    () => right() + ahead,
    () => 7 + passed,
  );
  return {
    clock,
    right,
    pass: (ms: number) => (passed += ms),
    set: (ms: number) => (ahead += ms),
    /** Reads the store, which answers in the middle of the time by default. */
    read(takesMs = 0, answeredAfter = takesMs / 2, offsetMs = 0) {
      const askedAt = 7 + passed;
      passed += answeredAfter;
      const now = Math.floor(right()) + offsetMs;
      passed += takesMs - answeredAfter;
      clock.adopt({ now, offsetMs, askedAt, answeredAt: 7 + passed });
    },
  };
}

describe('the clock of a process', () => {
  test("a process uses its own clock before the first reading, and the store's after it", () => {
    const host = onHost({ aheadMs: 300_000 });
    expect(host.clock.now()).toBe(NOON + 300_000);
    host.read();
    expect(host.clock.now()).toBe(NOON);
    expect(host.clock.skewMs()).toBe(300_000);
  });

  test.each([300_000, -300_000])(
    "a process's clock runs on when the host's clock is set by %s ms",
    (stepMs) => {
      const host = onHost();
      host.read();
      host.pass(1_000);
      expect(host.clock.hasJumped()).toBe(false);
      host.set(stepMs);
      expect(host.clock.now()).toBe(NOON + 1_000);
      expect(host.clock.hasJumped()).toBe(true);
      host.read();
      expect(host.clock.hasJumped()).toBe(false);
      expect(host.clock.skewMs()).toBe(stepMs);
    },
  );

  test.each<[string, { aheadMs?: number; offsetMs?: number }]>([
    ['the store stood still and its clock is behind', { offsetMs: -300_000 }],
    ['this host is set wrong', { aheadMs: 300_000 }],
    [
      'a step forward of the store was taken out, and this host was set with it',
      { aheadMs: -1, offsetMs: -300_000 },
    ],
  ])('the time of day is right where %s', (_case, { aheadMs = 0, offsetMs = 0 }) => {
    const host = onHost({ aheadMs });
    host.read(0, 0, offsetMs);
    expect(Math.abs(host.clock.timeOfDay() - host.right())).toBeLessThanOrEqual(1);
  });

  test("a process's clock is as exact as its best recent reading, however long others take", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: 20_000 }), fc.double({ min: 0, max: 1, noNaN: true }))),
        (readings) => {
          const host = onHost({ aheadMs: 86_400_000 });
          host.read(4);
          for (const [takesMs, share] of readings) {
            host.pass(5_000);
            host.read(takesMs, takesMs * share);
            expect(Math.abs(host.clock.now() - host.right())).toBeLessThanOrEqual(5);
          }
        },
      ),
    );
  });
});
