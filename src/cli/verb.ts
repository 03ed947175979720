import type { Command } from 'commander';
import type { RunwatchClient } from '../client/client.ts';
import { isInClear } from '../config/hosts.ts';
import type { CliContext, CliHost, CliDependencies } from './context.ts';
import { EXIT, exitCodeOf, exitCodeOfInterrupt } from './exit.ts';
import { plain } from './render/text.ts';
import { note, reportError } from './report.ts';

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
 * @param scope what a token is good for that the verb does its work with; its help says so
 */
export function daemonCommand(
  to: Pick<VerbHost, 'program'>,
  nameAndArgs: string,
  scope: 'read' | 'write' | 'admin',
): Command {
  return to.program
    .command(nameAndArgs)
    .option('--url <url>', 'where the daemon answers (default: RUNWATCH_URL, else this machine)')
    .addHelpText('after', `\nNeeds a token with the scope ${scope}, where the daemon has tokens.`);
}

/** Ends the process where a verb that has verbs of its own got an argument: one of them, misspelt. */
export function refuseUnknownVerb(command: Command): void {
  const [word] = command.args;
  if (word === undefined) return;
  const verbs = command.commands.map((one) => one.name()).join(', ');
  command.error(`error: ${command.name()} has no verb "${plain(word)}"; expected one of: ${verbs}`);
}

export async function connect(context: CliContext, flags: DaemonFlags): Promise<RunwatchClient> {
  if (context.env.apiToken() !== undefined) {
    warnOfPlainHttp(context, 'RUNWATCH_API_TOKEN', urlOf(context, flags));
  }
  return connectQuietly(context, flags);
}

function urlOf({ env }: CliContext, flags: DaemonFlags): string {
  return flags.url ?? env.daemonUrl;
}

/** {@link connect} without the warning, for a verb that has given it already. */
export async function connectQuietly(
  context: CliContext,
  flags: DaemonFlags,
): Promise<RunwatchClient> {
  // Loaded here: it is most of what a verb loads, and help and completion need none of it.
  const { createClient } = await import('../client/client.ts');
  const { stderr } = context.io;
  const url = urlOf(context, flags);
  return createClient({
    url,
    token: context.env.apiToken(),
    startupMs: context.startupMs,
    userAgent: `runwatch-cli/${context.version}`,
    timeoutMs: REQUEST_TIMEOUT_MS,
    signal: context.signal,
    onWaiting() {
      if (!stderr.isTty) return;
      const seconds = Math.round(context.startupMs / 1_000);
      note(stderr, `no daemon answers yet; waiting up to ${seconds} s for one that is starting`);
    },
  });
}

/** Warns of a secret that is about to cross public networks in clear. */
export function warnOfPlainHttp({ io }: CliContext, secret: string, url: string): void {
  if (!isInClear(url)) return;
  const { hostname } = new URL(url);
  note(io.stderr, `warning: ${secret} travels in clear over plain http to ${hostname}: use https`);
}

interface Guard {
  host: CliHost;
  failure?: number | undefined;
  isVerbose: () => boolean;
}

/** Runs a verb to its exit code, also when it throws or is interrupted. */
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

/** Requests to the daemon at the same time: as many as the client has connections. */
export const MAX_REQUESTS = 8;

/** Runs `task` over the items, at most `limit` at a time, and gives the results in order. */
export async function mapConcurrently<Item, Result>(
  items: readonly Item[],
  limit: number,
  task: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const queue = items.entries();
  const worker = async () => {
    for (const [index, item] of queue) results[index] = await task(item);
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  return results;
}
