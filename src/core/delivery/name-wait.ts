import type { Delivery } from './delivery.ts';

/** How long a message waits for a name at the most, ms. */
export const NAME_WAIT_MS = 2_000;

/** A message that lacks a name is checked so long after its first event, ms; the last time, it is sent without. */
const CHECKS_MS = [300, 1_000, NAME_WAIT_MS];

/**
 * When a message that lacks a name is checked next, milliseconds since the epoch; null where it is sent now: it has
 * waited, or one of its deliveries was attempted before, or a user wants it. Its deliveries wait together, as long as
 * the oldest, so that it stays one message.
 */
export function nextNameCheck(deliveries: readonly Delivery[], now: number): number | null {
  // Before its event only where a step of the clock was taken back.
  const isSentNow = ({ createdAt, last, requested, urgent }: Delivery) =>
    last !== null || requested || urgent || now < createdAt;
  if (deliveries.some(isSentNow)) return null;
  const oldest = Math.min(...deliveries.map(({ createdAt }) => createdAt));
  return CHECKS_MS.map((ms) => oldest + ms).find((at) => at > now) ?? null;
}

/** Whether a delivery was postponed for no longer than its message waits for a name. */
export function isNameCheck({
  createdAt,
  nextAttemptAt,
}: Pick<Delivery, 'createdAt' | 'nextAttemptAt'>): boolean {
  const waitedMs = (nextAttemptAt ?? 0) - createdAt;
  return waitedMs > 0 && waitedMs <= NAME_WAIT_MS;
}
