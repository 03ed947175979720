import { describe, expect, test } from '@jest/globals';
import { isoTime } from '../../src/core/event/event.ts';
import {
  emptyStatistics,
  learn,
  type Statistics,
  DECAY,
  hazard,
  type WorkflowStatistics,
} from '../../src/core/cadence/hazard.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { watchedRun } from '../../src/core/cadence/phase.ts';
import { workflowPolling, expectedPolling } from '../../src/core/cadence/workflow-polling.ts';
import type { Random } from '../../src/core/backoff.ts';
import { seededRandom } from '../../src/simulator/seeded-random.ts';
import { observeContext, newWatch, NOON, POLICY, snapshot } from '../support/builders.ts';

const arrivals = seededRandom(11);

/** A draw from a log-normal distribution. Source: Box and Muller, 1958. */
function logNormal(random: Random, median: number, sigma: number): number {
  const angle = 2 * Math.PI * random();
  return median * Math.exp(sigma * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(angle));
}

/** Statistics of one workflow, by the pure rules alone. */
function learner() {
  const states: WorkflowStatistics['states'] = new Map();
  const workflow: WorkflowStatistics = {
    source: 'default',
    workflowId: 'workflow-1',
    version: 1,
    states,
    durations: null,
    polled: null,
  };
  const add = (known: Statistics | null | undefined, dwell: Parameters<typeof learn>[1]) =>
    learn(known ?? emptyStatistics(), dwell);
  return {
    workflow,
    take(before: Watch, { watch: after, samples }: ReturnType<typeof observe>) {
      for (const sample of samples) states.set(sample.state, add(states.get(sample.state), sample));
      const run = watchedRun({ before: { watch: before }, after });
      if (run !== null) workflow.durations = add(workflow.durations, run.duration);
    },
  };
}

interface Work {
  queuedMs: number;
  workMs: number;
}

/**
 * Watches a run from its creation to its end by the daemon's rules.
 * @param take receives each poll, to learn from it or not
 */
function watchRun(
  workflow: WorkflowStatistics,
  { queuedMs, workMs }: Work,
  take: (before: Watch, look: ReturnType<typeof observe>) => void = () => {},
) {
  const startedAt = NOON + queuedMs;
  const finishedAt = startedAt + workMs;
  let watch = newWatch();
  let now = NOON;
  while (watch.state === 'active') {
    const run = snapshot({
      status: now < startedAt ? 'queued' : now < finishedAt ? 'running' : 'completed',
      started_at: now < startedAt ? null : isoTime(startedAt),
      finished_at: now < finishedAt ? null : isoTime(finishedAt),
      observed_at: isoTime(now),
    });
    const look = observe(
      watch,
      { kind: 'run', run },
      {
        ...observeContext(now),
        random: arrivals,
        statistics: (_source, _workflow, state) => workflow.states.get(state),
      },
    );
    take(watch, look);
    watch = look.watch;
    now = watch.nextPollAt ?? now;
  }
  return { requests: watch.polls, delayS: (now - finishedAt) / 1_000 };
}

const mean = (values: number[]) => values.reduce((sum, one) => sum + one, 0) / values.length;

describe('expected polling of a workflow', () => {
  test.each([
    ['runs of about a minute', () => ({ queuedMs: 0, workMs: logNormal(arrivals, 60_000, 0.3) })],
    [
      'runs of about 20 min that wait in a queue',
      () => ({
        queuedMs: logNormal(arrivals, 30_000, 0.5),
        workMs: logNormal(arrivals, 1_200_000, 0.4),
      }),
    ],
    [
      'runs of two kinds',
      () => ({ queuedMs: 0, workMs: logNormal(arrivals, arrivals() < 0.3 ? 8_000 : 600_000, 0.2) }),
    ],
  ])("expected polling matches a replay by the daemon's rules: %s", (_what, draw) => {
    const { workflow, take } = learner();
    for (let run = 0; run < 350; run += 1) watchRun(workflow, draw(), take);
    // Enough to average out chance. They teach nothing, since the policy is the present one.
    const seen = Array.from({ length: 400 }, () => watchRun(workflow, draw()));
    const { expected, duration, runs } = workflowPolling(workflow, {
      ...POLICY,
      profile: 'normal',
    });
    expect(runs).toBe(350);
    expect(duration?.median).toBeLessThan(duration?.p90 ?? 0);
    const requests = mean(seen.map((one) => one.requests));
    const delayS = mean(seen.map((one) => one.delayS));
    expect(Math.abs((expected?.requests ?? 0) / requests - 1)).toBeLessThan(0.15);
    expect(Math.abs((expected?.delayS ?? 0) / delayS - 1)).toBeLessThan(0.15);
  });
});

