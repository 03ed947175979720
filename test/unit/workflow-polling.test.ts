import { describe, expect, test } from '@jest/globals';
import { isoTime } from '../../src/core/event/event.ts';
import { emptyStatistics, learn, type Statistics } from '../../src/core/cadence/hazard.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { watchedRun } from '../../src/core/watch/watch-change.ts';
import { workflowPolling } from '../../src/core/cadence/workflow-polling.ts';
import type { WorkflowStatistics } from '../../src/core/cadence/phase.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { seededRandom } from '../../src/simulator/seeded-random.ts';
import { observeContext, newWatch, NOON, POLICY, snapshot } from '../support/builders.ts';

const random = seededRandom(11);

/** A draw from a log-normal distribution. Source: Box and Muller, 1958. */
function logNormal(median: number, sigma: number): number {
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
      const run = watchedRun({ before: { watch: before, version: 1 }, after });
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
        random,
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
    ['runs of about a minute', () => ({ queuedMs: 0, workMs: logNormal(60_000, 0.3) })],
    [
      'runs of about 20 min that wait in a queue',
      () => ({ queuedMs: logNormal(30_000, 0.5), workMs: logNormal(1_200_000, 0.4) }),
    ],
    [
      'runs of two kinds',
      () => ({ queuedMs: 0, workMs: logNormal(random() < 0.3 ? 8_000 : 600_000, 0.2) }),
    ],
  ])("expected polling matches a replay by the daemon's rules: %s", (_what, draw) => {
    const { workflow, take } = learner();
    for (let run = 0; run < 350; run += 1) watchRun(workflow, draw(), take);
    // Enough to average out chance. They teach nothing, since the policy is the present one.
    const seen = Array.from({ length: 1_000 }, () => watchRun(workflow, draw()));
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
