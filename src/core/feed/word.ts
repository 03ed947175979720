import { isAwaiting, isTerminalStatus, type RunSnapshot } from '../run/snapshot.ts';
import { withChanges, type Watch } from '../watch/watch.ts';
import { isoTime } from '../event/event.ts';
import type { ListedRun } from './run-list.ts';

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

/**
 * Whether a list shows the end that a single poll has found since the page was read last. The poll came
 * first, which says as much for the list as a hint that is confirmed.
 */
export function isEndConfirmed(
  stored: { watch: Pick<Watch, 'state' | 'run'> } | null,
  listed: string,
  pageReadAt: number | null,
): boolean {
  if (stored === null || stored.watch.state !== 'finished' || pageReadAt === null) return false;
  const { run } = stored.watch;
  return run?.status === listed && Date.parse(run.observed_at) > pageReadAt;
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
  return sumOf(runId) % CHECKED_ONE_IN === 0;
}

/** The same for a run at each read, and as good as random between runs. */
export function sumOf(runId: string): number {
  let sum = 0;
  for (let at = 0; at < runId.length; at += 1) sum = (sum * 31 + runId.charCodeAt(at)) % 65_521;
  return sum;
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
