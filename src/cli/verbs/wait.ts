import type { RunRef } from '../../client/client.ts';
import { DEFAULT_POLICY } from '../../core/watch/observation.ts';
import { RunwatchError } from '../../core/errors.ts';
import type { CommandLine } from '../command-line.ts';
import type { LocalVerbs } from '../local/local-verbs.ts';
import type { RunReader } from '../local/run-reader.ts';
import { waitForBatch } from '../wait/batch.ts';
import { waitThroughDaemon } from '../wait/daemon-account.ts';
import { usageError } from '../exit.ts';
import { waitTime } from '../options.ts';
import { plain } from '../render/text.ts';
import { note } from '../report.ts';
import { resolveKnownRuns } from '../resolve.ts';
import { isUrl, readGoodRunIds } from '../run-ids.ts';
import { Patience } from '../wait/patience.ts';
import { CANNOT_TELL_EXIT } from '../wait/verdict.ts';
import { daemonCommand, type DaemonFlags } from '../verb.ts';
import { createDirectObserver } from '../wait/direct-account.ts';
import { waitForRuns } from '../wait/wait.ts';

interface WaitFlags extends DaemonFlags {
  source?: string;
  timeout?: number;
  throughFeedback?: boolean;
  direct?: boolean;
  any?: boolean;
  batch?: string;
  file?: string;
  json?: boolean;
}

/** For one read of a run, ms. */
const READ_TIMEOUT_MS = 10_000;
const MAX_SOCKETS = 8;

/** Each stream takes a file descriptor. Runs beyond so many are polled. */
const MAX_STREAMS = 500;

export function addWaitVerb(cli: CommandLine, local: LocalVerbs): void {
  daemonCommand<'GET /v1/watches/{run_id}'>(cli.program, 'wait [run-id...]', 'read')
    .description('wait for runs and exit by what became of them')
    .option('--timeout <duration>', 'wait no longer than this', waitTime)
    .option('--through-feedback', 'wait on while a run awaits human feedback')
    .option('--any', 'end with the first of several runs, and exit by it')
    .option('--source <name>', 'the source that the runs belong to')
    .option('--direct', 'ask Noxus itself, with NOXUS_API_KEY, and no daemon')
    .option('--batch <name>', 'wait for all runs of this batch, also those that join later')
    .option('--file <path>', 'read run ids from a file, one on a line; - is standard input')
    .option('--json', 'print the results as one JSON document')
    .addHelpText('after', HELP)
    .action((ids: string[], flags: WaitFlags) =>
      cli.run(() => wait(cli, local, { ids, flags }), CANNOT_TELL_EXIT),
    );
}

const HELP = `
Exit codes:
    0  completed
    1  failed
    3  stopped
    4  awaiting human feedback (unless --through-feedback)
    5  cannot tell: the run is gone, its source or the daemon gave no answer for
       two minutes, ...
  124  timed out
    2  runwatch was called wrongly
  130  Ctrl-C
Of several runs the worst counts, in the order 1, 3, 5, 124, 4, 0; the wait ends with the last, or with
--any with the first, which alone counts then.

With --batch the wait ends once no run of the batch goes on and none can join: after it was closed, as
many as it expects have joined, or none was active for an hour. --timeout ends it before, with 124 where
the batch is still open.

A run that the daemon does not watch yet is watched from now on, which needs the scope write too. The
watch notifies no endpoint and goes on when the wait ends early; \`runwatch unwatch\` ends it. Where no
daemon answers and NOXUS_API_KEY is set, Noxus is asked directly. A run that has ended is polled once more where
its source counts attempts, since another one may have begun; this needs the scope write, too. With --batch
no run is watched anew: one that was unwatched counts as 5, one whose watch has expired as 124.

Examples:
  runwatch wait run-1 && echo completed
  runwatch wait run-1 run-2 --timeout 30m --json
  runwatch wait --any --file ids.txt
  runwatch wait --batch nightly
  NOXUS_API_KEY=... runwatch wait --direct run-1`;

interface WaitRequest {
  ids: string[];
  flags: WaitFlags;
}

