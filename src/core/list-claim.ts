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
  /** When the list had been read. */
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

/** What a list claims by telling of a change. @param madeAt when it had been read, ms since the epoch */
export function claimOf({ run, runId }: SeenWatch, listed: ListedRun, madeAt: number): Claim {
  return {
    runId,
    madeAt,
    listed: { status: listed.status, progress: listed.progress },
    known: { status: run.status, progress: run.progress, at: Date.parse(run.observed_at) },
  };
}

/**
 * Judges a claim by what later single reads have found. The run may have moved on since, so any change
 * settles it; but nothing undoes the end of a run. A read that was under way already when the list was
 * read refutes nothing: what it found may be older, and only its answer have come later.
 */
export function judgeClaim(
  claim: Claim,
  { run, runAskedAt }: Pick<Watch, 'run' | 'runAskedAt'>,
): 'settled' | 'refuted' | 'open' {
  if (run === null || Date.parse(run.observed_at) < claim.madeAt) return 'open';
  if (!isContradicted(claim, run)) return 'settled';
  return (runAskedAt ?? -Infinity) >= claim.madeAt ? 'refuted' : 'open';
}

function isContradicted({ madeAt, listed, known }: Claim, run: RunSnapshot): boolean {
  if (isTerminalStatus(listed.status) && !isTerminalStatus(run.status)) return true;
  const isUnchanged = run.status === known.status && run.progress === known.progress;
  return isUnchanged && known.at < madeAt - LAG_MS;
}

/** Whether a list shows a run under way of which a single read has seen the end well before. */
export function isStale(listed: ListedRun, watch: Watch, lookedAt: number): boolean {
  const { run } = watch;
  if (run === null || isTerminalStatus(listed.status)) return false;
  return isTerminalStatus(run.status) && Date.parse(run.observed_at) < lookedAt - LAG_MS;
}
