import type { Redis } from 'ioredis';
import type { Delivery } from '../../core/delivery/delivery.ts';
import type { AlertEntry } from '../../core/alert/entry.ts';
import { declaredKeys } from '../keys.ts';
import type { Keys } from '../keys.ts';
import { deliveryPlan, inboxPlan, ownEventsPlan } from './event-plan.ts';

/** An event that is about no run, with what follows from it. */
export interface PlannedSystemEvent {
  id: string;
  /** The exact text that is sent. */
  body: string;
  deliveries: Delivery[];
  /** What rules have to judge. */
  entries?: AlertEntry[];
}

/** System events in Redis. Errors of the connection pass through. */
export class SystemEventStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** @returns the pools at which deliveries are due now */
  async raise(event: PlannedSystemEvent): Promise<string[]> {
    const effects = raiseEffects(this.keys, event);
    return this.redis.rwRaiseEvent(
      ...declaredKeys(this.keys, [], effects),
      JSON.stringify(effects),
    );
  }
}

/** What the script writes of a system event. */
export function raiseEffects(
  keys: Keys,
  { id, body, deliveries, entries = [] }: PlannedSystemEvent,
) {
  return {
    ...ownEventsPlan(keys, [{ id, body }]),
    ...(entries.length > 0 && { judged: inboxPlan(keys, entries) }),
    ...deliveryPlan(keys, deliveries),
  };
}
