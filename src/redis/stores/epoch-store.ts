import type { Redis } from 'ioredis';
import type { PlannedEvent } from '../../core/delivery/planned-event.ts';
import type { FoundStore } from '../../core/store-loss.ts';
import type { Keys } from '../keys.ts';
import { script } from '../script.ts';
import { effectsOf, PLAN_DELIVERIES, RAISE } from './event-plan.ts';

/**
 * Begins a new epoch and raises the event that says why, if the store is still in the epoch that
 * was seen. Of several processes that notice a loss, one reports it: `reported` lost records of each kind.
 * Returns null where another process was first, else the pools at which deliveries are due now.
 */
const RENEW_EPOCH = script(
  'rwRenewEpoch',
  {
    keys: ['epochs', 'damage'],
    args: ['seen', 'next', 'reported', 'effects?'],
    reply: (pools: string[] | null) => pools,
  },
  `
${PLAN_DELIVERIES}
${RAISE}
if (redis.call('GET', keys.epochs) or '') ~= args.seen then return false end
local pools = args.effects and raise(cjson.decode(args.effects)) or {}
for kind, count in pairs(cjson.decode(args.reported)) do
  if count > 0 then redis.call('HINCRBY', keys.damage, kind, -count) end
end
redis.call('SET', keys.epochs, args.next)
return pools
`,
);

/** Live records that were found to be lost, by their kind. */
export interface Damage {
  deliveries: number;
  events: number;
}

/**
 * The name of a store's present life, in Redis. What a daemon writes at its start is written only where it
 * is missing: it also starts on a Redis that is full, which it may make room in. Errors of the connection
 * pass through.
 */
export class EpochStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async read(): Promise<FoundStore> {
    const { epochs, eventPlace, watchNumber } = this.keys;
    const [names, events, watches] = await this.redis.mget(epochs, eventPlace, watchNumber);
    return {
      epochs: names?.split(' ') ?? [],
      events: Number(events ?? 0),
      watches: Number(watches ?? 0),
    };
  }

  /** Begins the first epoch of a store that has none. */
  async begin(epoch: string): Promise<void> {
    const { epochs } = this.keys;
    if ((await this.redis.exists(epochs)) === 0) await this.redis.setnx(epochs, epoch);
  }

  /** How many records were found to be lost, of which no event says so yet. */
  async damage(): Promise<Damage> {
    const found = await this.redis.hmget(this.keys.damage, 'deliveries', 'events');
    const [deliveries = 0, events = 0] = found.map((count) => Math.max(0, Number(count)));
    return { deliveries, events };
  }

  /**
   * Begins a new epoch, with an event that says why.
   * @param damage the lost records that the event reports
   * @returns the pools at which deliveries are due now; null where another process was first
   */
  async renew(
    seen: readonly string[],
    next: readonly string[],
    { event, damage }: { event: PlannedEvent | null; damage: Damage },
  ): Promise<string[] | null> {
    const { epochs, damage: lost } = this.keys;
    const { effects, named } = effectsOf(this.keys, event);
    return RENEW_EPOCH.run(
      this.redis,
      { epochs, damage: lost },
      { seen: seen.join(' '), next: next.join(' '), reported: JSON.stringify(damage), effects },
      { further: named },
    );
  }
}
