import { percentile } from './figures.ts';
import type { ListingsOrder, ListingTime } from './listings.ts';

// The process behind `listingTimes`. It ends with its parent.

/** Pages read of each listing, from its beginning again where it ends. */
const PAGES = 60;

process.on('disconnect', () => process.exit());
process.once('message', (order: ListingsOrder) => void read(order));

async function read({ url, paths }: ListingsOrder): Promise<void> {
  const times: ListingTime[] = [];
  // A daemon that has just started compiles what it does first.
  for (const path of paths) await fetch(`${url}${path}`).then((response) => response.text());
  for (const path of paths) times.push({ path, ms: await p95Of(url, path) });
  process.send?.(times);
}

async function p95Of(url: string, path: string): Promise<number> {
  const times: number[] = [];
  const name = path.startsWith('/v1/events') ? 'after' : 'cursor';
  let cursor: string | null = null;
  for (let page = 0; page < PAGES; page += 1) {
    const startedAt = performance.now();
    const response = await fetch(`${url}${path}${cursor === null ? '' : `&${name}=${cursor}`}`);
    const text = await response.text();
    times.push(performance.now() - startedAt);
    const body = JSON.parse(text) as { next_cursor?: string | null };
    if (!response.ok) throw new Error(`${path} answers ${response.status}`);
    cursor = body.next_cursor ?? null;
  }
  return percentile(times, 0.95);
}
