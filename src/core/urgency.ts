import type { Profile, Watch } from './watch.ts';

/** For how many rounds, of one poll for every watch, a poll lets others go first. */
const ROUNDS: Record<Profile, number> = { urgent: 0, normal: 1, frugal: 2 };

/**
 * By when a poll should have begun. While the budget is short, the earliest deadline goes first.
 * Who wants to look again soon, because much is expected of it, has an early one; the others have
 * theirs later by rounds, so that they do not stand in the way of the urgent. Yet each deadline comes
 * some time, so that nobody starves.
 * @param roundMs how long it takes to poll every watch of the source once
 * @returns milliseconds since the epoch
 */
export function pollDeadline(
  watch: Pick<Watch, 'nextPollAt' | 'lastPolledAt' | 'profile' | 'maxDelayMs'>,
  { now, roundMs }: { now: number; roundMs: number },
): number {
  const dueAt = watch.nextPollAt ?? now;
  const intervalMs = Math.max(0, dueAt - (watch.lastPolledAt ?? dueAt));
  const patienceMs = intervalMs + ROUNDS[watch.profile] * roundMs;
  return dueAt + Math.min(patienceMs, watch.maxDelayMs ?? Infinity);
}
