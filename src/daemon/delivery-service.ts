import type { Redeliver } from '../deliver/redeliver.ts';
import type { DeliveryService } from '../http/services.ts';
import type { DeliveryStore } from '../redis/delivery-store.ts';

export function createDeliveryService(
  deliveries: DeliveryStore,
  redeliver: Redeliver,
): DeliveryService {
  return {
    list: ({ limit, cursor, ...filter }) => deliveries.list(filter, { limit, cursor }),
    async get(id) {
      const stored = await deliveries.get(id);
      if (stored === null) return null;
      return { delivery: stored.delivery, attempts: await deliveries.attempts(id) };
    },
    redeliver: async (id) => ((await redeliver.one(id)) ? 'scheduled' : 'not_found'),
    async redeliverMany(range) {
      let count = 0;
      for (const state of range.state === undefined ? AGAIN_BY_DEFAULT : [range.state]) {
        for await (const ids of deliveries.created({ ...range, state }, AGAIN_CHUNK)) {
          count += await redeliver.many(ids);
        }
      }
      return count;
    },
  };
}

/** What goes out again where no state is named: whatever came to its end without being told. */
const AGAIN_BY_DEFAULT = ['dead', 'skipped'] as const;

const AGAIN_CHUNK = 200;
