/** Registers runs. Their ids come from arguments, a file or the standard input by `cli/run-ids.ts`. */
import { Option } from 'commander';
import type { DaemonClient, RunRef } from '../../client/client.ts';
import { describeProblem } from '../../client/errors.ts';
import type { BatchView, WatchBody } from '../../client/types.ts';
import { MAX_SECRET_BYTES, readRegularFile } from '../../config/read-file.ts';
import { RunwatchError, messageOf } from '../../core/errors.ts';
import { isTerminalStatus } from '../../core/run/snapshot.ts';
import { PROFILES } from '../../core/watch/watch.ts';
import type { CommandLine } from '../command-line.ts';
import type { Output } from '../output.ts';
import { EXIT, usageError } from '../exit.ts';
import { firstPoll, whyNotPolled, type Registered } from '../first-poll.ts';
import { collect, collectPair, collectPattern, durationText } from '../options.ts';
import { plain, count, number } from '../render/text.ts';
import { note, writeJson } from '../report.ts';
import { resolveKnownRuns } from '../resolve.ts';
import { badRunIds, readRunIds } from '../run-ids.ts';
import { daemonCommand, type DaemonFlags } from '../verb.ts';
import { waitThroughDaemon } from '../wait/daemon-account.ts';
import { Patience } from '../wait/patience.ts';
import { CANNOT_TELL_EXIT } from '../wait/verdict.ts';

interface WatchFlags extends DaemonFlags {
  source?: string;
  endpoint?: string[];
  webhook?: string;
  webhookSecretFile?: string;
  event?: string[];
  meta?: Record<string, string>;
  timeout?: string;
  profile?: WatchBody['profile'];
  maxDelay?: string;
  batch?: string;
  open?: boolean;
  file?: string;
  skipInvalid?: boolean;
  yes?: boolean;
  wait?: boolean;
  throughFeedback?: boolean;
  json?: boolean;
}

export function addWatchVerb(cli: CommandLine): void {
  daemonCommand<'POST /v1/watches/batch'>(cli.program, 'watch [run-id...]', 'write')
    .description('watch runs and notify of what becomes of them')
    .option('--source <name>', 'the source that the runs belong to')
    .option('--endpoint <name>', 'notify this endpoint; may be repeated', collect)
    .option('--webhook <url>', 'notify this URL')
    .option('--webhook-secret-file <path>', 'the secret that signs for --webhook, for every run')
    .option('--event <type>', 'what --webhook hears of; may be repeated', collectPattern)
    .option('--meta <key=value>', 'comes back with every event; may be repeated', collectPair)
    .option('--timeout <duration>', 'give up on a run after this long', durationText)
    .addOption(new Option('--profile <profile>', 'requests against delay').choices(PROFILES))
    .option('--max-delay <duration>', 'longest time between two polls', durationText)
    .option('--batch <name>', 'the batch that the runs join; it is closed then')
    .option('--open', 'with --batch: more runs will join, so leave it open')
    .option('--file <path>', 'read run ids from a file, one on a line; - is standard input')
    .option('--skip-invalid', 'leave out what is not a run id, instead of doing nothing')
    .option('--yes', 'do not ask whether the beginning of an id is the one that is meant')
    .option('--wait', 'then wait for the runs; exits as `runwatch wait` does')
    .option('--through-feedback', 'with --wait: wait on while a run awaits human feedback')
    .option('--json', "print the API's answer")
    .addHelpText('after', HELP)
    .action((ids: string[], flags: WatchFlags) =>
      cli.run(
        () => watchRuns(cli, ids, flags),
        flags.wait === true ? CANNOT_TELL_EXIT : EXIT.failure,
      ),
    );
}

const HELP = `
Without --endpoint and --webhook, the endpoints that are marked as default are notified.
Without --webhook-secret-file the daemon makes a secret for the webhook's URL, and the answer shows it.
--wait needs the scope read too.
Watching a run again is harmless: subscriptions are merged, and none is notified twice.
Exits 0 when every run is watched, 1 when one is not, 2 when a run id is malformed, or nothing could be
watched because of what was asked, such as an endpoint that does not exist.

Examples:
  runwatch watch 6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d
  runwatch watch run-1 run-2 --endpoint ops --meta team=billing --timeout 2h
  runwatch watch run-1 --webhook https://example.com/hooks --event run.failed
  runwatch watch - --webhook https://example.com/hooks < ids.txt
  cat ids.txt | runwatch watch -
  runwatch watch --batch nightly --file ids.txt
  runwatch watch run-1 --wait && echo completed`;

