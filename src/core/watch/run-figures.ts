import {
  isTerminalStatus,
  statusLabel,
  timeOf,
  workBegan,
  type RunSnapshot,
} from '../run/snapshot.ts';
import { isSameEnd, watchedSince } from './attempt.ts';
import type { ChangedWatch, Watch } from './watch.ts';

/** Bins for each doubling: a time is known within a fifth. */
const BINS_PER_DOUBLING = 4;

/** Figures of the runs of one workflow; counts by status and by bin of time. */
export interface RunFigures {
  /** Ended watches, by the status of their runs or their own state. */
  ended: Record<string, number>;
  /** Runs by how long they took. */
  durations: Record<string, number>;
  /** Runs by how late their end was detected. */
  delays: Record<string, number>;
  /** Requests of runs that were polled to their end, and how many of those there were. */
  requests: number;
  polled: number;
}

export const NO_FIGURES: RunFigures = {
  ended: {},
  durations: {},
  delays: {},
  requests: 0,
  polled: 0,
};

/** A time as it is counted. @param ms at least 0 */
export function binOf(ms: number): number {
  return Math.floor(Math.log2(Math.max(1, ms)) * BINS_PER_DOUBLING);
}

/** A share of counted times is at most this long, ms; null where there are none. */
export function quantile(bins: Record<string, number>, share: number): number | null {
  const counted = Object.entries(bins)
    .map(([bin, count]) => [Number(bin), count] as const)
    .sort(([one], [other]) => one - other);
  let left = share * counted.reduce((sum, [, count]) => sum + count, 0);
  for (const [bin, count] of counted) {
    left -= count;
    if (left <= 0) return Math.round(2 ** ((bin + 0.5) / BINS_PER_DOUBLING));
  }
  return null;
}

/** The sum of the figures of several spans of time. */
export function sumOf(all: readonly RunFigures[]): RunFigures {
  const add = (field: 'ended' | 'durations' | 'delays') => {
    const sum: Record<string, number> = {};
    for (const one of all) {
      for (const [key, count] of Object.entries(one[field])) sum[key] = (sum[key] ?? 0) + count;
    }
    return sum;
  };
  return {
    ended: add('ended'),
    durations: add('durations'),
    delays: add('delays'),
    requests: all.reduce((sum, { requests }) => sum + requests, 0),
    polled: all.reduce((sum, { polled }) => sum + polled, 0),
  };
}

/** Of runs that ended, the share that failed; null where none ended. */
export function failureRate({ failed = 0, completed = 0, stopped = 0 }: Record<string, number>) {
  const all = failed + completed + stopped;
  return all === 0 ? null : failed / all;
}

/** What the end of a watch adds to the figures of its workflow. */
export interface EndedRun {
  status: string;
  durationMs: number | null;
  delayMs: number | null;
  /** Null where its end was not polled for. */
  requests: number | null;
}

/** The run of a watch that this change ends; null where it ends none of a known workflow. */
export function endedRun({ before, after }: ChangedWatch): EndedRun | null {
  const { run, endedAt, state } = after;
  if (!run?.workflow_id || endedAt === null || before?.watch.state !== 'active') return null;
  if (isSameEnd(before.watch, after)) return null;
  if (state !== 'finished' || !isTerminalStatus(run.status)) {
    return { status: state, durationMs: null, delayMs: null, requests: null };
  }
  return { status: run.status, ...timesOf(run, after, endedAt) };
}

function timesOf(run: RunSnapshot, watch: Watch, endedAt: number) {
  const finishedAt = timeOf(run.finished_at);
  if (finishedAt === null) return { durationMs: null, delayMs: null, requests: null };
  const beganAt = workBegan(run);
  const wasWatched = finishedAt >= watchedSince(watch);
  return {
    durationMs: beganAt === null ? null : Math.max(0, finishedAt - beganAt),
    delayMs: wasWatched ? Math.max(0, endedAt - finishedAt) : null,
    // Those for an attempt that is not the first were not counted by themselves.
    requests: wasWatched && watch.restartedAt === null ? watch.polls : null,
  };
}

/** The workflow and status that an active watch counts for; null for others. */
export function activeCount(
  watch: Watch | undefined,
): { workflowId: string; status: string } | null {
  const workflowId = watch?.run?.workflow_id ?? null;
  if (watch?.state !== 'active' || workflowId === null) return null;
  return { workflowId, status: statusLabel(watch.run) };
}
