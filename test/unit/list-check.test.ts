import { describe, expect, test } from '@jest/globals';
import { memberToCheck } from '../../src/core/feed/list-check.ts';
import type { ListMember } from '../../src/core/feed/list-member.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';

const NOW = NOON + 3_600_000;

/** A run polled this many seconds ago. */
const readAgo = (seconds: number): ListMember => ({
  watch: { ...newWatch({ lastPolledAt: NOW - seconds * 1_000 }), run: snapshot() },
  version: 1,
  createdAt: NOON,
  intervalMs: 1_000,
  followsProgress: false,
  latestAt: Infinity,
});

const check = (unchanged: ListMember[], checkedAgoS: number, checkEveryMs = 100) =>
  memberToCheck(unchanged, { checkedAt: NOW - checkedAgoS * 1_000, checkEveryMs, now: NOW });

describe('check of a list by a single poll', () => {
  test('a list is checked by the run with the oldest poll', () => {
    const members = [readAgo(10), readAgo(90), readAgo(30)];
    expect(check(members, 60)).toBe(members[1]);
  });

  test('a list is checked at most every five seconds, and at most at every fourth sweep', () => {
    const members = [readAgo(90)];
    expect(check(members, 4.9)).toBeNull();
    expect(check(members, 5)).toBe(members[0]);
    expect(check(members, 39, 10_000)).toBeNull();
    expect(check(members, 40, 10_000)).toBe(members[0]);
  });

  test('a list is checked only where no single poll just did so, and a run exists to poll', () => {
    expect(check([readAgo(4), readAgo(3)], 60)).toBeNull();
    expect(check([], 60)).toBeNull();
  });
});
