import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { BenchDaemon } from './daemon.ts';
import { endProcess } from './process.ts';

const PROCESS = fileURLToPath(new URL('./listings-process.ts', import.meta.url));

/** How long a listing takes to answer a page. */
export interface ListingTime {
  path: string;
  /** The 95th percentile. */
  ms: number;
}

/** What the reading process is to read. */
export interface ListingsOrder {
  url: string;
  paths: readonly string[];
}

/**
 * Reads listings through the API, page after page, in a process of its own: to collect the garbage of one
 * that has filled a store takes 10 ms of each sixteenth page.
 * @returns the slowest first
 */
export async function listingTimes(
  { url }: Pick<BenchDaemon, 'url'>,
  paths: readonly string[],
): Promise<ListingTime[]> {
  const child = fork(PROCESS);
  try {
    child.send({ url, paths } satisfies ListingsOrder);
    const ended = once(child, 'exit').then(() => {
      throw new Error('the process that reads listings has ended');
    });
    const [times] = (await Promise.race([once(child, 'message'), ended])) as [ListingTime[]];
    return times.sort((a, b) => b.ms - a.ms);
  } finally {
    await endProcess(child);
  }
}