describe('expected polling', () => {
  const draws = seededRandom(7);
  const around = (median: number, sigma: number) => logNormal(draws, median, sigma);

  /** Enough to average out the jitter of single polls. */
  const REPEATS = 8;

  function learned(durations: number[]): Statistics {
    return durations.reduce<Statistics>(
      (statistics, toS) => learn(statistics, { fromS: 0, toS, ended: true }),
      emptyStatistics(),
    );
  }

  /** Polls a run from its beginning to the poll that sees its end. */
  function pollOnce(duration: number, intervalAt: (ageS: number) => number) {
    let [requests, ageS] = [1, 0];
    while (ageS < duration) {
      ageS += intervalAt(ageS) * (0.9 + 0.2 * draws());
      requests += 1;
    }
    return { requests, delayS: ageS - duration };
  }

  /** Polls runs of these durations repeatedly; each counts as much as in the statistics. */
  function replay(durations: number[], intervalAt: (ageS: number) => number) {
    let [requests, delayS, weights] = [0, 0, 0];
    for (const [at, duration] of durations.entries()) {
      const weight = DECAY ** (durations.length - 1 - at);
      for (let time = 0; time < REPEATS; time += 1) {
        const polled = pollOnce(duration, intervalAt);
        requests += weight * polled.requests;
        delayS += weight * polled.delayS;
        weights += weight;
      }
    }
    return { requests: requests / weights, delayS: delayS / weights };
  }

  const draw = (count: number, one: () => number) => Array.from({ length: count }, one);

  describe('what polling is expected to come to', () => {
    const kinds: [string, () => number][] = [
      ['runs of about 8 s', () => around(8, 0.3)],
      [
        'runs of about 5 min, some of which fail early',
        () => (draws() < 0.08 ? around(4, 0.5) : around(300, 0.4)),
      ],
      ['runs of two kinds', () => around(draws() < 0.5 ? 20 : 1_200, 0.2)],
      ['runs without a typical length', () => 10 * (1 - draws()) ** (-1 / 1.2)],
    ];

    test.each(kinds)(
      'expected polling is within a tenth of a replay of the observed runs: %s',
      (_what, one) => {
        const durations = draw(600, one);
        const statistics = learned(durations);
        const intervalAt = (ageS: number) => {
          const density = Math.sqrt(hazard(statistics, ageS, 1 / Math.max(ageS, 0.5)) / (2 * 0.2));
          return Math.min(Math.max(1 / density, 0.5), Math.max(ageS, 0.5), 60);
        };
        const seen = replay(durations, intervalAt);
        const expected = expectedPolling(statistics, intervalAt);
        expect(Math.abs((expected?.requests ?? 0) / seen.requests - 1)).toBeLessThan(0.1);
        expect(Math.abs((expected?.delayS ?? 0) / seen.delayS - 1)).toBeLessThan(0.1);
      },
    );

    test('expected delay is half an interval for evenly spaced polls', () => {
      const statistics = learned(draw(600, () => 100 * draws()));
      const expected = expectedPolling(statistics, () => 5);
      expect(expected?.delayS).toBeCloseTo(2.5, 0);
      expect(expected?.requests).toBeCloseTo(1 + 50 / 5 + 0.5, 0);
    });

    test('expected polling is unknown until a handful of runs have ended', () => {
      expect(expectedPolling(learned([8, 8, 8]), () => 1)).toBeNull();
      expect(expectedPolling(emptyStatistics(), () => 1)).toBeNull();
    });

    test('expected polling is computed in bounded time even for excessive polling', () => {
      const statistics = learned(draw(50, () => 86_400));
      expect(expectedPolling(statistics, () => 0.001)?.requests).toBe(5_001);
    });
  });
});
