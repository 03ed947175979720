import type { RunRef } from '../../client/client.ts';
import type { CommandLine } from '../command-line.ts';
import { usageError } from '../exit.ts';
import type { DaemonFlags } from '../verb.ts';
import { waitForRuns } from './wait.ts';

interface DaemonWaitFlags extends DaemonFlags {
  throughFeedback?: boolean;
  any?: boolean;
  json?: boolean;
}

/**
 * Waits for runs by the daemon's account of them.
 * @param runs of different ids
 * @param timeoutMs undefined to wait until the watches expire
 * @returns the exit code of the worst verdict
 */
export function waitThroughDaemon(
  runs: readonly RunRef[],
  cli: CommandLine,
  flags: DaemonWaitFlags,
  timeoutMs?: number,
): Promise<number> {
  const ids = runs.map(({ runId }) => runId);
  if (new Set(ids).size < ids.length) {
    throw usageError('two of the runs have the same id: wait for those of one source at a time');
  }
  return waitForRuns(ids, {
    cli,
    json: flags.json === true,
    any: flags.any,
    timeoutMs,
    openObserver: async (signal) => {
      const { createDaemonObserver } = await import('../../client/wait-daemon.ts');
      return createDaemonObserver({
        client: await cli.connectQuietly(flags, { signal }),
        runs,
        throughFeedback: flags.throughFeedback === true,
        signal,
        now: cli.now,
        random: cli.random,
      });
    },
  });
}
