import { addAbortSignal } from 'node:stream';
import { loadConfig, type LoadedConfig } from '../../config/load.ts';
import { didYouMean, formatProblem, suggest } from '../../config/problems.ts';
import type { Config, HttpSourceConfig, SourceConfig } from '../../config/schema.ts';
import { loadSourceAuthorities } from '../../config/tls-files.ts';
import { readRegularFile } from '../../config/read-file.ts';
import { withoutEndSlash } from '../../core/end-slash.ts';
import { createLinksOf } from '../../core/run/links.ts';
import { addressesOf, runsAt } from '../../core/run/run-address.ts';
import type { PollResult, RunSnapshot } from '../../core/run/snapshot.ts';
import type { WatchKey } from '../../core/watch/watch.ts';
import { tryLive, tryRecorded, type Trial, type TriedRead } from '../../declared/trial.ts';
import { kindOf } from '../../source/kinds.ts';
import { idProblemOf, runKeysOf } from '../../watches/run-keys.ts';
import type { CommandLine } from '../command-line.ts';
import { usageError } from '../exit.ts';
import { plain } from '../render/text.ts';
import { note } from '../report.ts';
import { readRun } from '../resolve.ts';
import { isUrl } from '../run-ids.ts';
import { renderInvalid } from './config.ts';
import { noxusPathOf } from './run-reader.ts';
import { mappingHints, nextOf, reasonsOf, refusalHints } from './try-explanation.ts';

/** Flags of `try`. */
export interface TryFlags {
  config?: string;
  source?: string;
  /** Files with recorded answers; `-` is standard input. */
  answer?: string;
  alsoAnswer?: string;
}

/** One request of a read, as it is shown. */
interface TriedRequest extends Omit<TriedRead, 'path' | 'durationMs'> {
  method: 'GET';
  url: string;
  /** The file with the answer; null where the source was asked. */
  recorded: string | null;
  /** Null of a recorded answer. */
  duration_ms: number | null;
}

/** What `try` shows: the names are those of its JSON. */
export interface TryView {
  run_id: string;
  source: string;
  type: 'http' | 'noxus';
  result: PollResult['kind'];
  /** Why there is no run; null where there is one. */
  message: string | null;
  requests: readonly TriedRequest[];
  run: RunSnapshot | null;
  workflow_name: string | null;
  run_url: string | null;
  /** Why the run has its status, an entry for each answer; empty where it has none. */
  reasons: readonly string[];
  /** What a daemon does after such an answer. */
  next: string;
  /** What to do about what is not as it should be. */
  hints: readonly string[];
}

/**
 * Reads a run once, from its source or from recorded answers, and explains what the configuration makes of it.
 * Throws RunwatchError `usage` for a run or source that cannot be meant.
 * @returns null once it is said what is wrong with the configuration
 */
export async function tryRun(
  cli: CommandLine,
  text: string,
  flags: TryFlags,
  userAgent: string,
): Promise<TryView | null> {
  if (flags.alsoAnswer !== undefined && flags.answer === undefined) {
    throw usageError('--also-answer needs --answer beside it, which holds the first answer');
  }
  if (flags.answer === '-' && flags.alsoAnswer === '-') {
    throw usageError('standard input holds one answer: give a file for the other one');
  }
  // Where nothing is asked, no secret need be set.
  const purpose = flags.answer === undefined ? 'serve' : 'command';
  const loaded = loadConfig({ purpose, configPath: flags.config });
  if (loaded.kind === 'invalid') {
    cli.io.stderr.write(renderInvalid(loaded));
    return null;
  }
  const { config } = loaded;
  const { source: name, runId } = runMeant(readRun(text), flags.source, config);
  const source = config.sources[name];
  if (source === undefined) throw new Error('a run of a source that is not configured');
  const tried = { runId, name, source, config };
  if (flags.answer !== undefined) return tryAnswers(tried, flags, cli);
  warn(loaded, name, cli);
  return source.type === 'http'
    ? tryDeclared({ ...tried, source }, userAgent, cli)
    : tryNoxus(tried, userAgent);
}

