import type { WatchBody } from './client.ts';

/** Most watches that one call may hold. */
const MAX_ITEMS = 1_000;

/** Safely under the API's limit of 1 MiB for a body. */
const MAX_BYTES = 900_000;

/** Splits watches into calls of the batch route that stay within its limits, in order. */
export function splitBatches(watches: readonly WatchBody[]): WatchBody[][] {
  const batches: WatchBody[][] = [];
  let bytes = Infinity;
  for (const watch of watches) {
    const size = Buffer.byteLength(JSON.stringify(watch)) + 1;
    const current = batches.at(-1);
    if (current === undefined || current.length === MAX_ITEMS || bytes + size > MAX_BYTES) {
      batches.push([watch]);
      bytes = size;
    } else {
      current.push(watch);
      bytes += size;
    }
  }
  return batches;
}
