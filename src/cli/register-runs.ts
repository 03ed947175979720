import { messageOf, RunwatchError } from '../core/errors.ts';
import type { DaemonClient, WatchBody } from './client/client.ts';
import { describeProblem } from './client/problem.ts';
import type { BatchView } from './client/wire.ts';
import type { CliContext, Output } from './context.ts';
import { count, plain } from './render/text.ts';

type BatchResult = BatchView['results'][number];

interface RegisterOptions {
  context: CliContext;
  /** Where it is told that a run is watched; null for nowhere. Refusals always go to stderr. */
  told: Output | null;
}

/**
 * Registers batch after batch, and tells of each as it is done: a late failure hides nothing.
 * @returns the API's results, one for each watch, in order
 */
export async function registerRuns(
  client: DaemonClient,
  watches: readonly WatchBody[],
  { context, told }: RegisterOptions,
): Promise<BatchResult[]> {
  const results: BatchResult[] = [];
  for (const batch of splitBatches(watches)) {
    const answer = await client.registerBatch(batch).catch((error: unknown) => {
      if (results.length === 0 || context.signal.aborted) throw error;
      throw partial(error, results.length, watches.length);
    });
    for (const [at, result] of answer.results.entries()) {
      const id = batch[at]?.run_id ?? '?';
      if (isRefused(result)) tellRefusal(id, result, context.io.stderr);
      else if (told !== null) tellWatched(id, result, told);
    }
    results.push(...answer.results);
  }
  return results;
}

/** True for a run that is not watched by this registration. */
export function isRefused(result: BatchResult | undefined): boolean {
  return result === undefined || result.status >= 300;
}

function partial(error: unknown, done: number, all: number): RunwatchError {
  return new RunwatchError(
    `${messageOf(error)}\nOnly the first ${done} of ${count(all, 'run')} were sent; the same command again is harmless.`,
    { code: error instanceof RunwatchError ? error.code : 'internal', cause: error },
  );
}

function tellRefusal(id: string, { error, status }: BatchResult, stderr: Output): void {
  const why = describeProblem(error ?? `refused with ${status}`);
  stderr.write(`${stderr.colors.red('error:')} ${id}: ${why}\n`);
}

function tellWatched(id: string, { status, watch }: BatchResult, output: Output): void {
  const { colors } = output;
  const word = status === 201 ? colors.green('watching') : colors.cyan('already watched');
  const known = watch?.run?.status;
  output.write(`${word} ${id}${known === undefined ? '' : colors.dim(` (${plain(known)})`)}\n`);
}

/** Most watches that one call may hold. */
const MAX_ITEMS = 1_000;

/** Safely under the API's limit of 1 MiB for a body. */
const MAX_BYTES = 900_000;

/** Splits watches into calls of the batch route that stay within its limits, in order. */
export function splitBatches(watches: readonly WatchBody[]): WatchBody[][] {
  const batches: WatchBody[][] = [];
  let bytes = Infinity;
  for (const watch of watches) {
    const size = Buffer.byteLength(JSON.stringify(watch)) + 1;
    const current = batches.at(-1);
    if (current === undefined || current.length === MAX_ITEMS || bytes + size > MAX_BYTES) {
      batches.push([watch]);
      bytes = size;
    } else {
      current.push(watch);
      bytes += size;
    }
  }
  return batches;
}
