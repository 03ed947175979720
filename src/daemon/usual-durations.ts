import type { UsualDuration } from '../core/alert/entry.ts';
import { workflowName } from '../core/cadence/phase.ts';
import { quantile, type RunFigures } from '../core/watch/run-figures.ts';
import type { RunFiguresStore } from '../redis/stores/run-figures-store.ts';

/** The runs of this time say what is usual, ms. */
const WITHIN_MS = 7 * 86_400_000;

/** Fewer runs than this say nothing. */
const LEAST_RUNS = 5;

/** How long the runs of each workflow took, as read last. */
export interface UsualDurations {
  refresh(): Promise<void>;
  usual: UsualDuration;
}

export function createUsualDurations({
  runFigures,
  now,
}: {
  runFigures: Pick<RunFiguresStore, 'since'>;
  now: () => number;
}): UsualDurations {
  let known = new Map<string, RunFigures['durations']>();
  return {
    async refresh() {
      const { workflows } = await runFigures.since(now() - WITHIN_MS, now());
      known = new Map(workflows.map((one) => [workflowName(one), one.figures.durations]));
    },
    usual({ source, workflowId }, percentile) {
      const durations = workflowId === null ? {} : known.get(workflowName({ source, workflowId }));
      const runs = Object.values(durations ?? {}).reduce((sum, count) => sum + count, 0);
      return runs < LEAST_RUNS ? null : quantile(durations ?? {}, percentile / 100);
    },
  };
}
