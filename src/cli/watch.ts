import { Option } from 'commander';
import { parseDuration } from '../core/duration.ts';
import { messageOf, RunwatchError } from '../core/errors.ts';
import { PROFILES } from '../core/watch.ts';
import { splitBatches } from './batches.ts';
import type { DaemonClient, WatchBody } from './client.ts';
import type { CliContext } from './context.ts';
import { EXIT, usageError } from './exit.ts';
import { collect, collectPair, collectPattern, durationText } from './options.ts';
import { describeProblem } from './problem.ts';
import { count, plain } from './render/text.ts';
import { note, writeJson } from './report.ts';
import { badRunIds, readRunIds } from './run-ids.ts';
import { CANNOT_TELL_EXIT } from './verdict.ts';
import { connect, daemonCommand, type DaemonFlags, type VerbHost } from './verb.ts';
import { createDaemonObserver } from './daemon-observer.ts';
import { waitForRuns } from './wait-runs.ts';
import type { BatchView } from './wire.ts';

interface WatchFlags extends DaemonFlags {
  source?: string;
  endpoint?: string[];
  webhook?: string;
  event?: string[];
  meta?: Record<string, string>;
  timeout?: string;
  profile?: string;
  maxDelay?: string;
  file?: string;
  skipInvalid?: boolean;
  wait?: boolean;
  throughFeedback?: boolean;
  json?: boolean;
}

export function addWatchVerb(host: VerbHost): void {
  daemonCommand(host, 'watch [run-id...]')
    .description('watch runs and tell endpoints or a webhook what becomes of them')
    .option('--source <name>', 'the source that the runs belong to')
    .option('--endpoint <name>', 'tell this endpoint; may be repeated', collect)
    .option('--webhook <url>', 'tell this URL')
    .option('--event <type>', 'what --webhook hears of; may be repeated', collectPattern)
    .option('--meta <key=value>', 'comes back with every event; may be repeated', collectPair)
    .option('--timeout <duration>', 'give up on a run after this long', durationText)
    .addOption(new Option('--profile <profile>', 'requests against delay').choices(PROFILES))
    .option('--max-delay <duration>', 'longest time between two polls', durationText)
    .option('--file <path>', 'read run ids from a file, one on a line; - is standard input')
    .option('--skip-invalid', 'leave out what is not a run id, instead of doing nothing')
    .option('--wait', 'then wait for the runs; exits as `runwatch wait` does')
    .option('--through-feedback', 'with --wait: wait on while a run awaits human feedback')
    .option('--json', "print the API's answer")
    .addHelpText('after', HELP)
    .action((ids: string[], flags: WatchFlags) =>
      host.run(
        (context) => watch(context, ids, flags),
        flags.wait === true ? CANNOT_TELL_EXIT : EXIT.failure,
      ),
    );
}

const HELP = `
Without --endpoint and --webhook, the endpoints that are marked as default are told.
Watching a run again is harmless: subscriptions are merged, nobody is told twice.
Exits 0 when every run is watched, 1 when one is not, 2 when a run id is malformed.

Examples:
  runwatch watch 6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d
  runwatch watch run-1 run-2 --endpoint ops --meta team=billing --timeout 2h
  runwatch watch run-1 --webhook https://example.com/hooks --event run.failed
  cat ids.txt | runwatch watch -
  runwatch watch run-1 --wait && echo completed`;

