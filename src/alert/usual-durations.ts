import { sum } from '../core/arrays.ts';
import type { UsualDuration } from '../core/alert/entry.ts';
import { workflowName } from '../core/cadence/phase.ts';
import { quantile, type RunFigures } from '../core/watch/run-figures.ts';
import type { Process } from '../process.ts';

/** The runs of this time say what is usual, ms. */
const WITHIN_MS = 7 * 86_400_000;

/** Fewer runs than this say nothing. */
const LEAST_RUNS = 5;

/** How often they are read again, ms: a week of runs changes little in minutes. */
const REFRESH_EVERY_MS = 300_000;

/** Workflows without figures that are remembered, so that each is looked for once. */
const MOST_UNKNOWN = 1_000;

/** How long the runs of each workflow took, as read last. */
export class UsualDurations {
  private known = new Map<string, RunFigures['durations']>();
  private readAt = -Infinity;
  /** Workflows without figures: whether they have been looked for since they were asked for. */
  private unknown = new Map<string, { isRead: boolean }>();

  constructor(private readonly process: Process) {}

  /** Reads them, if they are some minutes old or a workflow was asked for that they do not have. */
  async refreshIfDue(): Promise<void> {
    const { now, stores } = this.process;
    const isOld = now() - this.readAt >= REFRESH_EVERY_MS || now() < this.readAt;
    const isMissing = [...this.unknown.values()].some(({ isRead }) => !isRead);
    if (!isOld && !isMissing) return;
    const asked = [...this.unknown.keys()];
    const { workflows } = await stores.runFigures.since(now() - WITHIN_MS, now());
    this.known = new Map(workflows.map((one) => [workflowName(one), one.figures.durations]));
    const missing = isOld ? [] : asked.filter((name) => !this.known.has(name));
    this.unknown = new Map(missing.map((name) => [name, { isRead: true }]));
    if (isOld) this.readAt = now();
  }

  readonly usual: UsualDuration = ({ source, workflowId }, percentile) => {
    if (workflowId === null) return null;
    const name = workflowName({ source, workflowId });
    const durations = this.known.get(name) ?? {};
    if (!this.known.has(name) && !this.unknown.has(name) && this.unknown.size < MOST_UNKNOWN) {
      this.unknown.set(name, { isRead: false });
    }
    const runs = sum(Object.values(durations));
    return runs < LEAST_RUNS ? null : quantile(durations, percentile / 100);
  };
}
