import { setTimeout as delay } from 'node:timers/promises';
import { isTerminalStatus } from '../../src/core/run/snapshot.ts';

/** Where runs are read. */
interface Source {
  url: string;
  apiKey: string;
}

/** The cost of one run, and when its end was seen, milliseconds since the epoch. */
export interface Polled {
  requests: number;
  knownAt: number;
}

/**
 * Polls a run until it has ended, as a script without knowledge of the run does.
 * @param waitMs the wait after the n-th poll, from 1
 */
export async function pollPlainly(
  { url, apiKey }: Source,
  runId: string,
  waitMs: (reads: number) => number,
): Promise<Polled> {
  for (let requests = 1; ; requests += 1) {
    const response = await fetch(`${url}/v1/runs/${runId}`, { headers: { 'x-api-key': apiKey } });
    const { status } = (await response.json()) as { status: string };
    if (isTerminalStatus(status)) return { requests, knownAt: Date.now() };
    await delay(waitMs(requests));
  }
}
