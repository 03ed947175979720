import type { TracedRun } from './workload.ts';

/** What there is to see of a run: nothing where the read fails. */
export interface Sight {
  run: TracedRun;
  /** Virtual time, s. */
  now: number;
  /** How long after it was due the look is made, s. */
  lagS: number;
  fails: boolean;
}

/** A look by a policy. */
interface Step {
  /** When the run is to be looked at again, s; null once its end was seen. */
  nextAt: number | null;
  /** Updates that this look saw: the run had started, or its progress had changed. */
  updates: number;
}

/** Polls one run. */
export interface Follower {
  look(sight: Sight): Step;
  /** By when a look that is due should be made, where requests are short, s. */
  deadline(dueAt: number): number;
}

/** A way to poll: one follower for each run. */
export interface Policy {
  name: string;
  follow(run: TracedRun): Follower;
  /** Tells how long after it was due a look was made, and how long the budget has for one, s. */
  lagged?(lagS: number, requestS: number): void;
}

/** What a run shows at a time. */
export function shownAt(run: TracedRun, now: number): { status: string; progress: number } {
  if (now >= run.finished && run.status === 'completed')
    return { status: 'completed', progress: 100 };
  let progress = 0;
  for (const [at, percent] of run.progress) {
    if (at > Math.min(now, run.finished)) break;
    progress = percent;
  }
  if (now >= run.finished) return { status: run.status, progress };
  return { status: now >= run.started ? 'running' : 'queued', progress };
}
