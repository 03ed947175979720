import type { Redis } from 'ioredis';
import type { ClockStep } from '../core/clock.ts';
import type { Keys } from './keys.ts';
import { STORE_NOW } from './lua/clock.ts';
import { EVEN_IF_FULL } from './lua/full.ts';
import { script } from './script.ts';

const READ_CLOCK = script(
  'rwReadClock',
  {
    keys: ['clock'],
    reply: ([now, steps, offsetMs]: [number, number, number]) => ({ now, steps, offsetMs }),
  },
  `
${EVEN_IF_FULL}
${STORE_NOW}
evenIfFull(keys.clock)
return {storeNow(keys.clock)}
`,
);

/** The time by which all scripts go, ms since the epoch. */
export async function storeNow(redis: Redis, { clock }: Pick<Keys, 'clock'>): Promise<number> {
  return (await READ_CLOCK.run(redis, { clock }, {})).now;
}

/** Due times are moved back by a step soon after; one that is open for longer is forgotten, ms. */
const STEP_KEPT_MS = 86_400_000;

/**
 * Takes a step forward out of the clock, unless another process has done so since it was seen. It
 * stands among the open steps until all due times were moved back by it. Permits that count, those of each source
 * in its further keys, are moved back at once, so that none counts for longer than before, and none is forgotten.
 * Returns the number of the step when it was taken out, else 0.
 */
const TAKE_OUT_STEP = script(
  'rwTakeOutStep',
  {
    keys: ['clock', 'openSteps'],
    args: ['ms', 'steps', 'isLead?'],
    reply: (step: number) => step,
  },
  `
${STORE_NOW}
local now, steps = storeNow(keys.clock)
if steps ~= tonumber(args.steps) then return 0 end
local offset = string.match(redis.call('GET', keys.clock) or '', '^(-?%d+) ') or 0
local text = string.format('%.0f %.0f %.0f', offset - args.ms, now - args.ms, steps + 1)
redis.call('SET', keys.clock, text)
local from = args.isLead and now - args.ms or now
redis.call('HSET', keys.openSteps, steps + 1, string.format('%.0f %.0f', args.ms, from))
redis.call('PEXPIRE', keys.openSteps, ${STEP_KEPT_MS})
for place = further, #KEYS do
  local counting = redis.call('ZRANGEBYSCORE', KEYS[place], '(' .. now, '+inf', 'WITHSCORES')
  redis.call('ZREMRANGEBYSCORE', KEYS[place], '-inf', now)
  for at = 1, #counting, 2 do
    redis.call('ZADD', KEYS[place], counting[at + 1] - args.ms, counting[at])
  end
end
return steps + 1
`,
);

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
    return READ_CLOCK.run(this.redis, { clock: this.keys.clock }, {});
  }

  /**
   * Takes a step forward out, or the lead of a clock that has long been ahead.
   * @param steps as when it was seen
   * @returns the step's number; 0 where another process was first
   */
  async takeOut({ ms, isLead }: { ms: number; isLead: boolean }, steps: number): Promise<number> {
    const { clock, clockSteps, sourceNames, budget } = this.keys;
    const permits = (await this.redis.hkeys(sourceNames)).map(budget);
    return TAKE_OUT_STEP.run(
      this.redis,
      { clock, openSteps: clockSteps },
      { ms: Math.round(ms), steps, isLead: isLead ? 1 : undefined },
      { further: permits },
    );
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
