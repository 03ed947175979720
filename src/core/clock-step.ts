/** Tolerated error of a clock that a busy host reads over a network, ms. */
const TOLERANCE_MS = 1_000;

/**
 * One reading of the store's clock, with monotonic times of this process before and after it, ms.
 */
interface ClockReading {
  now: number;
  steps: number;
  askedAt: number;
  answeredAt: number;
}

/**
 * How far the store's clock was set forward between two readings: its advance beyond the time that
 * can have passed. 0 where no step shows, or where a step was already corrected in between.
 * @returns ms
 */
export function stepBetween(before: ClockReading, after: ClockReading): number {
  if (before.steps !== after.steps) return 0;
  const mostPassed = after.answeredAt - before.askedAt;
  const step = after.now - before.now - mostPassed;
  return step > TOLERANCE_MS ? step : 0;
}
