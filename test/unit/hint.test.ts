import { describe, expect, test } from '@jest/globals';
import { isNews, streamRank, withBackstop } from '../../src/core/hint.ts';
import { newWatch, NOON } from '../support/builders.ts';

describe('a hint', () => {
  test('is news where it tells of a status that is not known', () => {
    expect(isNews({ kind: 'state', status: 'completed' }, 'running')).toBe(true);
    expect(isNews({ kind: 'content', status: 'completed' }, 'running')).toBe(true);
    expect(isNews({ kind: 'state', status: 'running' }, 'running')).toBe(false);
  });

  test('without a status is news where it tells of a state', () => {
    expect(isNews({ kind: 'state', status: null }, 'running')).toBe(true);
    expect(isNews({ kind: 'content', status: null }, 'running')).toBe(false);
  });
});

describe('a watch whose run is streamed', () => {
  const watch = newWatch({ nextPollAt: NOON + 5_000, timeoutAt: NOON + 3_600_000 });

  test('is polled again after two minutes', () => {
    expect(withBackstop(watch, NOON).nextPollAt).toBe(NOON + 120_000);
  });

  test('is polled no later than it accepts, or times out, and not earlier than it would be', () => {
    expect(withBackstop({ ...watch, maxDelayMs: 9_000 }, NOON).nextPollAt).toBe(NOON + 9_000);
    expect(withBackstop({ ...watch, timeoutAt: NOON + 7_000 }, NOON).nextPollAt).toBe(NOON + 7_000);
    const rarely = { ...watch, nextPollAt: NOON + 300_000 };
    expect(withBackstop(rarely, NOON).nextPollAt).toBe(NOON + 300_000);
    expect(withBackstop({ ...watch, nextPollAt: null }, NOON).nextPollAt).toBeNull();
  });
});

test('the urgent are streamed before the others, and the oldest first', () => {
  const watches = [
    { profile: 'frugal' as const, registeredAt: NOON - 2 },
    { profile: 'normal' as const, registeredAt: NOON - 1 },
    { profile: 'normal' as const, registeredAt: NOON - 3 },
    { profile: 'urgent' as const, registeredAt: NOON },
  ];
  const order = watches.toSorted((a, b) => streamRank(a) - streamRank(b));
  expect(order).toEqual([watches[3], watches[2], watches[1], watches[0]]);
});
