import { setTimeout as sleep } from 'node:timers/promises';
import type { WatchJson } from './daemon-listings.ts';
import type { DaemonProcess } from './daemon-process.ts';
import { waitFor } from './wait-for.ts';

/** Pause between two readings: many conditions waited for at once must not keep the daemon busy. */
const PAUSE_MS = 20;

/** Up to 200 watches of a daemon, for tests that wait for many at once. */
export interface WatchReader {
  get(runId: string, source?: string): Promise<WatchJson>;
  /** Waits until a watch meets a condition. */
  until(
    runId: string,
    isAsWanted: (watch: WatchJson) => boolean,
    source?: string,
  ): Promise<WatchJson>;
}

/** @param daemonOf called for each reading, since daemons are restarted */
export function watchReader(daemonOf: () => DaemonProcess): WatchReader {
  let reading: Promise<WatchJson[]> | null = null;

  /** Callers share a reading that is under way. */
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
        { describe: () => `the watch to change: ${JSON.stringify(last)}` },
      );
    },
  };
}
