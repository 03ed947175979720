import type { BatchMember } from './batch.ts';
import { nextLook, type CadenceContext, type SeenWatch } from './cadence.ts';
import { isTold, type EndpointFilter } from './delivery.ts';
import type { PollPolicy } from './look.ts';
import { nextReminderAt } from './reminder.ts';
import { stallTime, usualStayMs } from './stall.ts';
import type { StoredWatch, Watch } from './watch.ts';

/** A watch that a list may stand in for. */
export interface ListMember extends BatchMember {
  watch: SeenWatch;
  version: number;
  /** Whether progress alone is worth a read. */
  followsProgress: boolean;
  /** By when it must be read whatever a list says, milliseconds since the epoch. */
  latestAt: number;
}

export interface MemberContext extends CadenceContext {
  policy: PollPolicy;
}

/** A watch as a list sees it. Null for a run that can not be read, or not be found: only single reads tell. */
export function listMember(
  { watch, version }: StoredWatch,
  context: MemberContext,
): ListMember | null {
  const { run, trouble, missing } = watch;
  if (run === null || trouble !== null || missing !== null) return null;
  const seen = { ...watch, run };
  return {
    watch: seen,
    version,
    createdAt: run.created_at === null ? NaN : Date.parse(run.created_at),
    intervalMs: intervalNow(seen, context),
    followsProgress: watch.stay?.stalled === true || isToldOfProgress(watch, context.wants),
    latestAt: Math.min(
      nextReminderAt(watch.waiting, context.policy.remindAfterMs),
      stallsAt(seen, context),
    ),
  };
}

/**
 * At what interval a run would be polled alone just now. Where intervals grow while nothing changes,
 * the time since the last read counts as one: what had changed since, the list would have shown.
 */
function intervalNow(watch: SeenWatch, context: CadenceContext): number {
  const quietMs = context.now - (watch.lastPolledAt ?? context.now);
  const intervalMs = Math.max(watch.cadence.intervalMs, quietMs);
  const unseen = { ...watch, cadence: { ...watch.cadence, intervalMs } };
  return nextLook(unseen, false, context).intervalMs;
}

function isToldOfProgress(watch: Watch, wants: EndpointFilter): boolean {
  return watch.subscriptions.some((one) => isTold(one, 'run.progress', watch, wants));
}

/** When the state of a run will have lasted too long, by what is known now. */
function stallsAt(watch: SeenWatch, { policy, statistics }: MemberContext): number {
  const { stay } = watch;
  if (stay === null || stay.stalled) return Infinity;
  return stallTime(stay, policy.stallAfterMs, usualStayMs(statistics, watch));
}
