import { isOutstanding, requestedAgain, type StoredDelivery } from '../core/delivery.ts';
import { gateKey } from '../core/gate.ts';
import type { GateLimits } from '../core/gate.ts';
import type { DeliveryStore, GateStore } from './stores.ts';

interface RedeliverDependencies {
  deliveries: DeliveryStore;
  gates: GateStore;
  limitsOf: (endpoint: string) => GateLimits;
  dispatch: (deliveryIds: string[]) => Promise<void>;
  now: () => number;
}

/** Sends settled deliveries again. */
export interface Redeliver {
  /** One delivery, at once. @returns false when there is none of this id */
  one(id: string): Promise<boolean>;
  /** Many: they join the parked ones, which are let go at a limited rate. @returns how many */
  many(ids: string[]): Promise<number>;
}

/**
 * Sends deliveries again that have come to their end, with the same event id. One that is still to be
 * delivered stays as it is, so that asking twice is safe.
 */
export function createRedeliver(deps: RedeliverDependencies): Redeliver {
  async function again(stored: StoredDelivery, state: 'pending' | 'parked'): Promise<boolean> {
    if (isOutstanding(stored.delivery.state)) return false;
    const { endpoint } = stored.delivery;
    const gate = await deps.gates.get(gateKey(endpoint));
    const now = deps.now();
    const after = requestedAgain(stored.delivery, state, now);
    const limits = deps.limitsOf(endpoint);
    const due = await deps.deliveries.move({ before: stored, after, gate, limits, now });
    if (typeof due === 'string') return false;
    await deps.dispatch(due);
    return true;
  }

  return {
    async one(id) {
      const stored = await deps.deliveries.get(id);
      if (stored === null) return false;
      await again(stored, 'pending');
      return true;
    },

    async many(ids) {
      let count = 0;
      for (const stored of await deps.deliveries.getMany(ids)) {
        if (stored !== null && (await again(stored, 'parked'))) count += 1;
      }
      return count;
    },
  };
}