async function watch(context: CliContext, args: string[], flags: WatchFlags): Promise<number> {
  if (flags.event !== undefined && flags.webhook === undefined) {
    throw usageError('--event says what --webhook hears of; endpoints have events of their own');
  }
  const { ids, problems } = await readRunIds(args, flags.file, context.io);
  if (problems.length > 0 && flags.skipInvalid !== true) throw badRunIds(problems);
  for (const problem of problems) note(context.io.stderr, `skipped ${problem}`);
  if (ids.length === 0) note(context.io.stderr, 'there was no run id to watch');

  const client = connect(context, flags);
  const results = await registerAll(
    client,
    ids.map((id) => bodyOf(id, flags)),
    context,
    flags,
  );
  const failed = new Set(ids.filter((_, at) => isRefused(results[at])));
  if (flags.wait !== true) {
    if (flags.json === true) writeJson(context.io.stdout, { results });
    return failed.size > 0 ? EXIT.failure : EXIT.ok;
  }
  return waitForThem(
    ids.filter((id) => !failed.has(id)),
    context,
    flags,
  ).then((code) => (failed.size > 0 && code !== 1 && code !== 3 ? CANNOT_TELL_EXIT : code));
}

type BatchResult = BatchView['results'][number];

function isRefused(result: BatchResult | undefined): boolean {
  return result === undefined || result.status >= 300;
}

function bodyOf(runId: string, flags: WatchFlags): WatchBody {
  return {
    run_id: runId,
    ...(flags.source !== undefined && { source: flags.source }),
    ...(flags.endpoint !== undefined && { endpoints: flags.endpoint }),
    ...(flags.webhook !== undefined && {
      webhook: { url: flags.webhook, ...(flags.event !== undefined && { events: flags.event }) },
    }),
    ...(flags.meta !== undefined && { metadata: flags.meta }),
    ...(flags.timeout !== undefined && { timeout: flags.timeout }),
    ...(flags.profile !== undefined && { profile: flags.profile }),
    ...(flags.maxDelay !== undefined && { max_delay: flags.maxDelay }),
  };
}

/** Registers batch after batch, and tells of each as it is done: a late failure hides nothing. */
async function registerAll(
  client: DaemonClient,
  bodies: WatchBody[],
  context: CliContext,
  flags: WatchFlags,
): Promise<BatchResult[]> {
  const results: BatchResult[] = [];
  for (const batch of splitBatches(bodies)) {
    const answer = await client.registerBatch(batch).catch((error: unknown) => {
      if (results.length === 0 || context.signal.aborted) throw error;
      throw partial(error, results.length, bodies.length);
    });
    for (const [at, result] of answer.results.entries()) {
      tell(batch[at]?.run_id ?? '?', result, context, flags);
    }
    results.push(...answer.results);
  }
  return results;
}

function partial(error: unknown, done: number, all: number): RunwatchError {
  return new RunwatchError(
    `${messageOf(error)}\nOnly the first ${done} of ${count(all, 'run')} were sent; the same command again is harmless.`,
    { code: error instanceof RunwatchError ? error.code : 'internal', cause: error },
  );
}

function tell(id: string, result: BatchResult, { io }: CliContext, flags: WatchFlags): void {
  if (isRefused(result)) {
    const why = describeProblem(result.error ?? `refused with ${result.status}`);
    io.stderr.write(`${io.stderr.colors.red('error:')} ${id}: ${why}\n`);
    return;
  }
  const isQuiet = flags.json === true || flags.wait === true;
  const output = isQuiet ? io.stderr : io.stdout;
  if (flags.json === true) return;
  const { colors } = output;
  const word = result.status === 201 ? colors.green('watching') : colors.cyan('already watched');
  const status = result.watch?.run?.status;
  const known = status === undefined ? '' : colors.dim(` (${plain(status)})`);
  output.write(`${word} ${id}${known}\n`);
}

function waitForThem(ids: string[], context: CliContext, flags: WatchFlags): Promise<number> {
  const timeoutMs = flags.timeout === undefined ? undefined : parseDuration(flags.timeout);
  return waitForRuns(ids, {
    context,
    json: flags.json === true,
    timeoutMs: timeoutMs ?? undefined,
    openObserver: (signal) =>
      createDaemonObserver({
        client: connect({ ...context, signal }, flags),
        runIds: ids,
        source: flags.source,
        throughFeedback: flags.throughFeedback === true,
        context: { ...context, signal },
      }),
  });
}
