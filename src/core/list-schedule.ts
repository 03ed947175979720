import { jitterAround, type Random } from './backoff.ts';
import { planBatch, type BatchMember, type BatchPlan } from './batch.ts';
import { memberToCheck } from './list-check.ts';
import type { ListFindings } from './list-findings.ts';
import type { ListMember } from './list-member.ts';
import type { ListStanding } from './list-standing.ts';

const JITTER = 0.1;

/** When a list is read again on which too few of the members were, ms. */
const FUTILE_MS = 10_000;

/** Where reading the list does not pay, this is thought over again after some time, ms. */
const RECONSIDER_MS = { least: 5_000, most: 10_000 };

/** What follows from a look at a list. */
export interface ListSchedule {
  /** Members whose single polls are put off. */
  putOff: ListMember[];
  /** Members that are polled at their own pace, for the list does not stand in for them. */
  recalled: ListMember[];
  /** Read by itself now although nothing of it has changed, to check the list; null for none. */
  toCheck: ListMember | null;
  /** When the list was last checked, this look included. */
  checkedAt: number;
  /** From this look to the next one, ms. */
  nextMs: number;
}

/**
 * Until when a list is not read and each of its runs is polled at its own pace: because it was given
 * up, or would take more requests. Null where it is to be read now. Milliseconds since the epoch.
 */
export function leftAloneUntil(
  { since }: Pick<ListStanding, 'since'>,
  { members, plan, now }: { members: readonly BatchMember[]; plan: BatchPlan; now: number },
): number | null {
  if (since > now) return since;
  if (plan.pays) return null;
  const shortestMs = Math.min(...members.map(({ intervalMs }) => intervalMs));
  return now + Math.min(Math.max(shortestMs, RECONSIDER_MS.least), RECONSIDER_MS.most);
}

interface LookTold extends Pick<ListStanding, 'checkedAt'> {
  /** Pages that it took. */
  pages: number;
  minIntervalMs: number;
  now: number;
  random: Random;
}

/** Planned anew by those that were found, and by the pages that it took to find them. */
export function scheduleAfter(
  { changed, unchanged, missing }: ListFindings,
  { checkedAt, now, ...told }: LookTold,
): ListSchedule {
  const { pays, intervalMs } = planBatch([...changed, ...unchanged], told);
  if (!pays) {
    const recalled = [...unchanged, ...missing];
    return { putOff: [], recalled, toCheck: null, checkedAt, nextMs: FUTILE_MS };
  }
  const nextMs = jitterAround(intervalMs, JITTER, told.random);
  const toCheck = memberToCheck(unchanged, { checkedAt, lookEveryMs: nextMs, now });
  return {
    putOff: unchanged,
    recalled: missing,
    toCheck,
    checkedAt: toCheck === null ? checkedAt : now,
    nextMs,
  };
}
