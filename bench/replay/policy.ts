import type { TracedPage } from './run-lists.ts';
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

/** What there is to see of the list of a workflow. */
export interface ListSight {
  workflow: string;
  now: number;
  /** Reads a page, from the first on, which is 1; null where that fails. Each is a request. */
  read(page: number, size: number): TracedPage | null;
}

/** A look at a list. Times in seconds. */
export interface ListStep {
  /** Runs that are to be polled now, also of those that are moved. */
  woken: TracedRun[];
  /** When others are to be polled now, instead of when they were. */
  moved: (readonly [run: TracedRun, at: number])[];
  /** When to look again, and by when at the latest; null where there is nothing to be read together. */
  next: { at: number; deadline: number } | null;
}

/** Polls runs of one workflow by the list that they are on. */
export interface ListFollower {
  /** Told of each poll. @returns whether the list of the run's workflow is worth a look from now on */
  notice(run: TracedRun, now: number): boolean;
  look(sight: ListSight): ListStep;
}

/** A way to poll: one follower for each run. */
export interface Policy {
  name: string;
  follow(run: TracedRun): Follower;
  /** Absent where each run is polled by itself. */
  lists?: ListFollower;
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
