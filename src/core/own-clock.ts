/** The store's clock as it was read, with own times around it by a clock that only runs forward, ms. */
interface ClockReading {
  now: number;
  askedAt: number;
  answeredAt: number;
}

/** The clocks of this process, in milliseconds. */
export interface HostClocks {
  /** Since the epoch; anyone may set it. */
  wall: () => number;
  /** Runs forward only. */
  monotonic: () => number;
}

/** A wall clock that differs from the monotonic one by this much more than before was set, ms. */
const JUMP_MS = 250;

/** The store's clock as this process knows it. Times are milliseconds since the epoch. */
export interface OwnClock {
  /** By the store's clock; by the own one before the first reading. */
  now(): number;
  /** By how much the own wall clock is ahead of the store's. */
  skewMs(): number;
  /** Whether the own wall clock was set since the last reading. */
  hasJumped(): boolean;
  adopt(reading: ClockReading): void;
}

/**
 * Tells the time by the store's clock: what was read of it last, and the time that has passed since by a
 * clock that cannot be set. So setting the clock of this host changes nothing. A reading says no more than
 * that the store's time lies within the time that the reading took, so the clock moves only as far as it
 * must to be within that.
 */
export function createOwnClock({ wall, monotonic }: HostClocks): OwnClock {
  /** What to add to the monotonic clock. */
  let offset: number | null = null;
  let wallOffset = wall() - monotonic();

  const now = () => Math.floor(offset === null ? wall() : monotonic() + offset);
  return {
    now,
    skewMs: () => Math.round(wall() - now()),
    hasJumped: () => Math.abs(wall() - monotonic() - wallOffset) > JUMP_MS,
    adopt({ now: read, askedAt, answeredAt }) {
      // The store rounds down to whole milliseconds.
      const [least, most] = [read - answeredAt, read + 1 - askedAt];
      offset = Math.min(Math.max(offset ?? (least + most) / 2, least), most);
      wallOffset = wall() - monotonic();
    },
  };
}
