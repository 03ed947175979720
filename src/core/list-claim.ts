import type { SeenWatch } from './cadence.ts';
import type { ListedRun } from './run-list.ts';
import { isTerminalStatus, type RunSnapshot } from './run.ts';
import type { Watch } from './watch.ts';

/**
 * Lists may lag behind single reads by so much, ms, as where a replica serves them. What a single
 * read found within this time is not held against a list.
 */
const LAG_MS = 5_000;

type RunState = Pick<RunSnapshot, 'status' | 'progress'>;

/** A change that a list told of, until a single read has judged it. Times are ms since the epoch. */
export interface Claim {
  runId: string;
  /** When the list was read. */
  madeAt: number;
  /** What it said. */
  listed: RunState;
  /** What the single read before had found, and when. */
  known: RunState & { at: number };
}

/**
 * Whether a list tells of a change that somebody wants to know of.
 * @param followsProgress whether progress alone is such a change
 */
export function isChange(run: RunSnapshot, listed: ListedRun, followsProgress: boolean): boolean {
  if (run.status !== listed.status) return true;
  return followsProgress && run.progress !== listed.progress;
}

/** What a list claims by telling of a change. @param madeAt when it was read, ms since the epoch */
export function claimOf({ run, runId }: SeenWatch, listed: ListedRun, madeAt: number): Claim {
  return {
    runId,
    madeAt,
    listed: { status: listed.status, progress: listed.progress },
    known: { status: run.status, progress: run.progress, at: Date.parse(run.observed_at) },
  };
}

/**
 * Judges a claim by what a later single read has found. The run may have moved on since, so any
 * change settles it; but nothing undoes the end of a run.
 * @returns `open` while the run was not read since
 */
export function judgeClaim(
  { madeAt, listed, known }: Claim,
  { run }: Watch,
): 'open' | 'settled' | 'refuted' {
  if (run === null || Date.parse(run.observed_at) < madeAt) return 'open';
  const isUnchanged = run.status === known.status && run.progress === known.progress;
  const isUndone = isTerminalStatus(listed.status) && !isTerminalStatus(run.status);
  if (isUndone) return 'refuted';
  return isUnchanged && known.at < madeAt - LAG_MS ? 'refuted' : 'settled';
}

/** Whether a list shows a run under way of which a single read has seen the end well before. */
export function isStale(listed: ListedRun, watch: Watch, lookedAt: number): boolean {
  const { run } = watch;
  if (run === null || isTerminalStatus(listed.status)) return false;
  return isTerminalStatus(run.status) && Date.parse(run.observed_at) < lookedAt - LAG_MS;
}
