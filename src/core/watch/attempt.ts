import type { RunSnapshot } from '../run/snapshot.ts';
import { subscriptionKey, withChanges, type Subscription, type Watch } from './watch.ts';

/** How the attempt that an answer shows stands to the highest one that the watch has seen. */
type ShownAttempt = 'same' | 'earlier' | 'later';

/**
 * Which attempt of its run an answer shows. An earlier one is out of date. Of a run that ended before its source
 * declared attempts, only another status than that of the end shows another one.
 */
export function attemptShown(
  { attempt: known, run: before, isReopened }: Pick<Watch, 'attempt' | 'run' | 'isReopened'>,
  { attempt: shown, status }: Pick<RunSnapshot, 'attempt' | 'status'>,
): ShownAttempt {
  if (shown === undefined || shown === known) return 'same';
  if (known !== null) return shown > known ? 'later' : 'earlier';
  const end = isReopened ? (before?.status ?? status) : status;
  return end !== status && shown > 1 ? 'later' : 'same';
}

/** After an end, or a poll that found no other attempt, a list is not believed for so long, ms. */
const ENDED_FOR_MS = 10_000;

/** Whether a list shows another attempt of a run that had ended, so that a poll of it is worth while. */
export function isBegunAgain(
  watch: Watch,
  shown: Pick<RunSnapshot, 'attempt' | 'status'>,
  now: number,
): boolean {
  if (watch.state !== 'finished' || now - (watch.endedAt ?? 0) < ENDED_FOR_MS) return false;
  return attemptShown({ ...watch, isReopened: true }, shown) === 'later';
}

/** Whether a change shows another attempt of the run than the watch had seen before. */
export function isRestart(before: Watch, after: Watch): boolean {
  return before.restartedAt !== after.restartedAt && after.restartedAt !== null;
}

/** Whether a change of a reopened watch shows no other attempt. */
export function isSameEnd(before: Watch, after: Watch): boolean {
  return before.isReopened && !isRestart(before, after);
}

/**
 * The subscriptions that get the event of the end with a change, and not at their registration: those that were held
 * while the watch was reopened, once it has gone back to that end.
 */
export function releasedByEnd(before: Watch, after: Watch): Subscription[] {
  if (after.state !== 'finished' || !isSameEnd(before, after)) return [];
  return after.subscriptions.filter((one) => before.held.includes(subscriptionKey(one)));
}

/** Since when the present attempt of a run is watched, milliseconds since the epoch. */
export function watchedSince({
  registeredAt,
  restartedAt,
}: Pick<Watch, 'registeredAt' | 'restartedAt'>): number {
  return restartedAt ?? registeredAt;
}

/**
 * The watch of a run that has ended, to be polled for another attempt. Where a poll shows none, the watch goes back
 * to its end, which has no second event.
 */
export function reopened(
  watch: Watch,
  {
    now,
    timeoutMs,
    defaults,
  }: { now: number; timeoutMs: number; defaults: { minIntervalMs: number } },
): Watch {
  return withChanges(watch, {
    state: 'active',
    isReopened: true,
    trouble: null,
    unreachable: false,
    endedAt: null,
    nextPollAt: now,
    timeoutAt: now + timeoutMs,
    cadence: { intervalMs: defaults.minIntervalMs, failures: 0 },
  });
}
