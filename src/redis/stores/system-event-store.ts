import type { Redis } from 'ioredis';
import type { PlannedEvent } from '../../core/delivery/outbox.ts';
import { declaredKeys } from '../keys.ts';
import type { Keys } from '../keys.ts';
import { raisedPlan } from './event-plan.ts';

/** System events in Redis. Errors of the connection pass through. */
export class SystemEventStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** @returns the pools at which deliveries are due now */
  async raise(event: PlannedEvent): Promise<string[]> {
    const effects = raisedPlan(this.keys, [event]);
    return this.redis.rwRaiseEvent(
      ...declaredKeys(this.keys, [], effects),
      JSON.stringify(effects),
    );
  }
}
