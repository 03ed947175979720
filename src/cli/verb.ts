import type { Command } from 'commander';
import { createDaemonClient, type DaemonClient } from './client.ts';
import type { CliContext, CliHost } from './context.ts';
import type { CliDependencies } from './dependencies.ts';
import { EXIT, exitCodeOf, exitCodeOfInterrupt } from './exit.ts';
import { reportError } from './report.ts';

/** Time for one request to the daemon, ms. A batch of a thousand is the longest. */
const REQUEST_TIMEOUT_MS = 30_000;

/** What a verb needs to add itself to the program. */
export interface VerbHost {
  program: Command;
  dependencies: CliDependencies;
  /**
   * Runs a verb and keeps its exit code. What it throws becomes a sentence on stderr and an exit code.
   * @param failure the exit code when the verb could not do its work; 1 where it is not given
   */
  run: (verb: (context: CliContext) => Promise<number>, failure?: number) => Promise<void>;
  /** The same for a verb that has signal handlers of its own. */
  runUnguarded: (verb: () => Promise<number>) => Promise<void>;
}

/** Options of every verb that talks to the daemon. */
export interface DaemonFlags {
  url?: string;
}

/**
 * Adds a verb that talks to the daemon.
 * @param to the program, or a verb that has verbs of its own
 */
export function daemonCommand(to: Pick<VerbHost, 'program'>, nameAndArgs: string): Command {
  return to.program
    .command(nameAndArgs)
    .option('--url <url>', 'where the daemon answers (default: RUNWATCH_URL, else this machine)');
}

export function connect(context: CliContext, flags: DaemonFlags): DaemonClient {
  return createDaemonClient(
    {
      url: flags.url ?? context.env.daemonUrl,
      token: context.env.apiToken(),
      userAgent: `runwatch-cli/${context.version}`,
      timeoutMs: REQUEST_TIMEOUT_MS,
    },
    context.signal,
  );
}

interface Guard {
  host: CliHost;
  failure?: number | undefined;
  isVerbose: () => boolean;
}

/** Runs a verb to its exit code, whatever it throws, and whoever interrupts it. */
export async function guard(
  verb: (context: CliContext) => Promise<number>,
  { host, failure, isVerbose }: Guard,
): Promise<number> {
  const { interrupts, ...rest } = host;
  const signal = interrupts();
  try {
    return await verb({ ...rest, signal });
  } catch (error) {
    if (signal.aborted) return exitCodeOfInterrupt(signal.reason);
    reportError(host.io.stderr, error, { verbose: isVerbose() });
    return exitCodeOf(error, failure ?? EXIT.failure);
  }
}
