import type { TracedPage } from './run-lists.ts';
import type { TracedRun } from './workload.ts';

/** What a poll shows of a run: nothing where it fails. */
export interface Sight {
  run: TracedRun;
  /** Virtual time, s. */
  now: number;
  /** The lag of the poll, s. */
  lagS: number;
  fails: boolean;
}

/** A poll by a policy. */
interface Step {
  /** When the next poll of the run is due, s; null once its end was seen. */
  nextAt: number | null;
  /** Updates that this poll saw: the run had started, or its progress had changed. */
  updates: number;
}

/** Polls one run. */
export interface Follower {
  look(sight: Sight): Step;
  /** The latest time for a due poll while requests are short, s. */
  deadline(dueAt: number): number;
}

/** What a sweep can read of a workflow's list. */
export interface ListSight {
  workflow: string;
  now: number;
  /** Reads a page, counted from 1; null where that fails. Each is a request. */
  read(page: number, size: number): TracedPage | null;
}

/** A sweep. Times in seconds. */
export interface ListStep {
  /** Runs to poll now, including moved ones. */
  woken: TracedRun[];
  /** New times for the next polls of other runs. */
  moved: (readonly [run: TracedRun, at: number])[];
  /** When the next sweep is due, and its latest time; null where the list covers no runs. */
  next: { at: number; deadline: number } | null;
}

/** Polls runs of one workflow by the list that they are on. */
export interface ListFollower {
  /** Called after each poll. @returns whether sweeps of the run's list should begin */
  notice(run: TracedRun, now: number): boolean;
  look(sight: ListSight): ListStep;
}

/** A way to poll: one follower for each run. */
export interface Policy {
  name: string;
  follow(run: TracedRun): Follower;
  /** Absent where each run is polled singly. */
  lists?: ListFollower;
  /** Reports a poll's lag, and the budget's time for one poll, s. */
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
