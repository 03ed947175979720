import type { DeliveryService } from '../http/services.ts';
import type { DeliveryStore } from '../redis/stores/delivery-store.ts';
import type { Deliverer } from './deliverer.ts';

export function createDeliveryService(
  deliveries: DeliveryStore,
  { replay, replayRanges }: Pick<Deliverer, 'replay' | 'replayRanges'>,
): DeliveryService {
  return {
    list: ({ limit, cursor, ...filter }) => deliveries.list(filter, { limit, cursor }),
    async get(id) {
      const stored = await deliveries.get(id);
      if (stored === null) return null;
      return { delivery: stored.delivery, attempts: await deliveries.attempts(id) };
    },
    redeliver: (id, to) => replay.one(id, to),
    async redeliverMany({ to, ...range }) {
      let count = 0;
      const byDefault = to === undefined ? AGAIN_BY_DEFAULT : ELSEWHERE_BY_DEFAULT;
      for (const state of range.state === undefined ? byDefault : [range.state]) {
        for await (const found of deliveries.created({ ...range, state }, AGAIN_CHUNK)) {
          await deliveries.requestReplays(found, to);
          count += found.length;
        }
      }
      replayRanges();
      return count;
    },
  };
}

/** What goes out again where no state is named: whatever came to its end without being delivered. */
const AGAIN_BY_DEFAULT = ['dead', 'skipped'] as const;

/** What goes to another endpoint where no state is named: also what waits. */
const ELSEWHERE_BY_DEFAULT = ['pending', 'parked', ...AGAIN_BY_DEFAULT] as const;

const AGAIN_CHUNK = 200;
