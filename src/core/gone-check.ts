import { withChanges } from './watch-copy.ts';
import type { Watch } from './watch.ts';

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
    gone: null,
    missing: null,
    trouble: null,
    unreachable: true,
    endedAt: null,
    nextPollAt: now,
  });
}
