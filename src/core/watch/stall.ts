import type { EventDraft } from '../event/event.ts';
import {
  BIN_EDGES_S,
  quantile,
  type Statistics,
  type StatisticsLookup,
} from '../cadence/hazard.ts';
import {
  attemptBeganAt,
  isAwaiting,
  isTerminalStatus,
  timeOf,
  type RunSnapshot,
} from '../run/snapshot.ts';
import type { DwellState, Phase } from './watch.ts';

/** A run is stalled at this multiple of the time in which nearly all others leave the state. */
const PATIENCE = 1.5;

/** The share of runs that counts as "nearly all". */
const NEARLY_ALL = 0.99;

/** A run is not created earlier, ms since the epoch: such a time, as 1970, stands for none. */
const EARLIEST_AT = Date.UTC(2000, 0);

const BUCKET_PERCENT = 10;

/** The dwell time's part of an observation. */
export interface DwellResult {
  /** The present state; null where the run cannot stall. */
  dwell: DwellState | null;
  /** Events for the state that the run left. */
  recovered: EventDraft[];
  /** Events for the present state. */
  stalled: EventDraft[];
  /** When a poll should check for a stall, at the latest; Infinity where the run cannot stall. */
  stallsAt: number;
}

interface DwellContext {
  dwell: DwellState | null;
  /** The snapshot before; null on the first poll. */
  run: RunSnapshot | null;
  /** The new snapshot. */
  next: RunSnapshot;
  now: number;
  /** When the request for the new snapshot began, ms since the epoch. */
  askedAt: number;
  /** The same for the snapshot before; null where there is none. */
  askedBefore: number | null;
  policy: { stallAfterMs: number };
  /** When the next poll is due in any case. */
  nextPollAt: number;
  /** The time in which nearly all others leave this state, ms; null with too few samples. */
  usualMs: () => number | null;
}

/**
 * Follows a run through its states: raises `run.stalled` once for a state that lasts too long, and
 * `run.recovered` when it ends. Two reads in a row must find it too long: the first one may end a time
 * without reads, in which the run moved and may be about to leave the state.
 */
export function followDwell(context: DwellContext): DwellResult {
  const { run, next, now, policy, nextPollAt } = context;
  const goesOn = run !== null && stateOf(run) === stateOf(next);
  const recovered = goesOn ? [] : recovery(context);
  if (!canStall(next.status)) return { dwell: null, recovered, stalled: [], stallsAt: Infinity };

  const begun = { since: beginning(context), stalled: false };
  const dwell = (goesOn ? context.dwell : null) ?? begun;
  if (dwell.stalled) return { dwell, recovered, stalled: [], stallsAt: Infinity };

  // The usual time is costly to compute and matters only after the shortest stall time.
  const earliestAt = dwell.since + policy.stallAfterMs;
  if (earliestAt > nextPollAt) return { dwell, recovered, stalled: [], stallsAt: earliestAt };
  const usualMs = context.usualMs();
  const stallsAt = stallTime(dwell, policy.stallAfterMs, usualMs);
  const isSure = goesOn && context.askedBefore !== null && context.askedBefore >= stallsAt;
  if (context.askedAt < stallsAt || !isSure) return { dwell, recovered, stalled: [], stallsAt };
  const details = { lasted_ms: now - dwell.since, usual_ms: usualMs };
  const stalled: EventDraft[] = [{ type: 'run.stalled', details }];
  return { dwell: { ...dwell, stalled: true }, recovered, stalled, stallsAt: Infinity };
}

/** When a state will have lasted too long, milliseconds since the epoch. */
export function stallTime(
  { since }: DwellState,
  stallAfterMs: number,
  usualMs: number | null,
): number {
  return since + Math.max(stallAfterMs, PATIENCE * (usualMs ?? 0));
}

/** False for runs that have ended, and for those that wait for a human, which have reminders. */
function canStall(status: string): boolean {
  return !isTerminalStatus(status) && !isAwaiting(status);
}

/** A run that fails or is stopped has not recovered; its end has its own event. */
function recovery({ dwell, next, now }: DwellContext): EventDraft[] {
  if (dwell?.stalled !== true || next.status === 'failed' || next.status === 'stopped') return [];
  return [{ type: 'run.recovered', details: { lasted_ms: now - dwell.since } }];
}

/**
 * The beginning of a state, ms since the epoch: the time of the read that first sees it. Before that the
 * run may have been anywhere, such as with a human, unless it has been queued since its creation.
 */
function beginning({ run: before, next, now }: DwellContext): number {
  const isNew = before === null && next.status === 'queued' && next.started_at === null;
  const createdAt = isNew ? timeOf(attemptBeganAt(next)) : null;
  return createdAt === null || createdAt < EARLIEST_AT ? now : Math.min(createdAt, now);
}

/** What counts as one state: a status, and while running each ten per cent of progress. */
function stateOf({ status, progress }: RunSnapshot): string {
  return status === 'running'
    ? `running/${Math.floor((progress ?? 0) / BUCKET_PERCENT) * BUCKET_PERCENT}`
    : status;
}

/**
 * The time in which nearly all runs of a workflow leave a phase: by the phase's statistics, else by
 * those of the workflow as a whole.
 * @returns milliseconds; null with too few samples
 */
export function usualDwellMs(
  learned: StatisticsLookup,
  { source, run, phases }: { source: string; run: RunSnapshot; phases: readonly Phase[] },
): number | null {
  const phase = phases.at(-1);
  const ofStage = phase && usualDwellS(learned(source, run.workflow_id, phase.state));
  const usual = ofStage ?? usualDwellS(learned(source, run.workflow_id, null));
  return usual === null ? null : Math.round(usual * 1_000);
}

/** The p99; with too few samples for one, the longest sample. @returns seconds */
function usualDwellS(statistics: Statistics | undefined): number | null {
  if (statistics === undefined) return null;
  const longest = statistics.endings.findLastIndex((count) => count > 0);
  if (longest === -1) return null;
  return quantile(statistics, NEARLY_ALL) ?? BIN_EDGES_S[longest] ?? Infinity;
}
