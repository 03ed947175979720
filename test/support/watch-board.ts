import { setTimeout as sleep } from 'node:timers/promises';
import type { WatchJson } from './daemon-listings.ts';
import type { DaemonProcess } from './daemon-process.ts';
import { waitFor } from './wait-for.ts';

/** Pause between two readings: many conditions waited for at once must not keep the daemon busy. */
const PAUSE_MS = 20;

/** The watches of a daemon, 200 at the most, for tests that wait for many of them at once. */
export interface WatchBoard {
  get(runId: string, source?: string): Promise<WatchJson>;
  /** Waits until a watch is as it should be. */
  until(
    runId: string,
    isAsWanted: (watch: WatchJson) => boolean,
    source?: string,
  ): Promise<WatchJson>;
}

/** @param daemonOf asked anew for each reading, since daemons are restarted */
export function watchBoard(daemonOf: () => DaemonProcess): WatchBoard {
  let reading: Promise<WatchJson[]> | null = null;

  /** One reading serves all who ask while it is under way. */
  function read(): Promise<WatchJson[]> {
    reading ??= sleep(PAUSE_MS)
      .then(() => daemonOf().api<{ data: WatchJson[] }>('/v1/watches?limit=200'))
      .then(({ body }) => body.data)
      .finally(() => {
        reading = null;
      });
    return reading;
  }

  async function get(runId: string, source = 'default'): Promise<WatchJson> {
    const all = await read();
    const found = all.find((watch) => watch.run_id === runId && watch.source === source);
    if (found === undefined) throw new Error(`${source}/${runId} is not among the watches`);
    return found;
  }

  return {
    get,
    async until(runId, isAsWanted, source) {
      let last: WatchJson | undefined;
      return waitFor(
        async () => {
          last = await get(runId, source);
          return isAsWanted(last) && last;
        },
        { timeoutMs: 40_000, describe: () => `the watch to change: ${JSON.stringify(last)}` },
      );
    },
  };
}
