import { isoTime } from '../event/event.ts';
import type { ObservationDraft, ObserveContext } from './observation.ts';
import { withChanges, type Missing, type Watch } from './watch.ts';

/** How many polls must confirm that a run is missing before it counts as gone. */
const GONE_CONFIRMATIONS = 3;

/** From this many 404s on, the source has to show that it answers for other runs. */
const DOUBTFUL_FROM = 2;

/**
 * A missing run, of which the source itself says that it does not exist. It
 * counts as gone only if this lasts, since runs may become visible late. The source must also have
 * answered for other runs since; else the source is the one that is unreachable.
 */
export function runMissing(
  watch: Watch,
  said: Pick<Missing, 'code' | 'message'>,
  { now, policy, answeredAt, closedFor }: ObserveContext,
): ObservationDraft {
  const since = watch.missing?.since ?? now;
  const count = (watch.missing?.count ?? 0) + 1;
  const isProved = answeredSince(since, answeredAt);
  if (isProved && count > GONE_CONFIRMATIONS && now >= since + policy.goneAfterMs) {
    return watch.isReopened ? noOtherAttempt(now) : runGone({ ...said, since });
  }
  const stepMs = closedFor !== null ? 0 : policy.goneAfterMs / GONE_CONFIRMATIONS;
  return {
    changes: { missing: { ...said, since, count } },
    news: [],
    nextPollAt: now + Math.max(stepMs, policy.minIntervalMs),
    isDoubtful: !isProved && count >= DOUBTFUL_FROM,
  };
}

/** Whether the source has answered for any run since then. */
export function answeredSince(since: number, answeredAt: number | null): boolean {
  return answeredAt !== null && answeredAt > since;
}

/** Its source has deleted the run since its end. */
function noOtherAttempt(now: number): ObservationDraft {
  const changes = { state: 'finished' as const, missing: null, trouble: null };
  return { changes, news: [], nextPollAt: now };
}

function runGone(gone: Missing): ObservationDraft {
  return {
    changes: { state: 'gone', gone, missing: null, trouble: null },
    news: [{ type: 'run.gone', details: { error: { ...gone, since: isoTime(gone.since) } } }],
    nextPollAt: gone.since,
  };
}

/** How often a poll checks whether a run that was gone is back, ms. */
const EVERY_MS = 3_600_000;

/** How long such checks go on, ms. */
const FOR_MS = 86_400_000;

/** When the next check of a run that is gone is due, ms since the epoch; null for never. */
export function nextGoneCheck(watch: Pick<Watch, 'state' | 'endedAt'>, now: number): number | null {
  if (watch.state !== 'gone' || watch.endedAt === null) return null;
  const next = now + EVERY_MS;
  return next > watch.endedAt + FOR_MS ? null : next;
}

/**
 * The watch of a run that is back, before the poll is observed. It is active and keeps the last
 * snapshot, so that the poll result is compared with that.
 */
export function revived(watch: Watch, now: number): Watch {
  return withChanges(watch, {
    state: 'active',
    changedAt: now,
    acknowledged: null,
    gone: null,
    missing: null,
    trouble: null,
    unreachable: true,
    endedAt: null,
    nextPollAt: now,
  });
}
