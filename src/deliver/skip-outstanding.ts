import { withheld, type StoredDelivery } from '../core/delivery/delivery.ts';
import { isOutstanding } from '../core/delivery/state.ts';
import { poolOf } from '../core/delivery/receiver.ts';
import type { WatchKey } from '../core/watch/watch.ts';
import type { Process } from '../process.ts';

/** Deliveries read at a time. */
const CHUNK = 100;

/**
 * Skips all outstanding deliveries of a watch. An attempt in progress goes on, but its result is
 * dropped, as that of a process which has lost its claim. Stops early where other processes change the
 * deliveries meanwhile.
 */
export async function skipOutstanding(process: Process, watch: WatchKey): Promise<void> {
  for (;;) {
    const outstanding = await process.stores.deliveries.outstandingOf(watch, CHUNK);
    let skipped = 0;
    for (const before of outstanding) if (await skip(process, before)) skipped += 1;
    if (skipped === 0) return;
  }
}

async function skip(process: Process, before: StoredDelivery): Promise<boolean> {
  const { endpoints, stores } = process;
  const { delivery } = before;
  if (!isOutstanding(delivery.state)) return false;
  const token = await stores.outbox.tokenOf(delivery.id);
  const skipped = await stores.outbox.withhold({
    before,
    after: withheld(delivery, 'skipped'),
    ...(token !== undefined && { token }),
    limits: endpoints.limitsOf(poolOf(delivery.endpoint)),
    now: process.now(),
    meetsWish: true,
  });
  return skipped !== 'delivery';
}
