import fc from 'fast-check';
import { describe, expect, test } from '@jest/globals';
import { playPlaces } from '../../bench/places.ts';
import {
  afterAttemptAt,
  FIRST_SLOTS,
  NEW_SLOTS,
  type SlotResult,
  type Slots,
} from '../../src/core/delivery/slots.ts';
import { newDelivery, type AttemptOutcome } from '../../src/core/delivery/delivery.ts';
import { PoolSlots } from '../../src/deliver/slots.ts';
import { NOON } from '../support/builders.ts';

const MOST = 128;

/** An attempt that began after all before it. */
function result(changes: Partial<SlotResult> = {}): SlotResult {
  return {
    kind: 'delivered',
    beganAt: 1_000,
    durationMs: 100,
    hadWaiting: true,
    sharer: null,
    ...changes,
  };
}

const after = (slots: Slots, ...results: Partial<SlotResult>[]) =>
  results.reduce((now, one) => afterAttemptAt(now, result(one), MOST), slots);

describe('slots of a receiver', () => {
  test.each(playPlaces(500, [4, 8, 10, 128]).map((cell) => [cell.model, cell] as const))(
    'slots drain a burst at %s nearly as fast as the best fixed number, and no slower than four',
    (_model, { ofBest, ofFour, ours, fourTimeouts }) => {
      expect(ofBest).toBeLessThanOrEqual(2.5);
      expect(ofFour).toBeLessThanOrEqual(1.05);
      expect(ours.timeouts).toBeLessThanOrEqual(fourTimeouts);
    },
  );

  test('slots grow by one for each answer while deliveries wait, up to the maximum', () => {
    expect(after(NEW_SLOTS, {}, {}, { hadWaiting: false }).limit).toBe(FIRST_SLOTS + 2);
    expect(after({ ...NEW_SLOTS, limit: MOST }, {}).limit).toBe(MOST);
  });

  test.each(['overloaded', 'timeout'] as const)('slots shrink once for a round of %s', (kind) => {
    const many = { ...NEW_SLOTS, limit: 40 };
    const once = after(many, { kind });
    expect(once.limit).toBeLessThan(40);
    expect(after(once, { kind }, { kind }).limit).toBe(once.limit);
    expect(after(once, { kind, beganAt: 2_000 }).limit).toBeLessThan(once.limit);
  });

  test('slots remain unchanged after errors of another kind', () => {
    expect(after(NEW_SLOTS, { kind: 'failed' })).toEqual(NEW_SLOTS);
  });

  test('slots that webhooks share shrink only when two of them show overload', () => {
    const many = { ...NEW_SLOTS, limit: 40 };
    const alone = after(many, { kind: 'timeout', sharer: 'a' }, { kind: 'timeout', sharer: 'a' });
    expect(alone.limit).toBe(40);
    expect(after(alone, { kind: 'timeout', sharer: 'b' }).limit).toBe(20);
  });

  test('slots are never fewer than one nor more than the maximum, whatever the results', () => {
    const some = fc.record({
      kind: fc.constantFrom('delivered' as const, 'overloaded' as const, 'timeout' as const),
      beganAt: fc.nat(1e6),
      durationMs: fc.nat(20_000),
      hadWaiting: fc.boolean(),
      sharer: fc.constantFrom(null, 'a', 'b'),
    });
    fc.assert(
      fc.property(fc.array(some, { maxLength: 300 }), (results) => {
        let slots = NEW_SLOTS;
        for (const one of results) {
          slots = afterAttemptAt(slots, one, MOST);
          expect(slots.limit).toBeGreaterThanOrEqual(1);
          expect(slots.limit).toBeLessThanOrEqual(MOST);
        }
      }),
    );
  });
});

const delivery = newDelivery(
  { source: 'default', runId: 'r' },
  { id: 'evt_1', type: 'run.failed' },
  'ops',
  NOON,
);

function outcome(kind: 'delivered' | 'refusedConnection', at: number): AttemptOutcome {
  const attempt = { at, status: null, error: null, durationMs: 50, response: null };
  if (kind === 'delivered') return { kind, attempt: { ...attempt, status: 200 } };
  return { kind: 'failed', attempt: { ...attempt, error: { code: 'refused', message: '' } } };
}

/** A process, and the text in which the store keeps the slots. */
function processOn(store: { text: string }, name: string) {
  const slots = new PoolSlots(name);
  return (kind: 'delivered' | 'refusedConnection', at: number) => {
    // The answer to a claim, and then its result.
    slots.adopt('ops', store.text);
    const ended = { delivery, outcome: outcome(kind, at), hadWaiting: true, most: 128, now: at };
    store.text = slots.afterAttempt(ended).slots ?? store.text;
  };
}

const limitIn = ({ text }: { text: string }) => (JSON.parse(text) as { limit: number }).limit;

test('slots that shrank to one grow again once the receiver is back', () => {
  const store = { text: '' };
  const end = processOn(store, 'a');
  for (let failure = 0; failure < 10; failure += 1)
    end('refusedConnection', NOON + failure * 1_000);
  expect(limitIn(store)).toBe(1);
  for (let answer = 0; answer < 60; answer += 1) end('delivered', NOON + 60_000);
  expect(limitIn(store)).toBeGreaterThan(16);
});

test('processes share how far slots have grown, and that they shrank', () => {
  const store = { text: '' };
  const [one, other] = [processOn(store, 'a'), processOn(store, 'b')];
  for (let answer = 0; answer < 20; answer += 1) one('delivered', NOON);
  other('delivered', NOON);
  expect(limitIn(store)).toBeGreaterThan(20);
  other('refusedConnection', NOON + 1_000);
  const less = limitIn(store);
  one('delivered', NOON + 1_001);
  expect(limitIn(store)).toBeLessThanOrEqual(less + 1);
});
