import type { DeliveryService } from '../http/services.ts';
import type { DeliveryStore } from '../redis/delivery-store.ts';
import type { Deliverer } from './deliverer.ts';

export function createDeliveryService(
  deliveries: DeliveryStore,
  { replay, replayRanges }: Pick<Deliverer, 'replay' | 'replayRanges'>,
  now: () => number,
): DeliveryService {
  return {
    list: ({ limit, cursor, ...filter }) => deliveries.list(filter, { limit, cursor }),
    async get(id) {
      const stored = await deliveries.get(id);
      if (stored === null) return null;
      return { delivery: stored.delivery, attempts: await deliveries.attempts(id) };
    },
    redeliver: async (id) => ((await replay.one(id)) ? 'scheduled' : 'not_found'),
    async redeliverMany(range) {
      let count = 0;
      for (const state of range.state === undefined ? AGAIN_BY_DEFAULT : [range.state]) {
        for await (const ids of deliveries.created({ ...range, state }, AGAIN_CHUNK)) {
          await deliveries.requestReplays(ids, now());
          count += ids.length;
        }
      }
      replayRanges();
      return count;
    },
  };
}

/** What goes out again where no state is named: whatever came to its end without being delivered. */
const AGAIN_BY_DEFAULT = ['dead', 'skipped'] as const;

const AGAIN_CHUNK = 200;
