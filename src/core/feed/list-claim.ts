import type { SeenWatch } from '../cadence/cadence.ts';
import type { ListedRun } from './run-list.ts';
import { isTerminalStatus, type RunSnapshot } from '../run/snapshot.ts';
import type { Watch } from '../watch/watch.ts';

/**
 * How far a list may lag behind single polls, ms, for example where a replica serves it. A single
 * poll within this time does not contradict a list.
 */
const LAG_MS = 5_000;

type RunState = Pick<RunSnapshot, 'status' | 'progress'>;

/** A hint from a list that no single poll has judged yet. Times are ms since the epoch. */
export interface Claim {
  runId: string;
  /** When the list was read. */
  madeAt: number;
  /** What the list showed. */
  listed: RunState;
  /** What the single poll before had found, and when. */
  known: RunState & { at: number };
}

/**
 * Whether a list shows a change that a subscription wants.
 * @param followsProgress whether progress alone is such a change
 */
export function isChange(run: RunSnapshot, listed: ListedRun, followsProgress: boolean): boolean {
  if (run.status !== listed.status) return true;
  return followsProgress && run.progress !== listed.progress;
}

/** The hint that a listed run gives. @param madeAt when the list was read, ms since the epoch */
export function claimOf({ run, runId }: SeenWatch, listed: ListedRun, madeAt: number): Claim {
  return {
    runId,
    madeAt,
    listed: { status: listed.status, progress: listed.progress },
    known: { status: run.status, progress: run.progress, at: Date.parse(run.observed_at) },
  };
}

/**
 * Compares a hint with later single polls. The run may have moved on, so any change confirms the
 * hint; but the end of a run is final. A poll that began before the list was read contradicts
 * nothing: its result may be older even though its answer came later.
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

/** Whether a list shows a run as active although a single poll saw its end well before. */
export function isStale(listed: ListedRun, watch: Watch, lookedAt: number): boolean {
  const { run } = watch;
  if (run === null || isTerminalStatus(listed.status)) return false;
  return isTerminalStatus(run.status) && Date.parse(run.observed_at) < lookedAt - LAG_MS;
}
