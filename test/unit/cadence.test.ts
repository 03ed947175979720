import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { nextPoll, type SeenWatch } from '../../src/core/cadence/cadence.ts';
import { emptyStatistics, learn, type Statistics } from '../../src/core/cadence/hazard.ts';
import {
  costMultiplierAfter,
  loadByPlan,
  loadUnder,
  longestInterval,
  NO_LOAD,
} from '../../src/core/cadence/load.ts';
import type { ObserveContext } from '../../src/core/watch/observation.ts';
import type { RunSnapshot } from '../../src/core/run/snapshot.ts';
import { phasesAfter } from '../../src/core/cadence/phase.ts';
import { PROFILES, type Watch } from '../../src/core/watch/watch.ts';
import {
  observeContext,
  newWatch,
  NOON,
  POLICY,
  snapshot,
  webhookTo,
} from '../support/builders.ts';

/** A watch with a run that began to work at noon and was polled ever since. */
function seen(changes: Partial<Watch> = {}, run: Partial<RunSnapshot> = {}): SeenWatch {
  const now = snapshot(run);
  return { ...newWatch(changes), run: now, phases: phasesAfter([], null, now, NOON) };
}

/** The interval, in seconds, of a watch without a change for this long. */
function intervalAfter(ageS: number, watch = seen(), context: Partial<ObserveContext> = {}) {
  const now = NOON + ageS * 1_000;
  return nextPoll(watch, false, { ...observeContext(now), ...context }).intervalMs / 1_000;
}

/** The statistics of 200 runs that all had their transition at the same age. */
function untilTransition(ageS: number): Statistics {
  const sample = { source: '', workflowId: '', state: null, fromS: 0, toS: ageS, ended: true };
  return Array.from({ length: 200 }, () => sample).reduce(learn, emptyStatistics());
}

const learned = (ageS: number): Partial<ObserveContext> => ({
  statistics: () => untilTransition(ageS),
});

describe('next poll of a run', () => {
  test('the interval of a run without statistics grows with its age, up to the maximum', () => {
    const intervals = [1, 10, 60, 600, 3_600, 86_400].map((age) => intervalAfter(age));
    expect(intervals).toEqual(intervals.toSorted((a, b) => a - b));
    expect(intervals[0]).toBe(1);
    expect(intervals.at(-1)).toBe(60);
  });

  test('polls come close together around the age at which other runs changed, and rarely before', () => {
    const context = learned(600);
    expect(intervalAfter(300, seen(), context)).toBe(60);
    expect(intervalAfter(590, seen(), context)).toBeLessThan(15);
  });

  test('the next poll does not jump over the age at which other runs changed', () => {
    for (const age of [400, 450, 480, 495]) {
      const wide = { ...learned(600), policy: { ...POLICY, maxIntervalMs: 1e9 } };
      expect(age + intervalAfter(age, seen(), wide)).toBeLessThan(600);
    }
  });

  test("the interval is at most the run's age, whatever the statistics; half of it for urgent", () => {
    const context = { ...learned(7_200), policy: { ...POLICY, minIntervalMs: 1 } };
    expect(intervalAfter(8, seen(), context)).toBe(8);
    expect(intervalAfter(8, seen({ profile: 'urgent' }), context)).toBe(4);
  });

  test('a more urgent watch has a shorter interval', () => {
    const [urgent = 0, normal = 0, frugal = 0] = PROFILES.map((profile) =>
      intervalAfter(900, seen({ profile })),
    );
    expect(urgent).toBeLessThan(normal);
    expect(normal).toBeLessThan(frugal);
  });

  test('a higher cost multiplier lengthens the interval', () => {
    const load = { ...NO_LOAD, costMultiplier: 4 };
    expect(intervalAfter(100, seen(), { load })).toBeCloseTo(2 * intervalAfter(100), 0);
  });

  test('the interval of a run that waits for a human may be five times as long', () => {
    const watch = seen({}, { status: 'awaiting_human_feedback' });
    expect(intervalAfter(864_000, watch)).toBe(300);
  });

  test('the delay to the next poll never exceeds max_delay, jitter included', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1_000, max: 90_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer({ min: 0, max: 1e6 }),
        (maxDelayMs, chance, ageS) => {
          const context = { ...observeContext(NOON + ageS * 1_000), random: () => chance };
          const { delayMs } = nextPoll(seen({ maxDelayMs }), false, context);
          expect(delayMs).toBeLessThanOrEqual(maxDelayMs);
          expect(delayMs).toBeGreaterThanOrEqual(900);
        },
      ),
    );
  });
});

