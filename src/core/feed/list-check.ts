import type { ListMember } from './list-member.ts';

/** The shortest time from one check of a list to the next, ms. */
const LEAST_MS = 5_000;

/** Sweeps of a list per check of it, at least; this bounds what checks cost. */
const LOOKS_PER_CHECK = 4;

/**
 * The run that a single poll reads to check the list, if a check is due. An unchanging list gives
 * no hints that a single poll could contradict. Without checks, the runs of a frozen list would
 * wait for their backstops.
 * @param checkedAt when the list was last checked; this and `now` in milliseconds since the epoch
 */
export function memberToCheck(
  unchanged: readonly ListMember[],
  { checkedAt, checkEveryMs, now }: { checkedAt: number; checkEveryMs: number; now: number },
): ListMember | null {
  const everyMs = Math.max(LEAST_MS, LOOKS_PER_CHECK * checkEveryMs);
  if (now - checkedAt < everyMs) return null;
  const [first, ...others] = unchanged;
  if (first === undefined) return null;
  const longestUnread = others.reduce(
    (one, other) => (readAt(other) < readAt(one) ? other : one),
    first,
  );
  return now - readAt(longestUnread) < everyMs ? null : longestUnread;
}

function readAt({ watch }: ListMember): number {
  return watch.lastPolledAt ?? 0;
}
