/** A clock that is read over a network, on a host that is busy, may be off by this much, ms. */
const TOLERANCE_MS = 1_000;

/** The store's clock as it was read, with own times around it that no setting of a clock changes, ms. */
interface ClockReading {
  now: number;
  steps: number;
  askedAt: number;
  answeredAt: number;
}

/**
 * By how much the store's clock was set forward between two readings: by what it moved more than can
 * have passed. 0 where it was not, or where the step has been taken out already.
 * @returns ms
 */
export function stepBetween(before: ClockReading, after: ClockReading): number {
  if (before.steps !== after.steps) return 0;
  const mostPassed = after.answeredAt - before.askedAt;
  const step = after.now - before.now - mostPassed;
  return step > TOLERANCE_MS ? step : 0;
}