describe('watch with followed progress', () => {
  const webhook = (events: string[]) => [webhookTo('https://example.com', events)];

  test('a followed run is polled soon after a change, then less and less often', () => {
    const intervals = [0];
    for (const changed of [true, ...Array.from({ length: 12 }, () => false)]) {
      const cadence = { intervalMs: intervals.at(-1) ?? 0, failures: 0 };
      const watch = seen({ subscriptions: webhook(['run.progress']), cadence });
      intervals.push(nextPoll(watch, changed, observeContext(NOON + 1e9)).intervalMs);
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
  ])(
    'a subscription to %s while the run is %s counts as following: %s',
    (pattern, status, isFollowed) => {
      const watch = seen({ subscriptions: webhook([pattern]) }, { status });
      const { intervalMs } = nextPoll(watch, true, observeContext(NOON + 1e9));
      expect(intervalMs === 1_000).toBe(isFollowed);
    },
  );

  test('a named endpoint can make a watch a followed one', () => {
    const watch = seen({ subscriptions: [{ kind: 'endpoint', endpoint: 'ops' }] });
    const wants = (name: string, type: string) => name === 'ops' && type === 'run.progress';
    const { intervalMs } = nextPoll(watch, true, { ...observeContext(NOON + 1e9), wants });
    expect(intervalMs).toBe(1_000);
  });
});

describe('load of a source', () => {
  test('the longest interval widens to five rounds of all its watches', () => {
    const load = { ...NO_LOAD, roundMs: 100_000 };
    expect(longestInterval(60_000, load)).toBe(500_000);
    expect(longestInterval(60_000, { ...load, roundMs: 10_000 })).toBe(60_000);
    expect(longestInterval(60_000, NO_LOAD)).toBe(60_000);
  });

  test('load does not widen the interval of a watch with its own max_delay', () => {
    const load = { ...NO_LOAD, roundMs: 1_000_000 };
    expect(intervalAfter(1e6, seen({ maxDelayMs: 30_000 }), { load })).toBe(30);
    expect(intervalAfter(1e6, seen(), { load })).toBeGreaterThan(60);
  });

  /** The cost multiplier after so many polls with the same lag. */
  const costAfter = (from: number, polls: number, lagMs: number, requestMs = 100) =>
    Array.from({ length: polls }).reduce<number>(
      (multiplier) => costMultiplierAfter(multiplier, lagMs, requestMs),
      from,
    );

  test('the cost multiplier rises with each late poll, and falls again in time', () => {
    const late = costAfter(1, 50, 1_001);
    expect(late).toBeGreaterThan(2.5);
    expect(late).toBeLessThan(3);
    expect(costAfter(late, 500, 1_000)).toBe(1);
    expect(costAfter(1, 9_999, 9e9)).toBe(1_000);
    // Even a generous source gets this tolerance: processes are busy now and then.
    expect(costAfter(1, 1, 900, 0.1)).toBe(1);
  });

  /** From when on a request that is left over may poll an old run, s. */
  const spareAfter = (watch: SeenWatch, load = loadUnder(1, 100_000)) => {
    const context = { ...observeContext(NOON + 1e9), random: () => 0.5, load };
    const { spareMs } = nextPoll(watch, false, context);
    return spareMs === null ? null : spareMs / 1_000;
  };

  test('a request that is left over may poll a run once its configured longest interval is over', () => {
    expect(intervalAfter(1e6, seen(), { load: loadUnder(1, 100_000) })).toBe(500);
    expect(spareAfter(seen())).toBeCloseTo(60);
    expect(spareAfter(seen({}, { status: 'awaiting_human_feedback' }))).toBeCloseTo(300);
  });

  test('requests that are left over poll no run with an interval as configured', () => {
    expect(spareAfter(seen(), loadUnder(1, 12_000))).toBeNull();
    expect(spareAfter(seen({ maxDelayMs: 30_000 }))).toBeNull();
    expect(spareAfter(seen(), NO_LOAD)).toBeNull();
  });

  test('a plan of list feeds keeps intervals as configured while it fits, and spends what is left over', () => {
    const short = loadUnder(8, 100_000);
    expect(longestInterval(60_000, loadByPlan(short, 1))).toBe(60_000);
    expect(longestInterval(60_000, loadByPlan(short, 1.1))).toBe(500_000);
    expect(spareAfter(seen(), loadByPlan(short, 1.1))).toBeNull();
    expect(loadByPlan(short, null)).toBe(short);
  });
});
