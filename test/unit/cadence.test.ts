import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { intervalsByAge, nextLook, type SeenWatch } from '../../src/core/cadence.ts';
import {
  emptyStatistics,
  learn,
  type Statistics,
  type StatisticsLookup,
} from '../../src/core/hazard.ts';
import { dearnessAfter, longestInterval, NO_LOAD } from '../../src/core/load.ts';
import type { ObserveContext } from '../../src/core/look.ts';
import type { RunSnapshot } from '../../src/core/run.ts';
import { stagesAfter } from '../../src/core/stage.ts';
import { PROFILES, type Watch } from '../../src/core/watch.ts';
import { lookingAt, newWatch, NOON, POLICY, snapshot, webhookTo } from '../support/builders.ts';

/** A watch whose run began to work at noon and was seen all the while. */
function seen(changes: Partial<Watch> = {}, run: Partial<RunSnapshot> = {}): SeenWatch {
  const now = snapshot(run);
  return { ...newWatch(changes), run: now, stages: stagesAfter([], null, now, NOON) };
}

/** The interval, in seconds, of a watch of which nothing was seen for so long. */
function intervalAfter(ageS: number, watch = seen(), context: Partial<ObserveContext> = {}) {
  const now = NOON + ageS * 1_000;
  return nextLook(watch, false, { ...lookingAt(now), ...context }).intervalMs / 1_000;
}

/** What 200 runs tell whose news came at the same age each. */
function newsAfter(ageS: number): Statistics {
  const lesson = { source: '', workflowId: '', state: null, fromS: 0, toS: ageS, ended: true };
  return Array.from({ length: 200 }, () => lesson).reduce(learn, emptyStatistics());
}

const learned = (ageS: number): Partial<ObserveContext> => ({ statistics: () => newsAfter(ageS) });

describe('the next look at a run', () => {
  test('of which nothing was learned lies further away the longer it lasts, up to the maximum', () => {
    const intervals = [1, 10, 60, 600, 3_600, 86_400].map((age) => intervalAfter(age));
    expect(intervals).toEqual(intervals.toSorted((a, b) => a - b));
    expect(intervals[0]).toBe(1);
    expect(intervals.at(-1)).toBe(60);
  });

  test('lies close together around the age at which others had news, and far apart before', () => {
    const context = learned(600);
    expect(intervalAfter(300, seen(), context)).toBe(60);
    expect(intervalAfter(590, seen(), context)).toBeLessThan(15);
  });

  test('does not jump over the age at which others had news', () => {
    for (const age of [400, 450, 480, 495]) {
      const wide = { ...learned(600), policy: { ...POLICY, maxIntervalMs: 1e9 } };
      expect(age + intervalAfter(age, seen(), wide)).toBeLessThan(600);
    }
  });

  test('lies within as long again as the run has lasted, whatever was learned; half for urgent', () => {
    const context = { ...learned(7_200), policy: { ...POLICY, minIntervalMs: 1 } };
    expect(intervalAfter(8, seen(), context)).toBe(8);
    expect(intervalAfter(8, seen({ profile: 'urgent' }), context)).toBe(4);
  });

  test('comes sooner the more urgent the watch is', () => {
    const [urgent = 0, normal = 0, frugal = 0] = PROFILES.map((profile) =>
      intervalAfter(900, seen({ profile })),
    );
    expect(urgent).toBeLessThan(normal);
    expect(normal).toBeLessThan(frugal);
  });

  test('comes later where requests are dear', () => {
    const load = { ...NO_LOAD, dearness: 4 };
    expect(intervalAfter(100, seen(), { load })).toBeCloseTo(2 * intervalAfter(100), 0);
  });

  test('at one that waits for a human may lie five times as far away', () => {
    const watch = seen({}, { status: 'awaiting_human_feedback' });
    expect(intervalAfter(864_000, watch)).toBe(300);
  });

  test('is foretold by age as it is chosen', () => {
    const states = new Map([
      ['news/running/0', newsAfter(600)],
      [null, newsAfter(500)],
    ]);
    const statistics: StatisticsLookup = (_source, _workflow, state) => states.get(state);
    const intervalAt = intervalsByAge(states, { ...POLICY, profile: 'normal' });
    for (const age of [0.5, 30, 400, 590, 700]) {
      expect(intervalAt(age)).toBeCloseTo(intervalAfter(age, seen(), { statistics }), 6);
    }
  });

  test('never lies beyond what the watch accepts, jitter included', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1_000, max: 90_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer({ min: 0, max: 1e6 }),
        (maxDelayMs, chance, ageS) => {
          const context = { ...lookingAt(NOON + ageS * 1_000), random: () => chance };
          const { delayMs } = nextLook(seen({ maxDelayMs }), false, context);
          expect(delayMs).toBeLessThanOrEqual(maxDelayMs);
          expect(delayMs).toBeGreaterThanOrEqual(900);
        },
      ),
    );
  });
});

