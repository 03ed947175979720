import { isAwaiting, isTerminalStatus, type RunSnapshot } from './run.ts';

/** How the clock of a state goes where nothing better is known: by the second. */
export const SECOND_MS = 1_000;

/** Where on its clock the end of a run is expected that keeps the pace of its progress. */
const EXPECTED_END_S = 100;

/** Progress from which on the pace of a run can be told, per cent. */
const LEAST_PROGRESS = 10;

/** Beyond this, progress says only that little is left: a run may sit at 99 for long. */
const MOST_PROGRESS = 95;

/** The state of a run that has got its answer from a human, whatever its status is then. */
const RESUMED = 'resumed';

/**
 * A state in which a run was seen, and when that began. What is asked of a stage is how long the next
 * news takes from its beginning on, whatever the run passes through on the way: between two looks
 * nobody knows. Times are milliseconds since the epoch.
 */
export interface Stage {
  /**
   * `queued`, `running/0` to `running/90` by progress, `awaiting_human_feedback`, `resumed` after
   * that, or a status that Noxus does not document.
   */
  state: string;
  /** When it began, as closely as is known. */
  since: number;
  /** When it was first seen; null where that was too late to know when it began. */
  seenAt: number | null;
  /**
   * How long a second of the stage's clock lasts, ms. With progress it goes by the pace of the run: its
   * end is expected at 100 s, so that slow and fast runs of a workflow tell of one another.
   */
  secondMs: number;
}

/** Under what name it is learned how long news takes from the beginning of a state on. */
export function newsAfter(state: string): string {
  return `news/${state}`;
}

/**
 * When a run began to work; also where it was queued, the best that is known of that. Null where
 * Noxus gives neither time.
 */
export function workBegan(run: RunSnapshot): number | null {
  return timeOf(run.started_at ?? run.created_at);
}

function timeOf(time: string | null): number | null {
  return time === null ? null : Date.parse(time);
}

/** Whether a look is news to everyone: the run has ended, or begun or ceased to wait for a human. */
export function isNews(previous: RunSnapshot, run: RunSnapshot): boolean {
  return isTerminalStatus(run.status) || isAwaiting(previous.status) !== isAwaiting(run.status);
}

/**
 * The stages of a run since the last news, the present one last. Each state is there once: a run
 * whose progress falls back begins the stage anew.
 * @param stages what they were before this look
 * @param previous what the last look saw; null on the first
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
 * When a state began: by Noxus's account where it gives one, though never before a look that saw the
 * run elsewhere, else half-way between the two looks. Null where there was no look before.
 */
function beganAt(
  state: string,
  previous: RunSnapshot | null,
  run: RunSnapshot,
  now: number,
): number | null {
  const lastLook = previous === null ? null : Date.parse(previous.observed_at);
  const told = toldBeginning(state, previous, run);
  if (told !== null) return Math.min(Math.max(told, lastLook ?? told), now);
  return lastLook === null ? null : Math.round((lastLook + now) / 2);
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
