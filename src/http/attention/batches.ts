import { SEVERITY_OF } from '../../core/attention.ts';
import { UNCLOSED_MS } from '../../core/batch.ts';
import type { Daemon } from '../../daemon.ts';
import { isOfSources } from '../../redis/stores/batch-store.ts';
import { MOST_ITEMS, type AttentionQuery, type Found } from './found.ts';

/** Batches that are open although no run of them is active: something forgot to close them. */
export async function unclosedBatches(
  { stores, now }: Daemon,
  { sources }: AttentionQuery,
): Promise<Found> {
  const idle = await stores.batches.idle(now() - UNCLOSED_MS, MOST_ITEMS);
  const open = idle.filter(({ batch }) => batch.state === 'open' && isOfSources(batch, sources));
  const items = open.map(({ batch, since }) => ({
    kind: 'batch' as const,
    severity: SEVERITY_OF.batch,
    count: batch.joined,
    since,
    message: `the batch ${batch.name} is open and has no active run: close it; it completes an hour after its last run ended`,
    batch: batch.name,
  }));
  return { items, isCapped: idle.length === MOST_ITEMS };
}