describe('a watch whose progress somebody follows', () => {
  const webhook = (events: string[]) => [webhookTo('https://example.com', events)];

  test('is looked at again soon after a change, and less and less often until the next', () => {
    const intervals = [0];
    for (const changed of [true, ...Array.from({ length: 12 }, () => false)]) {
      const cadence = { intervalMs: intervals.at(-1) ?? 0, failures: 0 };
      const watch = seen({ subscriptions: webhook(['run.progress']), cadence });
      intervals.push(nextLook(watch, changed, lookingAt(NOON + 1e9)).intervalMs);
    }
    expect(intervals.slice(1, 4)).toEqual([1_000, 1_500, 2_250]);
    expect(intervals.at(-1)).toBe(60_000);
  });

  test.each([
    ['run.progress', 'running', true],
    ['run.started', 'queued', true],
    ['run.started', 'running', false],
    ['run.resumed', 'awaiting_human_feedback', true],
    ['run.*', 'running', true],
    ['*', 'queued', true],
    ['run.failed', 'running', false],
  ])('is one that hears of %s while the run is %s: %s', (pattern, status, isFollowed) => {
    const watch = seen({ subscriptions: webhook([pattern]) }, { status });
    const { intervalMs } = nextLook(watch, true, lookingAt(NOON + 1e9));
    expect(intervalMs === 1_000).toBe(isFollowed);
  });

  test('can also be one that tells an endpoint', () => {
    const watch = seen({ subscriptions: [{ kind: 'endpoint', endpoint: 'ops' }] });
    const wants = (name: string, type: string) => name === 'ops' && type === 'run.progress';
    const { intervalMs } = nextLook(watch, true, { ...lookingAt(NOON + 1e9), wants });
    expect(intervalMs).toBe(1_000);
  });
});

describe('the load of a source', () => {
  test('widens the longest interval to five rounds of all its watches', () => {
    const load = { ...NO_LOAD, roundMs: 100_000 };
    expect(longestInterval(60_000, load)).toBe(500_000);
    expect(longestInterval(60_000, { ...load, roundMs: 10_000 })).toBe(60_000);
    expect(longestInterval(60_000, NO_LOAD)).toBe(60_000);
  });

  test('but not that of a watch with a limit of its own', () => {
    const load = { ...NO_LOAD, roundMs: 1_000_000 };
    expect(intervalAfter(1e6, seen({ maxDelayMs: 30_000 }), { load })).toBe(30);
    expect(intervalAfter(1e6, seen(), { load })).toBeGreaterThan(60);
  });

  test('makes requests dearer with each poll that is late, and cheaper again in time', () => {
    const late = Array.from({ length: 50 }).reduce<number>(
      (was) => dearnessAfter(was, 1_001, 100),
      1,
    );
    expect(late).toBeGreaterThan(2.5);
    expect(late).toBeLessThan(3);
    const later = Array.from({ length: 500 }).reduce<number>(
      (was) => dearnessAfter(was, 1_000, 100),
      late,
    );
    expect(later).toBe(1);
    expect(
      Array.from({ length: 9_999 }).reduce<number>((was) => dearnessAfter(was, 9e9, 100), 1),
    ).toBe(1_000);
    // However generous a source is: processes are busy now and then.
    expect(dearnessAfter(1, 900, 0.1)).toBe(1);
  });
});
