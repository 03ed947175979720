import type { DaemonClient, LookupKind, RunRef } from '../client/client.ts';
import { RunwatchError } from '../core/errors.ts';
import { lastPartOf } from '../core/run/short-id.ts';
import { isUuid } from '../core/run/snapshot.ts';
import { confirm } from './confirm.ts';
import type { CommandLine } from './command-line.ts';
import { usageError } from './exit.ts';
import { plain } from './render/text.ts';
import { note } from './report.ts';
import { findRun, isUrl } from './run-ids.ts';
import { mapConcurrently, MAX_REQUESTS } from './verb.ts';

/*
 * What users type for an id: all of it, its beginning or a run's last part where only one has it, or a run's URL.
 */

/** Most candidates that are listed for a beginning that several ids have. */
const MOST_SHOWN = 10;

/** The beginning of a UUID, long enough to be meant as one. */
const UUID_BEGINNING = /^[0-9a-f]{4,8}$|^[0-9a-f]{8}-[0-9a-f-]{0,27}$/i;

export interface Resolver {
  client: Pick<DaemonClient, 'lookup'>;
  cli: Asking;
  /** The source that was named. */
  source?: string | undefined;
  writes?: Writes;
}

type Asking = Pick<CommandLine, 'io' | 'signal'>;

/** Given for a verb that changes something. With `yes` it does not ask whether an id is the one that is meant. */
interface Writes {
  yes?: boolean;
}

/** Fewer characters are too easily the beginning of another id than the one that is meant. */
const LEAST_TO_WRITE = 8;

/** The run that a text names, by its id, the beginning or the last part of it, or its URL. */
export async function resolveRun(text: string, resolver: Resolver): Promise<RunRef> {
  const found = await lookUpRun(readRun(text), resolver);
  await accept([found], 'run', resolver);
  return refOf(found);
}

/** Most ids that are looked up one by one: more come from a program, which knows them whole. */
const MOST_LOOKED_UP = 20;

/** {@link resolveRun} for texts that {@link readRun} gave, without repeats. */
export async function resolveRuns(texts: readonly string[], resolver: Resolver): Promise<RunRef[]> {
  return resolveSome(texts, resolver, lookUpRun);
}

/**
 * {@link resolveRuns} for a verb that also takes runs which the daemon does not know yet. It completes only what
 * may be the beginning of a UUID, and whole last parts, so that a new run is not taken for another one.
 */
export async function resolveKnownRuns(
  texts: readonly string[],
  resolver: Resolver,
): Promise<RunRef[]> {
  return resolveSome(texts, resolver, lookUpKnownRun);
}

async function resolveSome(
  texts: readonly string[],
  resolver: Resolver,
  find: typeof lookUpRun,
): Promise<RunRef[]> {
  const isMany = texts.length > MOST_LOOKED_UP;
  const found = await mapConcurrently(texts, MAX_REQUESTS, async (given) =>
    isMany && !isUrl(given) ? asTyped(given, resolver) : find(given, resolver),
  );
  await accept(found, 'run', resolver);
  return withoutRepeats(found);
}

function withoutRepeats(found: readonly FoundRun[]): RunRef[] {
  const located = new Set(found.flatMap(({ id, source }) => (source === undefined ? [] : [id])));
  const kept = found.filter(({ id, source }) => source !== undefined || !located.has(id));
  return [...new Map(kept.map((one) => [`${one.source ?? ''} ${one.id}`, refOf(one)])).values()];
}

/** {@link resolveId} for several ids, without repeats. */
export async function resolveIds(
  ids: readonly string[],
  kind: OtherKind,
  resolver: Resolver,
): Promise<string[]> {
  if (ids.length > MOST_LOOKED_UP) return [...new Set(ids)];
  const found = await Promise.all(ids.map((id) => lookUp(id, kind, resolver)));
  await accept(found, kind, resolver);
  return [...new Set(found.map(({ id }) => id))];
}

