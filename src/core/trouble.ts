import { troubleDelay } from './cadence.ts';
import { isoTime } from './event.ts';
import type { Finding, ObserveContext } from './look.ts';
import type { FetchTrouble, TroubleKind } from './outcome.ts';
import type { Missing, Watch } from './watch.ts';

/** How many polls must confirm that a run is missing before it counts as gone. */
const GONE_CONFIRMATIONS = 3;

/** From this many 404s on, the source has to show that it answers for other runs. */
const DOUBTFUL_FROM = 2;

/**
 * A missing run. It counts as gone only if this lasts, since runs may become visible late. The
 * source must also have answered for other runs since; else the source is the one that is
 * unreachable.
 */
export function runMissing(
  watch: Watch,
  said: Pick<Missing, 'code' | 'message'>,
  { now, policy, answeredAt, closedFor }: ObserveContext,
): Finding {
  const since = watch.missing?.since ?? now;
  const count = (watch.missing?.count ?? 0) + 1;
  const isProved = hasAnsweredSince(since, answeredAt);
  if (isProved && count > GONE_CONFIRMATIONS && now >= since + policy.goneAfterMs) {
    return runGone({ ...said, since });
  }
  const stepMs = closedFor !== null ? 0 : policy.goneAfterMs / GONE_CONFIRMATIONS;
  return {
    changes: { missing: { ...said, since, count } },
    news: [],
    nextPollAt: now + Math.max(stepMs, policy.minIntervalMs),
    isDoubtful: !isProved && count >= DOUBTFUL_FROM,
  };
}

function hasAnsweredSince(since: number, answeredAt: number | null): boolean {
  return answeredAt !== null && answeredAt > since;
}

function runGone(gone: Missing): Finding {
  return {
    changes: { state: 'gone', gone, missing: null, trouble: null },
    news: [{ type: 'run.gone', details: { error: { ...gone, since: isoTime(gone.since) } } }],
    nextPollAt: gone.since,
  };
}

/** A failure while the source is closed is no failure of the run, which waits for its next poll. */
export function readFailed(watch: Watch, look: FetchTrouble, context: ObserveContext): Finding {
  const { now, policy, random } = context;
  const isSourceClosed = context.closedFor !== null;
  const failures = watch.cadence.failures + (isSourceClosed ? 0 : 1);
  const delayMs = isSourceClosed ? policy.minIntervalMs : troubleDelay(failures, random);
  const finding = cannotTell(watch, look, now + delayMs, context);
  return { ...finding, changes: { ...finding.changes, cadence: { ...watch.cadence, failures } } };
}

/**
 * The poll showed nothing of the run: its snapshot remains. Only a long silence raises an event,
 * and only while its source answers for others. Time without requests is no silence: the lag of
 * polls does not count.
 */
function cannotTell(
  watch: Watch,
  { kind, message }: { kind: TroubleKind; message: string },
  retryAt: number,
  { now, policy, lagMs, answeredAt, openSince }: ObserveContext,
): Finding {
  const { since, lateMs } = silenceOf(watch, now, lagMs);
  const trouble = { kind, message, since, ...(lateMs > 0 && { lateMs }) };
  // While the whole source gave no answer, this run did not fail.
  const failingSince = Math.max(since + lateMs, openSince ?? since);
  const unreachableAt = failingSince + policy.unreachableAfterMs;
  const isDue = !watch.unreachable && now >= unreachableAt;
  const raise = isDue && hasAnsweredSince(failingSince, answeredAt);
  const isReported = watch.unreachable || raise;
  const error = { code: kind, message, since: isoTime(trouble.since) };
  return {
    changes: { trouble, unreachable: isReported },
    news: raise ? [{ type: 'watch.unreachable', details: { error } }] : [],
    nextPollAt: isReported || isDue ? retryAt : Math.min(retryAt, unreachableAt),
    isDoubtful: isDue && !raise,
  };
}

/** Since when the run has had no valid answer, and how much of that time polls lagged. */
function silenceOf({ trouble }: Watch, now: number, lagMs: number) {
  if (trouble === null) return { since: now, lateMs: 0 };
  return { since: trouble.since, lateMs: (trouble.lateMs ?? 0) + lagMs };
}
