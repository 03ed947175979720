import { describe, expect, test } from '@jest/globals';
import type { ListFindings } from '../../src/core/feed/list-findings.ts';
import type { ListMember } from '../../src/core/feed/list-member.ts';
import { leftAloneUntil, scheduleAfter } from '../../src/core/feed/list-schedule.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';

function member(intervalMs: number): ListMember {
  const watch = { ...newWatch({ maxDelayMs: intervalMs }), run: snapshot() };
  const rest = { version: 1, createdAt: NOON, followsProgress: false, latestAt: Infinity };
  return { watch, intervalMs, ...rest };
}

describe('a list', () => {
  const left = (since: number, pays: boolean, ...intervals: number[]) =>
    leftAloneUntil(
      { since },
      { members: intervals.map(member), plan: { pays, intervalMs: 1_000 }, now: NOON },
    );

  test('a list is swept where that pays, and avoided for as long as it was given up', () => {
    expect(left(0, true, 1_000)).toBeNull();
    expect(left(NOON + 30_000, true, 1_000)).toBe(NOON + 30_000);
  });

  test("a list that does not pay is reconsidered at its runs' pace, within bounds", () => {
    expect(left(0, false, 1_000, 60_000)).toBe(NOON + 5_000);
    expect(left(0, false, 7_000, 60_000)).toBe(NOON + 7_000);
    expect(left(0, false, 60_000)).toBe(NOON + 10_000);
  });
});

describe('after a sweep of a list', () => {
  const after = (findings: Partial<ListFindings>, pages = 1) =>
    scheduleAfter(
      { changed: [], claims: [], unchanged: [], missing: [], ...findings },
      { pages, minIntervalMs: 1, checkedAt: NOON - 1_000, now: NOON, random: () => 1 },
    );

  test('a sweep defers polls of unchanged runs, and leaves missing runs to single polls', () => {
    const [unchanged, missing] = [[member(4_000), member(4_000)], [member(4_000)]];
    const { putOff, recalled, toCheck, nextMs } = after({
      changed: [member(4_000)],
      unchanged,
      missing,
    });
    expect([putOff, recalled, toCheck]).toEqual([unchanged, missing, null]);
    expect(nextMs).toBe(Math.round((4_000 / Math.sqrt(3)) * 1.1));
  });

  test('a sweep that took too many pages leaves all runs to single polls', () => {
    const [unchanged, missing] = [[member(4_000), member(4_000)], [member(4_000)]];
    const { putOff, recalled, nextMs } = after({ unchanged, missing }, 10);
    expect([putOff, recalled]).toEqual([[], [...unchanged, ...missing]]);
    expect(nextMs).toBe(10_000);
  });
});
