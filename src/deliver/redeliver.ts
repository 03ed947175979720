import { isOutstanding, requestedAgain, type StoredDelivery } from '../core/delivery.ts';
import { type GateLimits, type StoredGate } from '../core/gate.ts';
import type { DeliveryStore, GateStore } from './stores.ts';

interface RedeliverDependencies {
  deliveries: DeliveryStore;
  gates: GateStore;
  limitsOf: (endpoint: string) => GateLimits;
  dispatch: (gates: string[]) => void;
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
  async function again(
    before: StoredDelivery,
    gate: StoredGate,
    state: 'pending' | 'parked',
  ): Promise<boolean> {
    const now = deps.now();
    const after = requestedAgain(before.delivery, state, now);
    const limits = deps.limitsOf(after.endpoint);
    const moved = await deps.deliveries.move({ before, after, gate, limits, most: 0, now });
    return typeof moved !== 'string';
  }

  return {
    async one(id) {
      const stored = await deps.deliveries.get(id);
      if (stored === null) return false;
      if (isOutstanding(stored.delivery.state)) return true;
      const gate = await deps.gates.get(gateOf(stored));
      if (await again(stored, gate, 'pending')) deps.dispatch([gate.name]);
      return true;
    },

    async many(ids) {
      const found = await deps.deliveries.getMany(ids);
      const settled = found.flatMap((one) =>
        one === null || isOutstanding(one.delivery.state) ? [] : [one],
      );
      const gates = await deps.gates.getMany([...new Set(settled.map(gateOf))]);
      const named = new Map(gates.map((gate) => [gate.name, gate]));
      const moved = await Promise.all(
        settled.map(async (one) => {
          const gate = named.get(gateOf(one));
          return gate !== undefined && again(one, gate, 'parked');
        }),
      );
      return moved.filter(Boolean).length;
    },
  };
}

function gateOf({ delivery }: StoredDelivery): string {
  return delivery.endpoint;
}
