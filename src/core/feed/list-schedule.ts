import { jitterAround, type Random } from '../backoff.ts';
import { planBatch, type BatchMember, type BatchPlan } from './batch.ts';
import { memberToCheck } from './list-check.ts';
import type { ListFindings } from './list-findings.ts';
import type { ListMember } from './list-member.ts';
import type { ListStanding } from './list-standing.ts';

const JITTER = 0.1;

/** Delay until the next sweep after one that found too few members, ms. */
const FUTILE_MS = 10_000;

/** Where sweeping does not pay, the decision is made again after a random time, ms. */
const RECONSIDER_MS = { least: 5_000, most: 10_000 };

/** What a sweep changes in the schedule. */
export interface ListSchedule {
  /** Members with deferred single polls. */
  putOff: ListMember[];
  /** Members polled at their own interval again, because the list does not cover them. */
  recalled: ListMember[];
  /** An unchanged member to poll now, to check the list; null for none. */
  toCheck: ListMember | null;
  /** When the list was last checked, this sweep included. */
  checkedAt: number;
  /** From this sweep to the next one, ms. */
  nextMs: number;
}

/**
 * Until when a list is not swept and each run is polled at its own interval. The reasons: the list
 * was given up, or would take more requests. Null where a sweep may start now. Milliseconds since
 * the epoch.
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
  /** Pages that the sweep read. */
  pages: number;
  minIntervalMs: number;
  now: number;
  random: Random;
}

/** Plans anew from the members that the sweep found and the pages that it took. */
export function scheduleAfter(
  { changed, unchanged, missing }: ListFindings,
  { checkedAt, now, ...sweep }: LookTold,
): ListSchedule {
  const { pays, intervalMs } = planBatch([...changed, ...unchanged], sweep);
  if (!pays) {
    const recalled = [...unchanged, ...missing];
    return { putOff: [], recalled, toCheck: null, checkedAt, nextMs: FUTILE_MS };
  }
  const nextMs = jitterAround(intervalMs, JITTER, sweep.random);
  const toCheck = memberToCheck(unchanged, { checkedAt, checkEveryMs: nextMs, now });
  return {
    putOff: unchanged,
    recalled: missing,
    toCheck,
    checkedAt: toCheck === null ? checkedAt : now,
    nextMs,
  };
}