/** The id of the run, or its URL, that a text is by its form alone. Throws a usage error. */
export function readRun(text: string): string {
  const run = findRun(text);
  if (run === null) throw usageError(`"${plain(text.slice(0, 140))}" is not a run id`);
  return run;
}

/** What is no run, and has an id that the daemon can look up. */
type OtherKind = Exclude<LookupKind, 'run'>;

/**
 * The whole id of what begins so; the text itself where nothing does, or the daemon cannot say.
 * @throws RunwatchError `ambiguous_id` that lists the candidates; for a verb that writes also `declined`,
 *   and an error of usage where the text is too short
 */
export async function resolveId(
  text: string,
  kind: OtherKind,
  resolver: Resolver,
): Promise<string> {
  const found = await lookUp(text, kind, resolver);
  await accept([found], kind, resolver);
  return found.id;
}

/** What was typed, and the id that it stands for. */
interface Found {
  given: string;
  id: string;
}

interface FoundRun extends Found {
  /** Undefined where none or several have the run, or the daemon cannot say. */
  source: string | undefined;
}

function refOf({ id, source }: FoundRun): RunRef {
  return { runId: id, source };
}

/** Sources that spell a UUID in one way take it in any case. */
function isSame(id: string, given: string): boolean {
  return id === given || (isUuid(given) && id.toLowerCase() === given.toLowerCase());
}

function asTyped(given: string, { source }: Resolver): FoundRun {
  return { given, id: given, source };
}

async function lookUpRun(given: string, resolver: Resolver): Promise<FoundRun> {
  // Of a whole UUID, the daemon finds the source by itself.
  return isUuid(given) ? asTyped(given, resolver) : lookUpAny(given, resolver, () => true);
}

async function lookUpKnownRun(given: string, resolver: Resolver): Promise<FoundRun> {
  return lookUpAny(
    given,
    resolver,
    (id) => UUID_BEGINNING.test(given) || isSame(id, given) || lastPartOf(id) === given,
  );
}

/** @param isMeant whether a run that was found may be the one that is meant */
async function lookUpAny(
  given: string,
  resolver: Resolver,
  isMeant: (id: string) => boolean,
): Promise<FoundRun> {
  const { client, source: named } = resolver;
  const { data, isMore, tried } = await client.lookup({ q: given, limit: MOST_SHOWN });
  const runs = data.filter(({ source }) => named === undefined || source === named);
  if (isUrl(given)) return runOfUrl(given, runs, tried);
  const ids = [...new Set(runs.map(({ id }) => id).filter(isMeant))];
  const [only] = ids;
  if (only === undefined) return asTyped(given, resolver);
  const whole = ids.find((id) => id === given) ?? ids.find((id) => isSame(id, given));
  if (ids.length > 1 && whole === undefined) throw ambiguous(given, 'run', { ids, isMore });
  const id = whole ?? only;
  const [source, ...others] = new Set(
    runs.flatMap((one) => (one.id === id && one.source !== undefined ? [one.source] : [])),
  );
  return { given, id, source: others.length === 0 ? source : named };
}

function runOfUrl(
  url: string,
  runs: readonly { id: string; source?: string }[],
  tried: readonly string[] | undefined,
): FoundRun {
  const [run] = runs;
  if (run !== undefined && runs.length === 1) return { given: url, id: run.id, source: run.source };
  if (run !== undefined) {
    const names = runs.map(({ source }) => source).join(', ');
    throw new RunwatchError(
      `${plain(url)} may be of run ${plain(run.id)} of several sources: name one by --source (${names})`,
      { code: 'ambiguous_id' },
    );
  }
  if (tried === undefined) {
    throw new RunwatchError(
      `the daemon does not say which run has the URL ${plain(url)}, as for a token without the scope read: give the id of the run`,
      { code: 'run_not_found' },
    );
  }
  const sources = tried.length === 0 ? 'there is no source' : `tried ${tried.join(', ')}`;
  throw new RunwatchError(`no source has a run with the URL ${plain(url)} (${sources})`, {
    code: 'run_not_found',
  });
}