async function watchRuns(cli: CommandLine, args: string[], flags: WatchFlags): Promise<number> {
  if (flags.open === true && flags.batch === undefined) throw usageError('--open needs --batch');
  const webhook = await webhookOf(flags);
  const given = await readTargets(cli, args, flags);
  const client = await clientOf(cli, flags);
  const runs = await resolveKnownRuns(given, { client, cli, source: flags.source, writes: flags });
  const watches = runs.map((run) => bodyOf(run, { flags, webhook }));
  const report = createReport(runs.length, reportOutput(cli, flags), cli.io.stderr);
  const results = await registerRuns(client, watches, { cli, report, flags });
  report.end();
  const watched = runs.filter((_, at) => !isRefused(results[at]));
  const isPartial = watched.length < runs.length;
  const secrets = new Set(results.flatMap(({ watch: one }) => one?.webhook_secret ?? []));
  const isInJson = flags.json === true && flags.wait !== true;
  if (!isInJson) for (const secret of secrets) showSecret(secret, cli);
  if (flags.wait === true && !isMistaken(results)) {
    await reportFirstTrouble(client, results, cli);
    const code = await waitThroughDaemon(watched, cli, flags);
    return isPartial && code !== 1 && code !== 3 ? CANNOT_TELL_EXIT : code;
  }
  if (flags.json === true) writeJson(cli.io.stdout, { results });
  await reportFirstTrouble(client, results, cli);
  return exitCodeOfResults(results);
}

/** What waits for the runs does not end with one request that fails. */
async function clientOf(cli: CommandLine, flags: WatchFlags): Promise<DaemonClient> {
  const client = await cli.connect(flags);
  return flags.wait === true ? new Patience(cli).client(client) : client;
}

function exitCodeOfResults(results: readonly BatchResult[]): number {
  if (isMistaken(results)) return EXIT.usage;
  return results.some(isRefused) ? EXIT.failure : EXIT.ok;
}

/** What users are shown of registrations. */
interface Report {
  add(id: string, result: BatchResult): void;
  end(): void;
}

/** Above this, watches are counted and not listed. */
const MOST_LINES = 20;

/** @param output where registrations are reported; null for nowhere. Refusals always go to stderr. */
function createReport(runs: number, output: Output | null, stderr: Output): Report {
  let [watched, again, refused] = [0, 0, 0];
  return {
    add(id, result) {
      if (isRefused(result)) {
        refused += 1;
        if (refused <= MOST_LINES) reportRefusal(id, result, stderr);
        return;
      }
      watched += 1;
      again += result.status === 200 ? 1 : 0;
      if (output !== null && runs <= MOST_LINES) reportWatched(id, result, output);
    },
    end() {
      if (refused > MOST_LINES) note(stderr, `and ${number(refused - MOST_LINES)} more`);
      if (output === null || runs <= MOST_LINES) return;
      const before =
        again === 0 ? '' : output.colors.dim(` (${number(again)} of them already were)`);
      output.write(`${number(watched)} watched${before}\n`);
    },
  };
}

/** Only the answer to the registration holds the secret. */
function showSecret(secret: string, { io }: CommandLine): void {
  note(io.stderr, `The webhook is signed by ${plain(secret)}; no other answer shows it.`);
}

/** The runs to watch: all that were given, or none where one is malformed and may not be skipped. */
async function readTargets(cli: CommandLine, args: string[], flags: WatchFlags): Promise<string[]> {
  const { io } = cli;
  const { ids, problems } = await readRunIds(args, flags.file, cli);
  if (problems.length > 0 && flags.skipInvalid !== true) throw badRunIds(problems);
  for (const problem of problems) note(io.stderr, `skipped ${problem}`);
  if (ids.length === 0) note(io.stderr, 'there was no run id to watch');
  return ids;
}

/** Where registrations are reported: stdout belongs to the results of the wait, or to JSON. */
function reportOutput({ io }: CommandLine, flags: WatchFlags): Output | null {
  if (flags.json === true) return null;
  return flags.wait === true ? io.stderr : io.stdout;
}

/** @throws RunwatchError of usage, also for a file that holds no secret; nothing of it is in the message */
async function webhookOf(flags: WatchFlags): Promise<WatchBody['webhook']> {
  const { webhook: url, event: events, webhookSecretFile: path } = flags;
  if (url === undefined) {
    if (path !== undefined) throw usageError('--webhook-secret-file needs --webhook');
    if (events === undefined) return undefined;
    throw usageError('--event says what --webhook hears of; endpoints have events of their own');
  }
  return {
    url,
    ...(path !== undefined && { secret: await readSecret(path) }),
    ...(events !== undefined && { events }),
  };
}

async function readSecret(path: string): Promise<string> {
  const read = readRegularFile(path, { maxBytes: MAX_SECRET_BYTES, name: plain(path) });
  if (read.kind === 'unreadable') throw usageError(`--webhook-secret-file: ${read.message}`);
  // Loaded here, as few verbs need the schemas of the configuration.
  const { webhookSecret } = await import('../../config/endpoint-schema.ts');
  const parsed = webhookSecret.safeParse(read.text.trim());
  if (parsed.success) return parsed.data;
  const why = parsed.error.issues.map(({ message }) => message).join('; ');
  throw usageError(`--webhook-secret-file: ${plain(path)}: ${why}`);
}

