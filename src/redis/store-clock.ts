import type { Redis } from 'ioredis';
import type { ClockStep } from '../core/clock.ts';
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

  /**
   * Takes a step forward out, or the lead of a clock that has long been ahead.
   * @param steps as when it was seen
   * @returns the step's number; 0 where another process was first
   */
  async takeOut({ ms, isLead }: { ms: number; isLead: boolean }, steps: number): Promise<number> {
    const { clock, clockSteps, sourceNames, budget } = this.keys;
    const permits = (await this.redis.hkeys(sourceNames)).map(budget);
    const declared = [clock, clockSteps, ...permits];
    const args = [Math.round(ms), steps, isLead ? 1 : 0];
    return this.redis.rwTakeOutStep(declared.length, ...declared, ...args);
  }

  /** Steps that were taken out, by their numbers, while due times are moved back by them. */
  async openSteps(): Promise<Map<number, ClockStep>> {
    const open = Object.entries(await this.redis.hgetall(this.keys.clockSteps));
    return new Map(
      open.map(([number, text]) => {
        const [ms = 0, from = 0] = text.split(' ').map(Number);
        return [Number(number), { ms, from }];
      }),
    );
  }

  /** All due times are moved back by a step. */
  async closeStep(number: number): Promise<void> {
    await this.redis.hdel(this.keys.clockSteps, String(number));
  }
}