async function lookUp(text: string, kind: OtherKind, { client }: Resolver): Promise<Found> {
  const given = text.trim();
  const { data, isMore } = await client.lookup({ kind, q: given, limit: MOST_SHOWN });
  const ids = [...new Set(data.map(({ id }) => id))];
  const [only] = ids;
  if (only === undefined || ids.includes(given)) return { given, id: given };
  if (ids.length > 1) throw ambiguous(given, kind, { ids, isMore });
  return { given, id: only };
}

/** Says what was taken for what; before something is changed, it asks on a terminal. */
async function accept(
  found: readonly Found[],
  kind: string,
  { cli, writes }: { cli: Asking; writes?: Writes | undefined },
): Promise<void> {
  // A URL names its run as well as its whole id does.
  const completed = found.filter(({ given, id }) => !isSame(id, given) && !isUrl(given));
  const says = completed.map(({ given, id }) => `${plain(given)} is ${kind} ${plain(id)}`);
  if (writes !== undefined) for (const one of completed) refuseShort(one, kind);
  for (const line of says) note(cli.io.stderr, line);
  const isAsked = writes !== undefined && writes.yes !== true && cli.io.stdin.isTTY === true;
  if (isAsked && completed.length > 0 && !(await confirm(cli, 'Go on?'))) {
    throw new RunwatchError('nothing was changed', { code: 'declined' });
  }
}

/** Accepts one id that was completed elsewhere, as {@link resolveId} does. */
export async function acceptId(
  found: Found,
  kind: string,
  resolver: Pick<Resolver, 'cli' | 'writes'>,
): Promise<void> {
  await accept([found], kind, resolver);
}

function refuseShort({ given, id }: Found, kind: string): void {
  if (given.length >= LEAST_TO_WRITE || given === lastPartOf(id)) return;
  throw usageError(
    `"${plain(given)}" begins ${kind} ${plain(id)}, and is too short to change something by: ` +
      `type ${LEAST_TO_WRITE} characters of the id at least, or its whole last part`,
  );
}

/** The same for alerts, among the newest of them. */
export async function resolveAlert(
  text: string,
  { client, ...rest }: Omit<Resolver, 'client'> & { client: Pick<DaemonClient, 'alertIds'> },
): Promise<string> {
  return resolveAmong(await client.alertIds(), text, { kind: 'alert', ...rest });
}

/** The same for silences. */
export async function resolveSilence(
  text: string,
  { client, ...rest }: Omit<Resolver, 'client'> & { client: Pick<DaemonClient, 'listSilences'> },
): Promise<string> {
  const { data } = await client.listSilences();
  const all = data.map(({ id }) => id);
  return resolveAmong(all, text, { kind: 'silence', ...rest });
}

async function resolveAmong(
  all: readonly string[],
  text: string,
  { kind, ...rest }: Omit<Resolver, 'client'> & { kind: string },
): Promise<string> {
  const given = text.trim();
  const ids = all.filter((id) => id.startsWith(given));
  const [only] = ids;
  if (only === undefined || ids.includes(given)) return given;
  if (ids.length > 1) {
    const isMore = ids.length > MOST_SHOWN;
    throw ambiguous(given, kind, { ids: ids.slice(0, MOST_SHOWN), isMore });
  }
  await accept([{ given, id: only }], kind, rest);
  return only;
}

function ambiguous(
  text: string,
  kind: string,
  { ids, isMore }: { ids: string[]; isMore: boolean },
): RunwatchError {
  const lines = [...ids.map(plain), ...(isMore ? ['and others'] : [])];
  return new RunwatchError(
    `several ids of ${kind === 'delivery' ? 'deliveries' : `${kind}s`} begin${kind === 'run' ? ' or end' : ''} with "${plain(text)}": type more of it\n  - ${lines.join('\n  - ')}`,
    { code: 'ambiguous_id' },
  );
}