interface Asked {
  flags: WatchFlags;
  webhook: WatchBody['webhook'];
}

function bodyOf({ runId, source }: RunRef, { flags, webhook }: Asked): WatchBody {
  return {
    run_id: runId,
    ...(source !== undefined && { source }),
    ...(flags.endpoint !== undefined && { endpoints: flags.endpoint }),
    ...(webhook !== undefined && { webhook }),
    ...(flags.meta !== undefined && { metadata: flags.meta }),
    ...(flags.timeout !== undefined && { timeout: flags.timeout }),
    ...(flags.profile !== undefined && { profile: flags.profile }),
    ...(flags.maxDelay !== undefined && { max_delay: flags.maxDelay }),
  };
}

/**
 * Says so where the first poll shows that nothing will come of watching, as when the source refuses its
 * key. One run of each source stands for all: what keeps a source from answering concerns them alike.
 */
async function reportFirstTrouble(
  client: DaemonClient,
  results: BatchView['results'],
  cli: CommandLine,
): Promise<void> {
  const bySource = new Map<string, Registered>();
  for (const { watch } of results) {
    if (!watch || !('state' in watch) || watch.state !== 'active') continue;
    if (!bySource.has(watch.source)) bySource.set(watch.source, watch);
  }
  await Promise.all([...bySource.values()].map((watch) => reportTroubleOf(client, watch, cli)));
}

async function reportTroubleOf(
  client: DaemonClient,
  watch: Registered,
  { io, signal }: CommandLine,
): Promise<void> {
  try {
    const polled = await firstPoll(client, watch, signal);
    const why = polled?.error?.message ?? (await whyNotPolled(client, watch, polled));
    if (why === null) return;
    note(io.stderr, `warning: source ${plain(watch.source)}: ${plain(why)}`);
  } catch (error) {
    // The run is watched; a token that may not read cannot see how that goes.
    if (!(error instanceof RunwatchError)) throw error;
  }
}

type BatchResult = BatchView['results'][number];

interface RegisterOptions {
  flags: WatchFlags;
  cli: CommandLine;
  report: Report;
}

/**
 * Registers batch after batch, and reports each as it is done: a late failure hides nothing.
 * @returns the API's results, one for each watch, in order
 */
async function registerRuns(
  client: DaemonClient,
  watches: readonly WatchBody[],
  { cli, report, flags }: RegisterOptions,
): Promise<BatchResult[]> {
  const results: BatchResult[] = [];
  const calls = splitBatches(watches);
  for (const batch of calls) {
    // The last call closes it.
    const isOpen = flags.open === true || batch !== calls.at(-1);
    const joining = flags.batch === undefined ? undefined : { batch: flags.batch, open: isOpen };
    const answer = await client.registerBatch(batch, joining).catch((error: unknown) => {
      if (results.length === 0 || cli.signal.aborted) throw error;
      report.end();
      throw partial(error, results.length, watches.length);
    });
    for (const [at, result] of answer.results.entries()) {
      report.add(batch[at]?.run_id ?? '?', result);
    }
    results.push(...answer.results);
  }
  return results;
}

/** True for a run that is not watched by this registration. */
function isRefused(result: BatchResult | undefined): boolean {
  return result === undefined || result.status >= 300;
}

/** True where the daemon refused all of them because of what it was asked, such as an unknown endpoint. */
function isMistaken(results: readonly BatchResult[]): boolean {
  return results.length > 0 && results.every(({ status }) => status === 422);
}

function partial(error: unknown, done: number, all: number): RunwatchError {
  return new RunwatchError(
    `${messageOf(error)}\nOnly the first ${number(done)} of ${count(all, 'run')} were sent; the same command again is harmless.`,
    { code: error instanceof RunwatchError ? error.code : 'internal', cause: error },
  );
}

function reportRefusal(id: string, { error, status }: BatchResult, stderr: Output): void {
  const why = describeProblem(error ?? { detail: `refused with ${status}` });
  stderr.write(`${stderr.colors.red('error:')} ${id}: ${why}\n`);
}

function reportWatched(id: string, { status, watch }: BatchResult, output: Output): void {
  const { colors } = output;
  const word = status === 201 ? colors.green('watching') : colors.cyan('already watched');
  const known = watch !== undefined && 'run' in watch ? watch.run?.status : undefined;
  const isReopened = known !== undefined && isTerminalStatus(known) && isActive(watch);
  const next = isReopened ? '; polled for another attempt' : '';
  const shown = known === undefined ? '' : colors.dim(` (${plain(known)}${next})`);
  output.write(`${word} ${id}${shown}\n`);
}

function isActive(watch: BatchResult['watch']): boolean {
  return watch !== undefined && 'state' in watch && watch.state === 'active';
}

/** Most watches that one call may hold. */
const MAX_ITEMS = 1_000;

/** Safely under the API's limit of 1 MiB for a body. */
const MAX_BYTES = 900_000;

/** Splits watches into calls of the batch route, each within its limits, in order. */
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
