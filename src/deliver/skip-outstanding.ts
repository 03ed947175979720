import { isOutstanding, withheld, type StoredDelivery } from '../core/delivery/delivery.ts';
import type { EndpointLimits } from '../core/delivery/endpoint-state.ts';
import { poolOf } from '../core/delivery/receiver.ts';
import type { WatchKey } from '../core/watch/watch.ts';
import type { DeliveryStore, Outbox } from './ports.ts';

/** Deliveries read at a time. */
const CHUNK = 100;

interface SkipOutstandingDependencies {
  deliveries: Pick<DeliveryStore, 'outstandingOf'>;
  outbox: Pick<Outbox, 'tokenOf' | 'withhold'>;
  limitsOf: (pool: string) => EndpointLimits;
  now: () => number;
}

/**
 * Skips all outstanding deliveries of a watch. An attempt in progress goes on, but its result is
 * dropped, as that of a process which has lost its claim.
 * Returns a function that stops early where other processes change the deliveries meanwhile.
 */
export function createSkipOutstanding(deps: SkipOutstandingDependencies) {
  return async function skipOutstanding(watch: WatchKey): Promise<void> {
    for (;;) {
      const outstanding = await deps.deliveries.outstandingOf(watch, CHUNK);
      let skipped = 0;
      for (const before of outstanding) if (await skip(deps, before)) skipped += 1;
      if (skipped === 0) return;
    }
  };
}

async function skip(
  { outbox, limitsOf, now }: SkipOutstandingDependencies,
  before: StoredDelivery,
): Promise<boolean> {
  const { delivery } = before;
  if (!isOutstanding(delivery.state)) return false;
  const token = await outbox.tokenOf(delivery.id);
  const skipped = await outbox.withhold({
    before,
    after: withheld(delivery, 'skipped'),
    ...(token !== undefined && { token }),
    limits: limitsOf(poolOf(delivery.endpoint)),
    now: now(),
    meetsWish: true,
  });
  return skipped !== 'delivery';
}
