import type { Delivery } from './delivery.ts';

/** How long a message waits for a name at the most, ms. */
export const NAME_WAIT_MS = 2_000;

/** A message that lacks a name is checked so long after its event, ms; the last time, it is sent without. */
const CHECKS_MS = [300, 1_000, NAME_WAIT_MS];

/**
 * When a message that lacks a name is checked next, milliseconds since the epoch; null where it is sent now:
 * it has waited, or was attempted before, or a user wants it.
 */
export function nextNameCheck(
  { createdAt, last, requested, urgent }: Delivery,
  now: number,
): number | null {
  // Before its event only where a step of the clock was taken back.
  if (last !== null || requested || urgent || now < createdAt) return null;
  return CHECKS_MS.map((ms) => createdAt + ms).find((at) => at > now) ?? null;
}

/** Whether a delivery waits for a name, and has waited for nothing else. */
export function isNameCheck({
  createdAt,
  nextAttemptAt,
}: Pick<Delivery, 'createdAt' | 'nextAttemptAt'>): boolean {
  return CHECKS_MS.some((ms) => createdAt + ms === nextAttemptAt);
}
