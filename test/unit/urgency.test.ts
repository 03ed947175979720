import { describe, expect, test } from '@jest/globals';
import { graceMs, holdMs, roundMs, startPace } from '../../src/core/budget.ts';
import { pollDeadline } from '../../src/core/urgency.ts';
import type { Watch } from '../../src/core/watch.ts';

const NOW = Date.UTC(2026, 0, 1, 12);
const ROUND_MS = 20_000;

/** The deadline of a watch that wants to be polled after a second, in seconds from now. */
function deadline(changes: Partial<Watch> = {}, round = ROUND_MS): number {
  const watch = {
    nextPollAt: NOW + 1_000,
    lastPolledAt: NOW,
    profile: 'normal' as const,
    maxDelayMs: null,
    ...changes,
  };
  return (pollDeadline(watch, { now: NOW, roundMs: round }) - NOW) / 1_000;
}

describe('the deadline of a poll', () => {
  test('comes the sooner the sooner the watch wants to be polled', () => {
    expect(deadline({ profile: 'urgent' })).toBe(2);
    expect(deadline({ profile: 'urgent', nextPollAt: NOW + 60_000 })).toBe(120);
  });

  test('lets the urgent go first by a round, and the frugal go last by two', () => {
    expect([deadline({ profile: 'urgent' }), deadline(), deadline({ profile: 'frugal' })]).toEqual([
      2, 22, 42,
    ]);
  });

  test('comes before that of a poll that repeats another where nothing was seen yet', () => {
    const unseen = { lastPolledAt: null, nextPollAt: NOW };
    expect(deadline(unseen)).toBe(20);
    expect(deadline({ ...unseen, profile: 'urgent' })).toBe(0);
  });

  test('is never later after its time than the watch accepts', () => {
    expect(deadline({ maxDelayMs: 3_000 })).toBe(4);
  });

  test('always comes, so that whoever waits goes before the urgent in the end', () => {
    const waiting = deadline({ profile: 'frugal' });
    const later = NOW + 60_000;
    expect(deadline({ profile: 'urgent', nextPollAt: later, lastPolledAt: later })).toBeGreaterThan(
      waiting,
    );
  });
});

describe('a rate limit', () => {
  const limit = { requests: 10, perMs: 1_000 };

  test('counts a request that was never answered for half of its time more, a second at most', () => {
    expect(graceMs(limit)).toBe(500);
    expect(graceMs({ requests: 600, perMs: 60_000 })).toBe(1_000);
    expect(holdMs(limit)).toBe(1_501);
  });

  test('lets polls start somewhat faster than in the long run', () => {
    expect(startPace(limit)).toEqual({ max: 1, duration: 20 });
    expect(startPace({ requests: 1_000, perMs: 1_000 })).toEqual({ max: 80, duration: 20 });
  });

  test('gives every watch its turn once in a round', () => {
    expect(roundMs(200, limit)).toBe(20_000);
    expect(roundMs(0, limit)).toBe(0);
  });
});
