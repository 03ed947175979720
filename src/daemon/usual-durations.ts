import type { UsualDuration } from '../core/alert/entry.ts';
import { workflowName } from '../core/cadence/phase.ts';
import { quantile, type RunFigures } from '../core/watch/run-figures.ts';
import type { RunFiguresStore } from '../redis/stores/run-figures-store.ts';

/** The runs of this time say what is usual, ms. */
const WITHIN_MS = 7 * 86_400_000;

/** Fewer runs than this say nothing. */
const LEAST_RUNS = 5;

/** How often they are read again, ms: a week of runs changes little in minutes. */
const REFRESH_EVERY_MS = 300_000;

/** Workflows without figures that are remembered, so that each is looked for once. */
const MOST_UNKNOWN = 1_000;

/** How long the runs of each workflow took, as read last. */
export interface UsualDurations {
  /** Reads them, if they are some minutes old or a workflow was asked for that they do not have. */
  refreshIfDue(): Promise<void>;
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
  let readAt = -Infinity;
  /** Workflows without figures: whether they have been looked for since they were asked for. */
  let unknown = new Map<string, { isRead: boolean }>();
  return {
    async refreshIfDue() {
      const isOld = now() - readAt >= REFRESH_EVERY_MS || now() < readAt;
      const isMissing = [...unknown.values()].some(({ isRead }) => !isRead);
      if (!isOld && !isMissing) return;
      const asked = [...unknown.keys()];
      const { workflows } = await runFigures.since(now() - WITHIN_MS, now());
      known = new Map(workflows.map((one) => [workflowName(one), one.figures.durations]));
      const missing = isOld ? [] : asked.filter((name) => !known.has(name));
      unknown = new Map(missing.map((name) => [name, { isRead: true }]));
      if (isOld) readAt = now();
    },
    usual({ source, workflowId }, percentile) {
      if (workflowId === null) return null;
      const name = workflowName({ source, workflowId });
      const durations = known.get(name) ?? {};
      if (!known.has(name) && !unknown.has(name) && unknown.size < MOST_UNKNOWN) {
        unknown.set(name, { isRead: false });
      }
      const runs = Object.values(durations).reduce((sum, count) => sum + count, 0);
      return runs < LEAST_RUNS ? null : quantile(durations, percentile / 100);
    },
  };
}
