import { setTimeout as sleep } from 'node:timers/promises';
import { RunwatchError } from '../core/errors.ts';
import type { DaemonClient } from './client.ts';
import type { CliContext } from './context.ts';
import { plain } from './render/text.ts';
import { note } from './report.ts';
import type { BatchView, WatchView } from './wire.ts';

/** As a token that may read sees it; another gets a receipt. */
type Registered = Extract<BatchView['results'][number]['watch'], { state: string }>;

/** How long the first poll of a run is waited for, ms. */
const PATIENCE_MS = 1_500;
const LOOK_EVERY_MS = 100;

/**
 * Says so where the first poll shows that nothing will come of watching, as when the source refuses its
 * key. One run of each source stands for all: what keeps a source from answering concerns them alike.
 */
export async function tellFirstTrouble(
  client: DaemonClient,
  results: BatchView['results'],
  context: CliContext,
): Promise<void> {
  const bySource = new Map<string, Registered>();
  for (const { watch } of results) {
    if (!watch || !('state' in watch) || watch.state !== 'active') continue;
    if (!bySource.has(watch.source)) bySource.set(watch.source, watch);
  }
  await Promise.all([...bySource.values()].map((watch) => tellTroubleOf(client, watch, context)));
}

async function tellTroubleOf(
  client: DaemonClient,
  watch: Registered,
  { io, signal }: CliContext,
): Promise<void> {
  try {
    const polled = await firstPoll(client, watch, signal);
    const why = polled?.error ?? null;
    if (why === null) return;
    note(io.stderr, `warning: source ${plain(watch.source)}: ${plain(why.message)}`);
  } catch (error) {
    // The run is watched; a token that may not read cannot see how that goes.
    if (!(error instanceof RunwatchError)) throw error;
  }
}

async function firstPoll(
  client: DaemonClient,
  { run_id: runId, source, polls, error }: Registered,
  signal: AbortSignal,
): Promise<WatchView | null> {
  let watch: WatchView | null = null;
  for (let waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += LOOK_EVERY_MS) {
    watch = await client.getWatch({ runId, source });
    if (watch === null || watch.polls > polls || (watch.error !== null && error === null)) break;
    await sleep(LOOK_EVERY_MS, undefined, { signal });
  }
  return watch;
}
