import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  isFresh,
  newDelivery,
  postponed,
  withheld,
  type Attempt,
} from '../../src/core/delivery/delivery.ts';
import { NAME_WAIT_MS, nextNameCheck } from '../../src/core/delivery/name-wait.ts';
import { newWatch, NOON } from '../support/builders.ts';

const deliveryAt = (createdAt: number) =>
  newDelivery(newWatch(), { id: `evt_${createdAt}`, type: 'run.failed' }, 'people', createdAt);

const failed: Attempt = { at: NOON, status: 500, error: null, durationMs: 5, response: null };

test('a message that lacks a name is checked three times at the most, and never later than 2 s after its first event', () => {
  const ages = fc.array(fc.integer({ min: 0, max: 3_000 }), { minLength: 1, maxLength: 8 });
  const delays = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 10, maxLength: 10 });
  fc.assert(
    fc.property(ages, delays, (all, late) => {
      const oldest = NOON - Math.max(...all);
      let deliveries = all.map((age) => deliveryAt(NOON - age));
      let now = NOON;
      let checks = 0;
      for (;;) {
        const at = nextNameCheck(deliveries, now);
        if (at === null) break;
        expect(at).toBeGreaterThan(now);
        expect(at).toBeLessThanOrEqual(oldest + NAME_WAIT_MS);
        deliveries = deliveries.map((one) => postponed(one, at));
        // It has waited for nothing but a name.
        for (const one of deliveries) expect(isFresh(one, at)).toBe(true);
        now = at + (late[checks] ?? 0);
        checks += 1;
      }
      expect(checks).toBeLessThanOrEqual(3);
      expect(now).toBeGreaterThanOrEqual(oldest + NAME_WAIT_MS);
    }),
  );
});

test('a message does not wait for a name where it was attempted, a user wants it, or its event is to come', () => {
  const young = deliveryAt(NOON);
  expect(nextNameCheck([young, deliveryAt(NOON - 100)], NOON)).toBe(NOON + 200);
  const others = [
    { ...young, last: failed },
    { ...young, requested: true },
    { ...young, urgent: true },
    deliveryAt(NOON + 1),
  ];
  for (const other of others) expect(nextNameCheck([young, other], NOON)).toBeNull();
});

test('a delivery that was parked, or postponed for longer than for a name, is not fresh', () => {
  const delivery = deliveryAt(NOON);
  const now = NOON + NAME_WAIT_MS + 1;
  expect(isFresh(delivery, now)).toBe(true);
  expect(isFresh(postponed(delivery, NOON + NAME_WAIT_MS), now)).toBe(true);
  expect(isFresh(postponed(delivery, now), now)).toBe(false);
  expect(isFresh(withheld(delivery, 'parked'), now)).toBe(false);
});
