/**
 * One reading of the store's clock, with monotonic times of this process before and after it, ms.
 */
interface ClockReading {
  now: number;
  /** How far that is ahead of the time of the store's host. */
  offsetMs: number;
  askedAt: number;
  answeredAt: number;
}

/** The clocks of this process, in milliseconds. */
export interface HostClocks {
  /** Since the epoch; the host's administrator may set it. */
  wall: () => number;
  /** Runs forward only. */
  monotonic: () => number;
}

/** A wall clock that moved this much more than the monotonic one was set, ms. */
const JUMP_MS = 250;

/** The store's clock as this process knows it. Times are milliseconds since the epoch. */
export interface OwnClock {
  /** By the store's clock; by the process's own clock before the first reading. */
  now(): number;
  /**
   * The time for people and receivers: the middle one of the store's clock, the time of the store's
   * host and that of this host. The store's clock alone may be behind for hours after its host stood
   * still, and each host's clock may be set wrong.
   */
  timeOfDay(): number;
  /** How far the process's wall clock is ahead of the store's. */
  skewMs(): number;
  /** Whether the process's wall clock was set since the last reading. */
  hasJumped(): boolean;
  adopt(reading: ClockReading): void;
}

/**
 * Follows the store's clock: the last reading, plus the time since then by the monotonic clock. So
 * setting this host's clock changes nothing. A reading only shows that the store's time lies within
 * the time the reading took. The clock therefore moves only as far as needed to be within that.
 */
export function createOwnClock({ wall, monotonic }: HostClocks): OwnClock {
  /** Offset to add to the monotonic clock. */
  let offset: number | null = null;
  let wallOffset = wall() - monotonic();
  /** How far the store's clock is ahead of its host's. */
  let storeOffset = 0;

  const now = () => Math.floor(offset === null ? wall() : monotonic() + offset);
  return {
    now,
    timeOfDay() {
      const [, middle = now()] = [wall(), now(), now() - storeOffset].sort((a, b) => a - b);
      return Math.floor(middle);
    },
    skewMs: () => Math.round(wall() - now()),
    hasJumped: () => Math.abs(wall() - monotonic() - wallOffset) > JUMP_MS,
    adopt({ now: read, offsetMs, askedAt, answeredAt }) {
      storeOffset = offsetMs;
      // The store rounds down to whole milliseconds.
      const [least, most] = [read - answeredAt, read + 1 - askedAt];
      offset = Math.min(Math.max(offset ?? (least + most) / 2, least), most);
      wallOffset = wall() - monotonic();
    },
  };
}

/** A step forward that was taken out of the store's clock. */
export interface ClockStep {
  /** How far the clock was set back for it. */
  ms: number;
  /**
   * Due times from this one on move back, milliseconds since the epoch: those beyond the step, or all
   * that were to come, also the overdue ones, of a clock that had long been ahead.
   */
  from: number;
}

/** Tolerated error of a clock that a busy host reads over a network, ms. */
export const TOLERANCE_MS = 1_000;

/** A store's clock that is ahead by this much is set back where its host and this one agree, ms. */
const AHEAD_MS = 30_000;

/** How far the clocks of two hosts may be apart that agree, ms. */
const AGREE_MS = 2_000;

/**
 * How far the store's clock is ahead without need: its host was set right, and this host agrees. The
 * clock would be ahead for ten times as long, since it is slowed by a tenth.
 * @param wall the time of this host as the answer came, milliseconds since the epoch
 * @returns ms, 0 for a clock that is not
 */
export function needlessLead(
  { now, offsetMs }: Pick<ClockReading, 'now' | 'offsetMs'>,
  wall: number,
): number {
  const agrees = Math.abs(now - offsetMs - wall) <= AGREE_MS;
  return offsetMs >= AHEAD_MS && agrees ? offsetMs : 0;
}

/** A reading with the number of steps that the store had taken out of its clock by then. */
interface SteppedReading extends Omit<ClockReading, 'offsetMs'> {
  steps: number;
}

/**
 * How far the store's clock was set forward between two readings: its advance beyond the time that
 * can have passed. 0 where no step shows, or where a step was already corrected in between.
 * @returns ms
 */
export function stepBetween(before: SteppedReading, after: SteppedReading): number {
  if (before.steps !== after.steps) return 0;
  const mostPassed = after.answeredAt - before.askedAt;
  const step = after.now - before.now - mostPassed;
  return step > TOLERANCE_MS ? step : 0;
}
