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

/**
 * The store's clock as this process knows it: the last reading, plus the time since then by the monotonic
 * clock. So setting this host's clock changes nothing. A reading only shows that the store's time lies within
 * the time the reading took. The clock therefore moves only as far as needed to be within that.
 */
export class OwnClock {
  /** Offset to add to the monotonic clock; null before the first reading. */
  private offset: number | null = null;
  private wallOffset: number;
  /** How far the store's clock is ahead of its host's. */
  private storeOffset = 0;

  constructor(
    private readonly wall: HostClocks['wall'],
    private readonly monotonic: HostClocks['monotonic'],
  ) {
    this.wallOffset = wall() - monotonic();
  }

  /** By the store's clock; by the process's own clock before the first reading. @returns ms since the epoch */
  now(): number {
    return Math.floor(this.offset === null ? this.wall() : this.monotonic() + this.offset);
  }

  /**
   * The time for people and receivers: the middle one of the store's clock, the time of the store's
   * host and that of this host. The store's clock alone may be behind for hours after its host stood
   * still, and each host's clock may be set wrong. @returns ms since the epoch
   */
  timeOfDay(): number {
    const now = this.now();
    const [, middle = now] = [this.wall(), now, now - this.storeOffset].sort((a, b) => a - b);
    return Math.floor(middle);
  }

  /** How far the process's wall clock is ahead of the store's. */
  skewMs(): number {
    return Math.round(this.wall() - this.now());
  }

  /** Whether the process's wall clock was set since the last reading. */
  hasJumped(): boolean {
    return Math.abs(this.wall() - this.monotonic() - this.wallOffset) > JUMP_MS;
  }

  adopt({ now: read, offsetMs, askedAt, answeredAt }: ClockReading): void {
    this.storeOffset = offsetMs;
    // The store rounds down to whole milliseconds.
    const [least, most] = [read - answeredAt, read + 1 - askedAt];
    this.offset = Math.min(Math.max(this.offset ?? (least + most) / 2, least), most);
    this.wallOffset = this.wall() - this.monotonic();
  }
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
