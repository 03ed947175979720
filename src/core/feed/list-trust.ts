import { isoTime } from '../event/event.ts';
import { isAwaiting, isTerminalStatus, type RunSnapshot } from '../run/snapshot.ts';
import { withChanges, type Watch } from '../watch/watch.ts';
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

/** `confirmed`: a single poll found the very status; `moot`: the run has moved on since. */
type Verdict = 'confirmed' | 'moot' | 'contradicted' | 'open';

type JudgedWatch = Pick<Watch, 'run' | 'runAskedAt' | 'lastPolledAt' | 'state'>;

/**
 * Compares a hint with later single polls. The run may have moved on, so any change confirms the
 * hint; but the end of a run is final. A poll that began before the list was read contradicts
 * nothing: its result may be older even though its answer came later.
 */
export function judgeHint(hint: ListHint, watch: JudgedWatch): Verdict {
  const { run, runAskedAt, state } = watch;
  if (run === null || !isReadSince(hint, watch)) return state === 'active' ? 'open' : 'moot';
  const isNews = hint.known?.status !== hint.listed.status;
  if (isNews && run.status === hint.listed.status) return 'confirmed';
  if (!isContradicted(hint, run)) return 'moot';
  return (runAskedAt ?? -Infinity) >= hint.madeAt ? 'contradicted' : 'open';
}

/** What the list itself had reported confirms nothing: while a watch is active, a poll must. */
function isReadSince({ madeAt }: ListHint, { run, lastPolledAt, state }: JudgedWatch): boolean {
  if (state === 'active' && (lastPolledAt ?? 0) < madeAt) return false;
  return run !== null && Date.parse(run.observed_at) >= madeAt;
}

function isContradicted({ madeAt, listed, known }: ListHint, run: RunSnapshot): boolean {
  if (isTerminalStatus(listed.status)) return !isTerminalStatus(run.status);
  if (known === null) return false;
  const isUnchanged = run.status === known.status && run.progress === known.progress;
  return isUnchanged && known.at < madeAt - LAG_MS;
}

/** So many statuses of a list in a row must have been confirmed by single polls. */
const CONFIRMED = 20;

/** For so long a list that was contradicted is not taken at its word, ms. */
const LOST_MS = 3_600_000;

/** Of so many statuses one is confirmed by a single poll before it is reported, while such polls are soon made. */
const CHECKED_ONE_IN = 20;

/** A confirming poll may wait for so long before a list is taken at its word, ms. */
const PATIENCE_MS = 1_000;

/** How a list has done so far. */
export interface ListWord {
  /** Ends and waits that single polls have confirmed since the last contradiction. */
  confirmed: number;
  /** When a single poll last contradicted it, milliseconds since the epoch; 0 for never. */
  lostAt: number;
}

/** Whether what a list says is as good as a single poll, while those would wait. */
export function isEarned({ confirmed, lostAt }: ListWord, now: number): boolean {
  return confirmed >= CONFIRMED && now - lostAt > LOST_MS;
}

/**
 * Whether confirming polls would wait for too long.
 * @param waiting how many are due, those to come included
 */
export function isBacklog(waiting: number, requestsPerMs: number): boolean {
  return waiting > requestsPerMs * PATIENCE_MS;
}

/** Whether a status is one that a list can be taken at its word for. */
export function isOutcome(status: string): boolean {
  return isTerminalStatus(status) || isAwaiting(status);
}

/** Whether a listed run says enough to be reported without a single poll. */
export function isReportable({ run }: Watch, listed: ListedRun): boolean {
  if (run === null || listed.workflow_id === null || !isOutcome(listed.status)) return false;
  return !isTerminalStatus(listed.status) || listed.finished_at !== null;
}

/** How many runs may wait for the polls that check them before they are reported. */
export function mostChecks(requestsPerMs: number): number {
  return Math.ceil(requestsPerMs * PATIENCE_MS);
}

/** Whether a run is one of those that a single poll may check before they are reported. */
export function isSample(runId: string): boolean {
  return hashOf(runId) % CHECKED_ONE_IN === 0;
}

/** The same for a run at each read, and as good as random between runs. */
export function hashOf(runId: string): number {
  let hash = 0;
  for (let at = 0; at < runId.length; at += 1) hash = (hash * 31 + runId.charCodeAt(at)) % 65_521;
  return hash;
}

/** The snapshot that a list gives of a run; what it lacks is as it was read last. */
export function snapshotOf(run: RunSnapshot, listed: ListedRun, readAt: number): RunSnapshot {
  return {
    ...run,
    status: listed.status,
    progress: listed.progress ?? run.progress,
    finished_at: listed.finished_at,
    observed_at: isoTime(readAt),
  };
}

/** The watch of a run that only a list has shown to end: active until a single poll confirms it. */
export function unconfirmed(before: Watch, after: Watch, nextPollAt: number): Watch {
  const { polls, lastPolledAt } = before;
  return withChanges(after, { state: 'active', endedAt: null, polls, lastPolledAt, nextPollAt });
}
