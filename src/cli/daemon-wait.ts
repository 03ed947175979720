import type { CliContext } from './context.ts';
import { createDaemonObserver } from './daemon-observer.ts';
import { connectQuietly, type DaemonFlags } from './verb.ts';
import { waitForRuns } from './wait-runs.ts';

interface DaemonWaitFlags extends DaemonFlags {
  source?: string;
  throughFeedback?: boolean;
  json?: boolean;
}

/**
 * Waits for runs by the daemon's account of them.
 * @param timeoutMs undefined to wait until the watches expire
 * @returns the exit code of the worst verdict
 */
export function waitThroughDaemon(
  runIds: readonly string[],
  context: CliContext,
  flags: DaemonWaitFlags,
  timeoutMs?: number,
): Promise<number> {
  return waitForRuns(runIds, {
    context,
    json: flags.json === true,
    timeoutMs,
    openObserver: (signal) =>
      createDaemonObserver({
        client: connectQuietly({ ...context, signal }, flags),
        runIds,
        source: flags.source,
        throughFeedback: flags.throughFeedback === true,
        context: { ...context, signal },
      }),
  });
}
