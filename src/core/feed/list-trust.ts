import { isTerminalStatus, type RunSnapshot } from '../run/snapshot.ts';
import type { Watch } from '../watch/watch.ts';
import type { ListOutcome, ListedRun } from './run-list.ts';

/** How long a list is avoided after its first failure; each further failure doubles it. */
const FIRST_AVOIDED_MS = 30_000;
const LONGEST_AVOIDED_MS = 1_800_000;

/** A single poll within this time does not contradict a list: either may lag behind, ms. */
const LAG_MS = 5_000;

/**
 * Why a list is given up: it cannot be read, costs too much, is throttled again and again, or single
 * polls contradict it.
 */
export type FallbackReason = UnreadableReason | 'too_large' | 'throttled' | 'disagrees';

type UnreadableReason = Exclude<ListOutcome['kind'], 'page' | 'rate_limited'>;

/** How far a list is trusted. Times are milliseconds since the epoch. */
export interface ListTrust {
  /** How often it was given up since it last proved reliable. */
  failures: number;
  /** Until when it is not read, or since when it is trusted again. */
  since: number;
  /** True where the last read was throttled. */
  isThrottled: boolean;
}

export const NEW_TRUST: ListTrust = { failures: 0, since: 0, isThrottled: false };

/** Gives up a list for a while, longer each time. @param now when it may be read again at all */
export function givenUp({ failures }: ListTrust, now: number): ListTrust {
  return { failures: failures + 1, since: now + avoidedMs(failures + 1), isThrottled: false };
}

/**
 * The trust after a throttled read. The source pauses as a whole. A list that is throttled again right
 * after the pause is throttled by itself: single polls wait for it, so it would stop all of them.
 * @returns null where the list is to be given up
 */
export function throttled(trust: ListTrust): ListTrust | null {
  return trust.isThrottled ? null : { ...trust, isThrottled: true };
}

/**
 * The trust after a good read. Failures are forgotten once the list has been good for as long as it
 * was avoided.
 * @returns null where nothing changes
 */
export function heldGood(
  { failures, since, isThrottled }: ListTrust,
  now: number,
): ListTrust | null {
  const isProved = failures > 0 && now - since > avoidedMs(failures);
  if (!isThrottled && !isProved) return null;
  return { since, failures: isProved ? 0 : failures, isThrottled: false };
}

function avoidedMs(failures: number): number {
  if (failures === 0) return 0;
  return Math.min(LONGEST_AVOIDED_MS, FIRST_AVOIDED_MS * 2 ** Math.min(failures - 1, 10));
}

type RunState = Pick<RunSnapshot, 'status' | 'progress'>;

/** A hint from a list that no single poll has judged yet. Times are ms since the epoch. */
export interface ListHint {
  /** When the list was read. */
  madeAt: number;
  /** What the list showed. */
  listed: RunState;
  workflowId: string | null;
  /** When the run was created, by the list. */
  createdAt: number | null;
  /** What the single poll before had found, and when; null where there was none. */
  known: (RunState & { at: number }) | null;
}

/** The hint that a listed run gives. @param madeAt when the list was read, ms since the epoch */
export function hintOf({ run }: Watch, listed: ListedRun, madeAt: number): ListHint {
  const { status, progress, workflow_id: workflowId, created_at: createdAt } = listed;
  const known = run && {
    status: run.status,
    progress: run.progress,
    at: Date.parse(run.observed_at),
  };
  return {
    madeAt,
    listed: { status, progress },
    workflowId,
    createdAt: createdAt === null ? null : Date.parse(createdAt),
    known,
  };
}

/**
 * A single poll that disagrees with a hint may lag behind the list: the first one is repeated after
 * this time, and the hint is contradicted by one that begins so long after the list was read, ms.
 */
const FIRST_AGAIN_MS = 600;
const CONTRADICTED_MS = 2_000;

/**
 * `settled`: a single poll agrees, or the run has moved on since. `open`: no single poll has read it.
 * `doubted`: one disagrees, and is repeated.
 */
type Verdict = 'settled' | 'open' | 'doubted' | 'contradicted';

type JudgedWatch = Pick<Watch, 'run' | 'runAskedAt' | 'restartedAt' | 'state'>;

/**
 * Compares a hint with later single polls. The run may have moved on, so any change confirms the
 * hint, as another attempt does; but the end of an attempt is final. A poll that began before the list was read contradicts
 * nothing: its result may be older even though its answer came later.
 */
export function judgeHint(hint: ListHint, watch: JudgedWatch): Verdict {
  const { run, runAskedAt, restartedAt, state } = watch;
  const isReadSince = run !== null && Date.parse(run.observed_at) >= hint.madeAt;
  if (!isReadSince) return state === 'active' ? 'open' : 'settled';
  if (restartedAt !== null && restartedAt >= hint.madeAt) return 'settled';
  if (!isContradicted(hint, run)) return 'settled';
  const afterMs = (runAskedAt ?? -Infinity) - hint.madeAt;
  if (afterMs < 0) return 'open';
  return afterMs < CONTRADICTED_MS ? 'doubted' : 'contradicted';
}

/** After how long a single poll that disagrees with a hint is repeated, ms; null for not at all. */
export function repeatedInMs(hint: ListHint, watch: JudgedWatch, now: number): number | null {
  if (watch.state !== 'active' || judgeHint(hint, watch) !== 'doubted') return null;
  const afterMs = (watch.runAskedAt ?? hint.madeAt) - hint.madeAt;
  if (afterMs < FIRST_AGAIN_MS) return FIRST_AGAIN_MS;
  return Math.max(0, hint.madeAt + CONTRADICTED_MS - now);
}

/** Whether a hint that is doubted is still being repeated: a read of the page asks for nothing more. */
export function isRepeated({ madeAt }: ListHint, now: number): boolean {
  return now < madeAt + CONTRADICTED_MS;
}

function isContradicted({ madeAt, listed, known }: ListHint, run: RunSnapshot): boolean {
  if (isTerminalStatus(listed.status)) return !isTerminalStatus(run.status);
  if (known === null) return false;
  const isUnchanged = run.status === known.status && run.progress === known.progress;
  return isUnchanged && known.at < madeAt - LAG_MS;
}
