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
  /** From when on requests that are left over may poll the run, s; absent or null for not before. */
  spareAt?: number | null;
  /** Updates that this poll saw: the run had started, or its progress had changed. */
  updates: number;
}

/** Polls one run. */
export interface Follower {
  look(sight: Sight): Step;
  /** The latest time for a due poll while requests are short, s. */
  deadline(dueAt: number): number;
}

/** A page of a list: of a workflow's, or with null of the source's. */
export interface TracedPageName {
  workflowId: string | null;
  /** From 1. */
  page: number;
}

/** Changes of polls of runs. Times in seconds. */
export interface Moves {
  /** Runs to poll now, including moved ones. */
  woken: TracedRun[];
  /** New times for the next polls of other runs. */
  moved: (readonly [run: TracedRun, at: number])[];
}

/** What is to be read from now on; the next plan is due at `nextAt`, null for none. */
export interface PlanStep extends Moves {
  pages: (TracedPageName & { intervalS: number })[];
  nextAt: number | null;
}

/** A page that was read. */
export interface PageStep extends Moves {
  nextAt: number | null;
  isGivenUp?: boolean;
}

/** Reads a page of the last plan's size; null where that fails. */
export type ReadPage = (name: TracedPageName, size: number) => TracedPage | null;

/** Polls runs by the lists that they are on. */
export interface ListFollower {
  /** Called after each poll. @returns whether a plan is called for */
  notice(run: TracedRun, now: number): boolean;
  plan(now: number): PlanStep;
  /**
   * Reads a page.
   * @returns when to read it again, `nextAt`; null where no plan has it, or its list is given up,
   * which calls for a new plan
   */
  readPage(name: TracedPageName, now: number, read: ReadPage): PageStep;
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