interface Tried<Source extends SourceConfig = SourceConfig> {
  runId: string;
  name: string;
  source: Source;
  config: Config;
}

/** Warnings about where the source is asked: its headers are about to go there. */
function warn({ warnings }: LoadedConfig, name: string, { io }: CommandLine): void {
  const about = ['sources', name, 'base_url'].join('.');
  for (const warning of warnings) {
    if (warning.path.join('.') === about) note(io.stderr, `warning: ${formatProblem(warning)}`);
  }
}

/** The run that a text names, as a registration without a daemon would take it. */
function runMeant(text: string, named: string | undefined, config: Config): WatchKey {
  const names = Object.keys(config.sources);
  if (names.length === 0)
    throw usageError('no source is configured: --config names a file with one');
  if (named !== undefined && !names.includes(named)) {
    const known = `there are: ${names.join(', ')}`;
    throw usageError(
      `no source is named "${plain(named)}"; ${known}${didYouMean(suggest(named, names))}`,
    );
  }
  const asked = named === undefined ? names : [named];
  const traitsOf = (name: string) => {
    const source = config.sources[name];
    return source === undefined ? null : kindOf(name, source).traits;
  };
  const addresses = asked.flatMap((name) => {
    const traits = traitsOf(name);
    return traits === null ? [] : [addressesOf(name, traits, config)];
  });
  const runs = isUrl(text)
    ? runsAt(new URL(text), addresses)
    : runKeysOf({ traitsOf }, asked, text);
  const [only] = runs;
  if (only === undefined) {
    throw usageError(
      isUrl(text)
        ? `no source has a run with the URL ${plain(text)} (tried ${asked.join(', ')}): give the id of the run`
        : `"${plain(text)}" is no id of a run: ${idProblemOf({ traitsOf }, asked, text)}`,
    );
  }
  const meant = runs.length === 1 ? only : runs.find(({ source }) => source === 'default');
  if (meant !== undefined) return meant;
  const possible = runs.map(({ source }) => source).join(', ');
  throw usageError(`several sources can have this run: name one by --source (${possible})`);
}

