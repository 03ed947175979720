import type { ListMember } from './list-member.ts';

/** The shortest time from one check of a list to the next, ms. */
const LEAST_MS = 5_000;

/** Looks at a list for each check of it, at the least: this bounds what checks cost. */
const LOOKS_PER_CHECK = 4;

/**
 * The run by whose single read a list is checked, where it is time for that. A list that stands still
 * claims nothing that a read could refute: without checks, its runs would wait for their backstops.
 * @param checkedAt when it was checked last; this and `now` in milliseconds since the epoch
 */
export function memberToCheck(
  unchanged: readonly ListMember[],
  { checkedAt, lookEveryMs, now }: { checkedAt: number; lookEveryMs: number; now: number },
): ListMember | null {
  const everyMs = Math.max(LEAST_MS, LOOKS_PER_CHECK * lookEveryMs);
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
