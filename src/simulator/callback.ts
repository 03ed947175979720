import { isTerminalStatus } from '../core/run/snapshot.ts';
import type { Simulation } from './simulation.ts';

/** How long a receiver may take, ms. */
const TIMEOUT_MS = 10_000;

/**
 * Posts a run to the `callback_url` it was started with, once it is completed, failed or stopped.
 * As with Noxus nothing is signed, and a failed call is not repeated.
 */
export async function callBack(simulation: Simulation, runId: string, url: string): Promise<void> {
  const { runs, callbacks, closing } = simulation;
  const isOver = await runs.until(runId, isTerminalStatus, { signal: closing });
  if (!isOver) return;
  callbacks.sent += 1;
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: runs.fullText(runId),
      redirect: 'manual',
      signal: AbortSignal.any([closing, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    await response.body?.cancel();
  } catch {
    callbacks.failed += 1;
  }
}