/** Largest recorded answer, 16 MiB. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

async function tryAnswers(
  { source, ...tried }: Tried,
  { answer = '', alsoAnswer }: TryFlags,
  cli: CommandLine,
): Promise<TryView> {
  if (source.type !== 'http') {
    throw usageError(
      `--answer shows what a mapping makes of an answer, and source ${tried.name} is of type noxus, ` +
        'whose answers runwatch knows: leave --answer out to read the run',
    );
  }
  if (alsoAnswer !== undefined && source.also === undefined) {
    throw usageError(`source ${tried.name} has no also, so that nothing reads --also-answer`);
  }
  const run = await readAnswer(answer, cli);
  const also = alsoAnswer === undefined ? undefined : await readAnswer(alsoAnswer, cli);
  const trial = await tryRecorded(tried.runId, source, { run, also });
  const files = [answer, alsoAnswer].map((file) => (file === '-' ? 'standard input' : file));
  const view = viewOf({ ...tried, source }, trial, files);
  const second = view.requests[1];
  if (second !== undefined && also === undefined) {
    return {
      ...view,
      next: 'Both answers make the status of the run, and one of them is not there.',
      hints: [`keep the answer to GET ${second.url}, and give it by --also-answer`],
    };
  }
  const isUnread = second === undefined && also !== undefined;
  return isUnread ? { ...view, hints: [...view.hints, unreadAlso(source)] } : view;
}

function unreadAlso({ also }: HttpSourceConfig): string {
  const when = also?.when.join(', ') ?? '';
  return `--also-answer was not read: also is asked only while the first answer gives ${when}`;
}

async function readAnswer(file: string, { io, signal }: CommandLine): Promise<Buffer> {
  if (file !== '-') {
    const read = readRegularFile(file, { maxBytes: MAX_ANSWER_BYTES });
    if (read.kind === 'read') return Buffer.from(read.text);
    throw usageError(plain(read.message));
  }
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of addAbortSignal(signal, io.stdin) as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > MAX_ANSWER_BYTES) throw usageError('standard input is larger than 16 MiB');
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

async function tryDeclared(
  { source, ...tried }: Tried<HttpSourceConfig>,
  userAgent: string,
  { signal }: CommandLine,
): Promise<TryView> {
  const trial = await tryLive(tried.runId, {
    declaration: source,
    baseUrl: source.base_url,
    headers: source.headers,
    timeoutMs: source.timeout,
    userAgent,
    maxSockets: 1,
    ca: loadSourceAuthorities(tried.name, source),
    proxy: source.proxy,
    signal,
  });
  return viewOf({ ...tried, source }, trial, []);
}

async function tryNoxus(
  { runId, name, source, config }: Tried,
  userAgent: string,
): Promise<TryView> {
  let status: number | null = null;
  const port = kindOf(name, source).open({
    timeoutMs: source.timeout,
    userAgent,
    maxSockets: 1,
    maxStreams: 1,
    ca: loadSourceAuthorities(name, source),
    proxy: source.proxy,
    onRequest: (report) => ({ status } = report),
  });
  try {
    const startedAt = performance.now();
    const result = await port.readRun(runId);
    const request: TriedRequest = {
      of: 'run',
      method: 'GET',
      url: urlOf(source, noxusPathOf(runId)),
      recorded: null,
      status,
      duration_ms: Math.round(performance.now() - startedAt),
      problem: 'message' in result ? result.message : null,
      values: [],
    };
    return {
      ...partsOf({ runId, name, source, config }, result),
      type: 'noxus',
      requests: [request],
      reasons: [],
      hints: refusalHints(
        result,
        'the API key of a workspace that has this run: NOXUS_API_KEY, or',
        {
          key: `sources.${name}.api_key`,
          name,
        },
      ),
    };
  } finally {
    port.close();
  }
}

function urlOf({ base_url: base }: SourceConfig, path: string): string {
  return `${withoutEndSlash(base)}/${path}`;
}

/** @param files of recorded answers, in the order of the requests; undefined for one that was not given */
function viewOf(
  { source, ...tried }: Tried<HttpSourceConfig>,
  trial: Trial,
  files: readonly (string | undefined)[],
): TryView {
  const isLive = files.length === 0;
  const requests = trial.reads.map(
    ({ of, path, status, durationMs, problem, values }, at): TriedRequest => ({
      of,
      method: 'GET',
      url: urlOf(source, path),
      recorded: files[at] ?? null,
      status: isLive ? status : null,
      duration_ms: isLive ? Math.round(durationMs) : null,
      problem,
      values,
    }),
  );
  return {
    ...partsOf({ ...tried, source }, trial.result),
    type: 'http',
    requests,
    reasons: reasonsOf(trial),
    hints: [
      ...refusalHints(trial.result, 'headers that its API accepts:', {
        key: `sources.${tried.name}.headers`,
        name: tried.name,
      }),
      ...mappingHints({ ...tried, source }, trial),
    ],
  };
}

/** What is shown of any result. */
function partsOf({ runId, name, config }: Tried, result: PollResult) {
  const run = result.kind === 'run' ? result.run : null;
  const learned = result.kind === 'run' ? (result.workflowName ?? null) : null;
  const links = createLinksOf({ config, learnedName: () => learned })({
    source: name,
    runId,
    run,
  });
  return {
    run_id: runId,
    source: name,
    result: result.kind,
    message: messageOf(result),
    run,
    workflow_name: run === null ? null : (links.workflowName ?? learned),
    run_url: links.runUrl,
    next: nextOf(result, config),
  };
}

function messageOf(result: PollResult): string | null {
  if (result.kind === 'run') return null;
  return result.kind === 'not_found' ? 'it has no such run' : result.message;
}
