import type { RunwatchEvent } from '../../src/core/event/event.ts';
import type { DaemonProcess } from './daemon-process.ts';
import { waitFor } from './wait-for.ts';

/** A watch as the API shows it, with the fields that tests use. */
export interface WatchJson {
  run_id: string;
  source: string;
  state: string;
  run: { status: string; progress: number; [field: string]: unknown } | null;
  metadata: Record<string, string>;
  subscriptions: ({ endpoint: string } | { url: string; events: string[] })[];
  sequence: number;
  polls: number;
  registered_at: string;
  last_polled_at: string | null;
  next_poll_at: string | null;
  timeout_at: string;
  error: { code: string; message: string; since: string } | null;
}

/** A delivery as the API lists it. */
export interface DeliveryJson {
  id: string;
  event_id: string;
  event_type: string;
  run_id: string;
  endpoint: string;
  state: string;
  attempt_count: number;
}

interface Listing<Item> {
  data: Item[];
  next_cursor: string | null;
}

/** Every item of a listing, page by page. */
export async function readAll<Item>(daemon: DaemonProcess, path: string): Promise<Item[]> {
  const items: Item[] = [];
  const place = path.startsWith('/v1/events') ? 'after' : 'cursor';
  const separator = path.includes('?') ? '&' : '?';
  for (let query = `${separator}limit=200`; ;) {
    const { status, body } = await daemon.api<Listing<Item>>(path + query);
    if (status !== 200) throw new Error(`${path}${query} answers ${status}`);
    items.push(...body.data);
    if (body.next_cursor === null) return items;
    query = `${separator}limit=200&${place}=${encodeURIComponent(body.next_cursor)}`;
  }
}

/** All events of a run, oldest first. */
export function eventsOf(daemon: DaemonProcess, runId: string): Promise<RunwatchEvent[]> {
  return readAll(daemon, `/v1/events?run_id=${runId}`);
}

export async function watchOf(daemon: DaemonProcess, runId: string): Promise<WatchJson> {
  return (await daemon.api<WatchJson>(`/v1/watches/${runId}`)).body;
}

/** Waits until a watch meets a condition. */
export function waitForWatch(
  daemon: DaemonProcess,
  runId: string,
  isAsWanted: (watch: WatchJson) => boolean,
): Promise<WatchJson> {
  let last: WatchJson | undefined;
  return waitFor(
    async () => {
      last = await watchOf(daemon, runId);
      return isAsWanted(last) && last;
    },
    { describe: () => `the watch to change: ${JSON.stringify(last)}` },
  );
}

/** Waits until every planned delivery has been delivered. */
export async function waitUntilAllDelivered(daemon: DaemonProcess): Promise<void> {
  await waitFor(
    async () => {
      const { body } = await daemon.api<Listing<DeliveryJson>>('/v1/deliveries?state=pending');
      return body.data.length === 0;
    },
    { describe: 'all deliveries to be settled' },
  );
}
