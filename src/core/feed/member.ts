import { nextPoll, type CadenceContext, type SeenWatch } from '../cadence/cadence.ts';
import { isSubscribed, type EndpointFilter } from '../delivery/delivery.ts';
import { isTerminalStatus } from '../run/snapshot.ts';
import { expiryOf, remindersUnder } from '../watch/acknowledgement.ts';
import type { PollPolicy } from '../watch/observation.ts';
import { stallTime, usualDwellMs } from '../watch/stall.ts';
import { isPending, nextReminderAt } from '../watch/waits.ts';
import type { Watch } from '../watch/watch.ts';

/** A watch that a list feed may cover. */
export interface ListMember {
  /** When the run was created, milliseconds since the epoch; lists are sorted by it. NaN: unknown. */
  createdAt: number;
  /** The interval at which single polls would read the run now, ms. */
  intervalMs: number;
  watch: SeenWatch;
  /** Whether progress alone calls for a poll. */
  followsProgress: boolean;
  /**
   * When a single poll is due at the latest whatever the list shows, milliseconds since the epoch.
   */
  latestAt: number;
}

export interface MemberContext extends CadenceContext {
  policy: PollPolicy;
}

/**
 * A watch as a member of a list. Null for runs that are missing, unreadable, in doubt, or in a wait
 * that is not notified yet: only single polls can judge those.
 */
export function listMember(watch: Watch, context: MemberContext): ListMember | null {
  const { run, trouble, missing, doubt } = watch;
  if (run === null || trouble !== null || missing !== null || doubt !== null) return null;
  if (isPending(watch.waits)) return null;
  // Of an end that only a list has shown, a single poll must tell.
  if (isTerminalStatus(run.status)) return null;
  const seen = { ...watch, run };
  return {
    watch: seen,
    createdAt: run.created_at === null ? NaN : Date.parse(run.created_at),
    intervalMs: intervalNow(seen, context),
    followsProgress: watch.dwell?.stalled === true || wantsProgress(watch, context.wants),
    latestAt: latestReadAt(seen, context),
  };
}

/**
 * When a run must be read at the latest although nothing seems to change: for a reminder, the end of
 * an acknowledgement, or a stall.
 * @returns milliseconds since the epoch
 */
export function latestReadAt(
  watch: SeenWatch,
  context: Pick<MemberContext, 'policy' | 'statistics'>,
): number {
  const { waiting, acknowledged } = watch;
  const reminders = remindersUnder(acknowledged, context.policy.remindAfterMs);
  const reminderAt = nextReminderAt(waiting, reminders);
  return Math.min(reminderAt, expiryOf(acknowledged), stallsAt(watch, context));
}

/**
 * The interval at which single polls would read a run now. Where intervals grow while nothing
 * changes, the time since the last poll counts as one interval: the list would have shown a change.
 */
function intervalNow(watch: SeenWatch, context: CadenceContext): number {
  const quietMs = context.now - (watch.lastPolledAt ?? context.now);
  const intervalMs = Math.max(watch.cadence.intervalMs, quietMs);
  const unseen = { ...watch, cadence: { ...watch.cadence, intervalMs } };
  return nextPoll(unseen, false, context).intervalMs;
}

function wantsProgress(watch: Watch, wants: EndpointFilter): boolean {
  return watch.subscriptions.some((one) => isSubscribed(one, 'run.progress', watch, wants));
}

/** When the run will have dwelt in its state for too long, by the present statistics. */
function stallsAt(
  watch: SeenWatch,
  { policy, statistics }: Pick<MemberContext, 'policy' | 'statistics'>,
): number {
  const { dwell } = watch;
  if (dwell === null || dwell.stalled) return Infinity;
  return stallTime(dwell, policy.stallAfterMs, usualDwellMs(statistics, watch));
}
