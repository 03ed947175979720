import { describe, expect, test } from '@jest/globals';
import { emptyStatistics, learn, nothingLearned } from '../../src/core/cadence/hazard.ts';
import { listMember, type MemberContext } from '../../src/core/feed/member.ts';
import { NO_LOAD } from '../../src/core/cadence/load.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { newWatch, NOON, POLICY, snapshot } from '../support/builders.ts';

const HOUR_MS = 3_600_000;

const context: MemberContext = {
  now: NOON,
  policy: { ...POLICY, remindAfterMs: [HOUR_MS] },
  statistics: nothingLearned,
  wants: (endpoint) => endpoint === 'all',
  load: NO_LOAD,
  random: () => 0.5,
};

const member = (changes: Partial<Watch> = {}, endpoint = 'ops', now = NOON) => {
  const watch = newWatch({ run: snapshot(), lastPolledAt: NOON, ...changes }, [
    { kind: 'endpoint', endpoint },
  ]);
  return listMember(watch, { ...context, now });
};

describe('a watch on a list', () => {
  test('a watch of a missing or unreadable run is left to single polls', () => {
    expect(member()).toMatchObject({ createdAt: NOON });
    expect(member({ run: null })).toBeNull();
    expect(
      member({ missing: { count: 1, code: 'not_found', message: '404', since: NOON } }),
    ).toBeNull();
    expect(
      member({ trouble: { kind: 'unavailable', message: 'status 500', since: NOON } }),
    ).toBeNull();
  });

  test('a list member has the interval that single polls would have by now', () => {
    const followed = { cadence: { intervalMs: 2_000, failures: 0 } };
    expect(member(followed, 'all')?.intervalMs).toBe(3_000);
    expect(member(followed, 'all', NOON + 20_000)?.intervalMs).toBe(30_000);
    expect(member(followed, 'all', NOON + 3_600_000)?.intervalMs).toBe(POLICY.maxIntervalMs);
  });

  test('a list member is polled for its progress where a subscription wants it, or after a stall', () => {
    expect(member()?.followsProgress).toBe(false);
    expect(member({}, 'all')?.followsProgress).toBe(true);
    expect(member({ dwell: { since: NOON, stalled: true } })?.followsProgress).toBe(true);
  });

  test('a list member is polled in time for a reminder and for a stall', () => {
    expect(member()?.latestAt).toBe(Infinity);
    const waiting = { since: NOON, reminders: 0, reminderId: null };
    expect(member({ waiting })?.latestAt).toBe(NOON + HOUR_MS);
    const dwell = { since: NOON, stalled: false };
    expect(member({ dwell })?.latestAt).toBe(NOON + POLICY.stallAfterMs);
    expect(member({ dwell: { ...dwell, stalled: true } })?.latestAt).toBe(Infinity);
  });

  test('a list member is polled when it outlasts nearly all others, if that is later', () => {
    const anHour = { fromS: 0, toS: 3_600, ended: true };
    let learned = emptyStatistics();
    for (let samples = 0; samples < 50; samples += 1) learned = learn(learned, anHour);
    const watch = newWatch({ run: snapshot(), dwell: { since: NOON, stalled: false } });
    const latestAt = listMember(watch, { ...context, statistics: () => learned })?.latestAt;
    expect(latestAt).toBeGreaterThan(NOON + 1.5 * HOUR_MS * 0.75);
    expect(latestAt).toBeLessThan(NOON + 1.5 * HOUR_MS * 1.3);
  });
});
