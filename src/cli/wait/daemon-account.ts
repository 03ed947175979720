import type { RunRef } from '../../client/client.ts';
import type { SettledRun } from '../../client/wait-settle.ts';
import type { CommandLine } from '../command-line.ts';
import { usageError } from '../exit.ts';
import type { DaemonFlags } from '../verb.ts';
import { printResults, settleShown } from './wait.ts';

export interface DaemonWaitFlags extends DaemonFlags {
  throughFeedback?: boolean;
  any?: boolean;
  json?: boolean;
}

interface DaemonWait {
  /** Undefined to wait until the watches expire. */
  timeoutMs?: number | undefined;
  /** False to go by the watches as they are. @default true */
  registers?: boolean;
  /** Ends it by an error. @default that of the command line */
  signal?: AbortSignal;
  /** True to show nothing of how the runs come on. */
  isQuiet?: boolean;
}

/**
 * Waits for runs by the daemon's account of them.
 * @param runs of different ids
 * @returns the exit code of the worst verdict
 */
export async function waitThroughDaemon(
  runs: readonly RunRef[],
  cli: CommandLine,
  flags: DaemonWaitFlags,
  options: DaemonWait = {},
): Promise<number> {
  const results = await settleThroughDaemon(runs, cli, flags, options);
  return printResults(results, { cli, json: flags.json === true });
}

/** {@link waitThroughDaemon} without its results on stdout. */
export function settleThroughDaemon(
  runs: readonly RunRef[],
  cli: CommandLine,
  flags: DaemonWaitFlags,
  { timeoutMs, registers = true, signal: ends, isQuiet }: DaemonWait,
): Promise<SettledRun[]> {
  const ids = runs.map(({ runId }) => runId);
  if (new Set(ids).size < ids.length) {
    throw usageError('two of the runs have the same id: wait for those of one source at a time');
  }
  return settleShown(ids, {
    cli,
    any: flags.any,
    timeoutMs,
    signal: ends,
    isQuiet,
    openObserver: async (signal) => {
      const { createDaemonObserver } = await import('../../client/wait-daemon.ts');
      return createDaemonObserver({
        client: await cli.connectQuietly(flags, { signal }),
        runs,
        throughFeedback: flags.throughFeedback === true,
        registers,
        // Each verb that waits has asked for something before.
        hasAnswered: true,
        signal,
        now: cli.now,
        random: cli.random,
      });
    },
  });
}
