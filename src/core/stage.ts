import { isAwaiting, isTerminalStatus, type RunSnapshot } from './run.ts';

/** How long a second of a phase's clock lasts by default, ms. */
export const SECOND_MS = 1_000;

/** The second of its clock at which a run that keeps its pace ends. */
const EXPECTED_END_S = 100;

/** Progress from which on the pace of a run can be estimated, per cent. */
const LEAST_PROGRESS = 10;

/** Beyond this, progress only says that little is left: a run may stop at 99 for long. */
const MOST_PROGRESS = 95;

/** The state of a run after a human's answer, whatever its status. */
const RESUMED = 'resumed';

/**
 * A phase in which a run was seen, and when it began. Its statistics are the time from its
 * beginning to the next major transition, whatever phases lie between: polls may miss those. Times
 * are milliseconds since the epoch.
 */
export interface Stage {
  /**
   * `queued`, `running/0` to `running/90` by progress, `awaiting_human_feedback`, `resumed` after
   * that, or a status that Noxus does not document.
   */
  state: string;
  /** When it began, as closely as is known. */
  since: number;
  /** When it was first seen; null where that was too late to know its beginning. */
  seenAt: number | null;
  /**
   * How long a second of the phase's clock lasts, ms. With progress it follows the pace of the run:
   * the end is expected at 100 s. So slow and fast runs of a workflow share statistics.
   */
  secondMs: number;
}

/** The name under which the time from a state's beginning to the next major transition is kept. */
export function newsAfter(state: string): string {
  return `news/${state}`;
}

/** When a run began to work: `started_at`, else `created_at` as an estimate. Null with neither. */
export function workBegan(run: RunSnapshot): number | null {
  return timeOf(run.started_at ?? run.created_at);
}

function timeOf(time: string | null): number | null {
  return time === null ? null : Date.parse(time);
}

/**
 * Whether a poll shows a major transition: the run ended, or began or ceased to wait for a human.
 */
export function isNews(previous: RunSnapshot, run: RunSnapshot): boolean {
  return isTerminalStatus(run.status) || isAwaiting(previous.status) !== isAwaiting(run.status);
}

/**
 * The phases of a run since the last major transition, the present one last. Each state occurs
 * once: where progress falls back, that phase begins anew.
 * @param stages the phases before this poll
 * @param previous the last snapshot; null on the first poll
 */
export function stagesAfter(
  stages: readonly Stage[],
  previous: RunSnapshot | null,
  run: RunSnapshot,
  now: number,
): Stage[] {
  if (isTerminalStatus(run.status)) return [];
  const isFresh = previous === null || isNews(previous, run);
  const earlier = isFresh ? [] : stages;
  const isResumed = isFresh ? previous !== null : earlier[0]?.state === RESUMED;
  const state = stateOf(run, isResumed);
  if (earlier.at(-1)?.state === state) return [...earlier];
  const began = beganAt(state, previous, run, now);
  const since = began ?? now;
  return [
    ...earlier.filter((stage) => stage.state !== state),
    { state, since, seenAt: began === null ? null : now, secondMs: secondOf(state, run, since) },
  ];
}

function stateOf(run: RunSnapshot, isResumed: boolean): string {
  if (isAwaiting(run.status)) return run.status;
  if (isResumed) return RESUMED;
  return run.status === 'running' ? `running/${bucketOf(run.progress)}` : run.status;
}

function bucketOf(progress: number | null): number {
  return Math.min(90, Math.max(0, Math.floor((progress ?? 0) / 10) * 10));
}

/**
 * When a state began: by Noxus's time where given, but never before a poll that saw another state.
 * Else half-way between the two polls; null without an earlier poll.
 */
function beganAt(
  state: string,
  previous: RunSnapshot | null,
  run: RunSnapshot,
  now: number,
): number | null {
  const lastPollAt = previous === null ? null : Date.parse(previous.observed_at);
  const givenAt = toldBeginning(state, previous, run);
  if (givenAt !== null) return Math.min(Math.max(givenAt, lastPollAt ?? givenAt), now);
  return lastPollAt === null ? null : Math.round((lastPollAt + now) / 2);
}

function toldBeginning(
  state: string,
  previous: RunSnapshot | null,
  run: RunSnapshot,
): number | null {
  if (state === 'queued') return previous === null ? timeOf(run.created_at) : null;
  if (state !== 'running/0') return null;
  if (previous === null) return workBegan(run);
  const isStarted = previous.status === 'queued' && run.started_at !== null;
  return isStarted ? workBegan(run) : null;
}

function secondOf(state: string, run: RunSnapshot, since: number): number {
  const reached = run.progress ?? 0;
  if (!state.startsWith('running/') || reached < LEAST_PROGRESS) return SECOND_MS;
  const progress = Math.min(reached, MOST_PROGRESS);
  const leftMs = (Math.max(0, since - (workBegan(run) ?? since)) * (100 - progress)) / progress;
  return Math.max(1, Math.round(leftMs / EXPECTED_END_S));
}
