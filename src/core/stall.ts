import type { News } from './event.ts';
import { BIN_EDGES_S, quantile, type Statistics, type StatisticsLookup } from './hazard.ts';
import { isAwaiting, isTerminalStatus, type RunSnapshot } from './run.ts';
import type { Stage } from './stage.ts';

/** How many times longer than nearly all others a run may stay in a state before it is stalled. */
const PATIENCE = 1.5;

/** The share of all stays that is "nearly all". */
const NEARLY_ALL = 0.99;

const BUCKET_PERCENT = 10;

/** A run in a state, as far as that matters for telling when it is stalled. */
export interface Stay {
  /** When the state began, milliseconds since the epoch. */
  since: number;
  /** True once `run.stalled` was told of it. */
  stalled: boolean;
}

/** What a look makes of a stay. */
export interface StayFinding {
  /** The stay that goes on, or begins; null where the run can not stall. */
  stay: Stay | null;
  /** Told of the stay that is over. */
  recovered: News[];
  /** Told of the one that goes on. */
  stalled: News[];
  /** When a look should find out whether it has stalled, or earlier; Infinity where it can not. */
  stallsAt: number;
}

interface StayContext {
  stay: Stay | null;
  /** The run as it was; null on the first look. */
  run: RunSnapshot | null;
  /** The run as it is. */
  next: RunSnapshot;
  now: number;
  policy: { stallAfterMs: number };
  /** When the next look comes in any case. */
  lookAgainAt: number;
  /** In how long nearly all others leave this state, ms; null while too little is known. */
  usualMs: () => number | null;
}

/** Follows a run through its states, and tells of one that lasts too long, once, and of its end. */
export function followStay(context: StayContext): StayFinding {
  const { run, next, now, policy, lookAgainAt } = context;
  const goesOn = run !== null && stateOf(run) === stateOf(next);
  const recovered = goesOn ? [] : recovery(context);
  if (!canStall(next.status)) return { stay: null, recovered, stalled: [], stallsAt: Infinity };

  const begun = { since: beginning(run, next, now), stalled: false };
  const stay = (goesOn ? context.stay : null) ?? begun;
  if (stay.stalled) return { stay, recovered, stalled: [], stallsAt: Infinity };

  // What is usual takes a while to work out, and matters only to stays that have lasted.
  const earliestAt = stay.since + policy.stallAfterMs;
  if (earliestAt > lookAgainAt) return { stay, recovered, stalled: [], stallsAt: earliestAt };
  const usualMs = context.usualMs();
  const stallsAt = stallTime(stay, policy.stallAfterMs, usualMs);
  if (now < stallsAt) return { stay, recovered, stalled: [], stallsAt };
  const details = { lasted_ms: now - stay.since, usual_ms: usualMs };
  const stalled: News[] = [{ type: 'run.stalled', details }];
  return { stay: { ...stay, stalled: true }, recovered, stalled, stallsAt: Infinity };
}

/** When a stay will have lasted too long, milliseconds since the epoch. */
export function stallTime({ since }: Stay, stallAfterMs: number, usualMs: number | null): number {
  return since + Math.max(stallAfterMs, PATIENCE * (usualMs ?? 0));
}

/** False for runs that have ended, and for those that wait for a human: reminders tell of these. */
function canStall(status: string): boolean {
  return !isTerminalStatus(status) && !isAwaiting(status);
}

/** A run that fails or is stopped has not recovered; that it ended is told anyway. */
function recovery({ stay, next, now }: StayContext): News[] {
  if (stay?.stalled !== true || next.status === 'failed' || next.status === 'stopped') return [];
  return [{ type: 'run.recovered', details: { lasted_ms: now - stay.since } }];
}

/** A state has lasted since it was first seen, unless Noxus says when it began. */
function beginning(before: RunSnapshot | null, run: RunSnapshot, now: number): number {
  const state = stateOf(run);
  if (before !== null || (state !== 'queued' && state !== 'running/0')) return now;
  const began = state === 'queued' ? run.created_at : (run.started_at ?? run.created_at);
  return began === null ? now : Math.min(Date.parse(began), now);
}

/** What counts as one state of a run: a status, and while it runs every ten per cent of its progress. */
function stateOf({ status, progress }: RunSnapshot): string {
  return status === 'running'
    ? `running/${Math.floor((progress ?? 0) / BUCKET_PERCENT) * BUCKET_PERCENT}`
    : status;
}

/**
 * In how long nearly all runs of a workflow leave a stage, by what was learned of the stage, else of
 * the workflow as a whole.
 * @returns milliseconds; null while too little is known
 */
export function usualStayMs(
  learned: StatisticsLookup,
  { source, run, stages }: { source: string; run: RunSnapshot; stages: readonly Stage[] },
): number | null {
  const stage = stages.at(-1);
  const ofStage = stage && usualStayS(learned(source, run.workflow_id, stage.state));
  const usual = ofStage ?? usualStayS(learned(source, run.workflow_id, null));
  return usual === null ? null : Math.round(usual * 1_000);
}

/** Of stays that are too few for a p99, the longest one. @returns seconds */
function usualStayS(statistics: Statistics | undefined): number | null {
  if (statistics === undefined) return null;
  const longest = statistics.endings.findLastIndex((count) => count > 0);
  if (longest === -1) return null;
  return quantile(statistics, NEARLY_ALL) ?? BIN_EDGES_S[longest] ?? Infinity;
}