async function wait(
  cli: CommandLine,
  local: LocalVerbs,
  { ids, flags }: WaitRequest,
): Promise<number> {
  const isDirect = flags.direct === true;
  if (isDirect && (flags.source !== undefined || flags.url !== undefined)) {
    throw usageError('--direct knows no daemon, and so neither --url nor --source');
  }
  if (flags.batch !== undefined) {
    if (ids.length > 0 || flags.file !== undefined || isDirect) {
      throw usageError('--batch names the runs: leave out run ids, --file and --direct');
    }
    return waitForBatch(cli, flags, flags.batch);
  }
  const runIds = await readGoodRunIds(ids, flags.file, cli);
  const request = { ids: runIds, flags };
  if (isDirect) return waitDirectly(cli, local, request);
  const patience = new Patience(cli, flags.timeout);
  const known = await patience.lookUp(() => knownRuns(cli, request, patience));
  if (typeof known === 'number') return known;
  if (known !== null) {
    return waitThroughDaemon(known, cli, flags, { timeoutMs: patience.leftMs() });
  }
  note(cli.io.stderr, `No daemon answers; asking ${cli.env.noxusBaseUrl} directly.`);
  return waitDirectly(cli, local, request);
}

/** The runs that are meant; null where no daemon answers, and Noxus can be asked instead. */
async function knownRuns(
  cli: CommandLine,
  { ids, flags }: WaitRequest,
  patience: Patience,
): Promise<RunRef[] | null> {
  const { signal } = patience;
  const canAskNoxus = flags.source === undefined && cli.env.noxusApiKey() !== undefined;
  const client = await cli.connect(flags, { signal, ...(canAskNoxus && { startupMs: 0 }) });
  const [runId] = ids;
  const reach = async () => {
    if (runId === undefined) return true;
    try {
      if (isUrl(runId)) await client.lookup({ q: runId, limit: 1 });
      else await client.getWatch({ runId, source: flags.source });
      return true;
    } catch (error) {
      if (canAskNoxus && isUnreachable(error)) return false;
      throw error;
    }
  };
  const isReached = await patience.through(reach).catch((error: unknown) => {
    throw isUnreachable(error) && !canAskNoxus ? withoutKey(error) : error;
  });
  if (!isReached) return null;
  const resolver = { client: patience.client(client), cli, source: flags.source };
  return resolveKnownRuns(ids, resolver);
}

function isUnreachable(error: unknown): error is RunwatchError {
  return error instanceof RunwatchError && error.code === 'daemon_unreachable';
}

function withoutKey(absence: RunwatchError): RunwatchError {
  return new RunwatchError(`${absence.message}, or NOXUS_API_KEY to ask Noxus itself`, {
    code: absence.code,
    cause: absence,
  });
}

async function waitDirectly(
  cli: CommandLine,
  local: LocalVerbs,
  { ids, flags }: WaitRequest,
): Promise<number> {
  const { now, random } = cli;
  const reader = await openReader(cli, local);
  const runIds = new Set(await Promise.all(ids.map((text) => idForNoxus(text, local))));
  return waitForRuns([...runIds], {
    cli,
    json: flags.json === true,
    any: flags.any,
    timeoutMs: flags.timeout,
    openObserver: async (signal) =>
      createDirectObserver({
        reader,
        policy: DEFAULT_POLICY,
        throughFeedback: flags.throughFeedback === true,
        signal,
        now,
        random,
      }),
  });
}

/** Throws a usage error for what names no run of Noxus. */
async function idForNoxus(text: string, local: LocalVerbs): Promise<string> {
  const id = await local.noxusIdOf(text);
  if (id === null) throw usageError(`"${plain(text)}" is not the id or URL of a run in Noxus`);
  return id;
}

async function openReader(cli: CommandLine, local: LocalVerbs): Promise<RunReader> {
  const apiKey = cli.env.noxusApiKey();
  if (apiKey === undefined) {
    throw usageError('--direct needs the API key of a Noxus workspace in NOXUS_API_KEY');
  }
  cli.warnOfPlainHttp('NOXUS_API_KEY', cli.env.noxusBaseUrl);
  return local.createRunReader({
    baseUrl: cli.env.noxusBaseUrl,
    apiKey,
    timeoutMs: READ_TIMEOUT_MS,
    userAgent: local.userAgent,
    maxSockets: MAX_SOCKETS,
    maxStreams: MAX_STREAMS,
    proxy: cli.env.proxyFor(cli.env.noxusBaseUrl),
  });
}
