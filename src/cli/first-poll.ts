import { setTimeout as sleep } from 'node:timers/promises';
import type { DaemonClient } from '../client/client.ts';
import type { BatchView, WatchView } from '../client/types.ts';

/** How long the first poll of a run is waited for, ms. */
const PATIENCE_MS = 1_500;
const RECHECK_MS = 100;

/** As a token that may read sees it; another gets a receipt. */
export type Registered = Extract<BatchView['results'][number]['watch'], { state: string }>;

/**
 * Waits a moment for the first poll of a run that was registered: it shows whether anything comes of watching it.
 * @returns how the run stands then; null where it is not watched any more
 */
export async function firstPoll(
  client: DaemonClient,
  { run_id: runId, source, polls, error }: Registered,
  signal: AbortSignal,
): Promise<WatchView | null> {
  let watch: WatchView | null = null;
  for (let waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += RECHECK_MS) {
    watch = await client.getWatch({ runId, source });
    if (watch === null || watch.polls > polls || (watch.error !== null && error === null)) break;
    await sleep(RECHECK_MS, undefined, { signal });
  }
  return watch;
}

/** Why a run is not polled: what its source says of itself; null where it is polled, or takes requests. */
export async function whyNotPolled(
  client: DaemonClient,
  { source: name, polls }: Registered,
  polled: WatchView | null,
): Promise<string | null> {
  if (polled === null || polled.polls > polls) return null;
  const { data: sources } = await client.listSources();
  const source = sources.find((one) => one.name === name);
  if (source === undefined || source.paused_until === null) return null;
  const why = source.message ?? `it is ${source.state}`;
  return `${why}; tried next at ${source.paused_until}`;
}
