import type { BenchDaemon } from './daemon.ts';
import { percentile } from './figures.ts';

/** Pages read of each listing, from its beginning again where it ends. */
const PAGES = 60;

/** How long a listing takes to answer a page. */
interface ListingTime {
  path: string;
  /** The 95th percentile. */
  ms: number;
}

/** Reads listings through the API, page after page. @returns the slowest first */
export async function listingTimes(
  daemon: Pick<BenchDaemon, 'url'>,
  paths: readonly string[],
): Promise<ListingTime[]> {
  const times: ListingTime[] = [];
  // A daemon that has just started compiles what it does first.
  for (const path of paths) await fetch(`${daemon.url}${path}`).then((response) => response.text());
  for (const path of paths) times.push({ path, ms: await p95Of(daemon, path) });
  return times.sort((a, b) => b.ms - a.ms);
}

async function p95Of({ url }: Pick<BenchDaemon, 'url'>, path: string): Promise<number> {
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
