import type { Command } from 'commander';
import type { RouteText, ScopeOf } from '../client/types.ts';
import type { CommandLine } from './command-line.ts';
import { EXIT } from './exit.ts';
import { plain } from './render/text.ts';

/** Options of every verb that talks to the daemon. */
export interface DaemonFlags {
  url?: string;
}

/**
 * Adds a verb that talks to the daemon; `Calls` are the routes that it does its work with.
 * @param to the program, or a verb that has verbs of its own
 * @param scope what a token of these routes is good for; the help says so
 */
export function daemonCommand<Calls extends RouteText = never>(
  to: Command,
  nameAndArgs: string,
  scope: ScopeOf<Calls>,
): Command {
  return to
    .command(nameAndArgs)
    .option('--url <url>', 'where the daemon answers (default: RUNWATCH_URL, else this machine)')
    .addHelpText('after', `\nNeeds a token with the scope ${scope}, where the daemon has tokens.`);
}

/** Ends the process where a verb that has verbs of its own got an argument: one of them, misspelt. */
export function refuseUnknownVerb(command: Command): void {
  const [word] = command.args;
  if (word === undefined) return;
  const verbs = command.commands.map((one) => one.name());
  const expected = `expected${verbs.length === 1 ? '' : ' one of'}: ${verbs.join(', ')}`;
  command.error(`error: ${command.name()} has no verb "${plain(word)}"; ${expected}`);
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

/** What a verb does with each of several items. */
interface Change<Item, Result> {
  nameOf: (item: Item) => string;
  /** Throws where the item cannot be changed. */
  make: (item: Item) => Promise<Result>;
  /** What stands in the results for an item that could not be changed. */
  failed: (item: Item, error: unknown) => Result;
  /** Requests at the same time. @default MAX_REQUESTS */
  limit?: number;
}

/**
 * Changes each item, and reports each that cannot be changed; the others are changed all the same, also where the
 * output is closed, as by `head`. Throws only where the verb is interrupted.
 * @returns the results in order, and the worst exit code
 */
export async function changeEach<Item, Result>(
  cli: CommandLine,
  items: readonly Item[],
  { nameOf, make, failed, limit = MAX_REQUESTS }: Change<Item, Result>,
): Promise<{ results: Result[]; exitCode: number }> {
  let exitCode: number = EXIT.ok;
  cli.goesOnUnread = true;
  const results = await mapConcurrently(items, limit, async (item) => {
    try {
      return await make(item);
    } catch (error) {
      cli.signal.throwIfAborted();
      const about = items.length > 1 ? nameOf(item) : undefined;
      exitCode = Math.max(exitCode, cli.report(error, EXIT.failure, about));
      return failed(item, error);
    }
  });
  return { results, exitCode };
}
