import { withChanges } from './watch-copy.ts';
import type { Watch } from './watch.ts';

/** How often it is checked whether a run that was gone is there again, ms. */
const EVERY_MS = 3_600_000;

/** For how long, ms. */
const FOR_MS = 86_400_000;

/** When a run that is gone is looked for next, ms since the epoch; null for no more. */
export function nextGoneCheck(watch: Pick<Watch, 'state' | 'endedAt'>, now: number): number | null {
  if (watch.state !== 'gone' || watch.endedAt === null) return null;
  const next = now + EVERY_MS;
  return next > watch.endedAt + FOR_MS ? null : next;
}

/**
 * The watch of a run that was gone and is there again, as it is before that is observed: active, with
 * what was known of the run, so that the poll's answer is compared with that.
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
