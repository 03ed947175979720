import type { Redis } from 'ioredis';
import type { Keys } from './keys.ts';

/** The clock that all scripts go by; see `lua/clock.ts`. */
export class StoreClock {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /**
   * @returns milliseconds since the epoch, how many steps forward were taken out of it so far, and how
   * far it is ahead of the time of Redis, ms
   */
  async read(): Promise<{ now: number; steps: number; offsetMs: number }> {
    const [now, steps, offsetMs] = await this.redis.rwReadClock(this.keys.clock);
    return { now, steps, offsetMs };
  }

  /** Takes a step forward out, if no other process has. @param steps as when it was seen */
  async takeOut(stepMs: number, steps: number): Promise<boolean> {
    return (await this.redis.rwTakeOutStep(this.keys.clock, Math.round(stepMs), steps)) === 1;
  }
}
