import type { DaemonClient, LookupKind } from '../client/client.ts';
import { RunwatchError } from '../core/errors.ts';
import { isUuid } from '../core/run/snapshot.ts';
import { confirm } from './confirm.ts';
import type { CommandLine } from './command-line.ts';
import { usageError } from './exit.ts';
import { plain } from './render/text.ts';
import { note } from './report.ts';
import { findRunId } from './run-ids.ts';

/*
 * What users type for an id: all of it, its beginning where only one begins so, or a run's URL.
 */

/** Most candidates that are listed for a beginning that several ids have. */
const MOST_SHOWN = 10;

/** The beginning of a UUID, long enough to be meant as one. */
const UUID_BEGINNING = /^[0-9a-f]{4,8}$|^[0-9a-f]{8}-[0-9a-f-]{0,27}$/i;

interface Resolver {
  client: Pick<DaemonClient, 'lookup'>;
  cli: Asking;
  writes?: Writes;
}

type Asking = Pick<CommandLine, 'io' | 'signal'>;

/** Given for a verb that changes something. With `yes` it does not ask whether an id is the one that is meant. */
interface Writes {
  yes?: boolean;
}

/** Fewer characters are too easily the beginning of another id than the one that is meant. */
const LEAST_TO_WRITE = 8;

/** The id of the run that a text names, by its id, its beginning, or its URL. */
export async function resolveRun(text: string, resolver: Resolver): Promise<string> {
  return resolveId(readRunId(text), 'run', resolver);
}

/** Most ids that are looked up one by one: more come from a program, which knows them whole. */
const MOST_LOOKED_UP = 20;

/** {@link resolveRun} for ids of the right form, without repeats. */
export async function resolveRuns(ids: readonly string[], resolver: Resolver): Promise<string[]> {
  return resolveIds(ids, 'run', resolver);
}

/** {@link resolveId} for several ids, without repeats. */
export async function resolveIds(
  ids: readonly string[],
  kind: LookupKind,
  resolver: Resolver,
): Promise<string[]> {
  if (ids.length > MOST_LOOKED_UP) return [...new Set(ids)];
  const found = await Promise.all(ids.map((id) => lookUp(id, kind, resolver)));
  return [...new Set(await accept(found, kind, resolver))];
}

/**
 * {@link resolveRuns} for a verb that also takes runs which the daemon does not know yet. It completes
 * only what may be the beginning of a UUID, so that a new run is not taken for another one.
 */
export async function resolveKnownRuns(
  ids: readonly string[],
  resolver: Resolver,
): Promise<string[]> {
  if (ids.length > MOST_LOOKED_UP) return [...ids];
  const found = await Promise.all(
    ids.map(async (id) => {
      return UUID_BEGINNING.test(id) ? lookUp(id, 'run', resolver) : { given: id, id };
    }),
  );
  return [...new Set(await accept(found, 'run', resolver))];
}

/**
 * The source that alone has each run already; undefined where none or several have it, where the daemon
 * cannot say, and for ids of a program.
 */
export async function sourcesOfRuns(
  ids: readonly string[],
  client: Resolver['client'],
): Promise<(string | undefined)[]> {
  if (ids.length > MOST_LOOKED_UP) return ids.map(() => undefined);
  return Promise.all(
    ids.map(async (id) => {
      const { data } = await client.lookup({ kind: 'run', prefix: id, limit: MOST_SHOWN });
      const same = data.filter((one) => one.id.toLowerCase() === id.toLowerCase());
      const sources = new Set(same.map(({ source }) => source));
      return sources.size === 1 ? [...sources][0] : undefined;
    }),
  );
}

/** The id that a run has by its form alone. Throws a usage error. */
export function readRunId(text: string): string {
  const id = findRunId(text);
  if (id === null) throw usageError(`"${plain(text.slice(0, 140))}" is not a run id`);
  return id;
}

/**
 * The whole id of what begins so; the text itself where nothing does, or the daemon cannot say.
 * @throws RunwatchError `ambiguous_id` that lists the candidates; for a verb that writes also `declined`,
 *   and an error of usage where the text is too short
 */
export async function resolveId(
  text: string,
  kind: LookupKind,
  resolver: Resolver,
): Promise<string> {
  const [id] = await accept([await lookUp(text, kind, resolver)], kind, resolver);
  return id ?? text;
}

/** What was typed, and the id that it stands for. */
interface Found {
  given: string;
  id: string;
}

async function lookUp(text: string, kind: LookupKind, { client }: Resolver): Promise<Found> {
  const given = text.trim();
  if (kind === 'run' && isUuid(given)) return { given, id: given };
  const { data, isMore } = await client.lookup({ kind, prefix: given, limit: MOST_SHOWN });
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
): Promise<string[]> {
  const completed = found.filter(({ given, id }) => given !== id);
  const says = completed.map(({ given, id }) => `${plain(given)} is ${kind} ${plain(id)}`);
  if (writes !== undefined) for (const one of completed) refuseShort(one, kind);
  for (const line of says) note(cli.io.stderr, line);
  const isAsked = writes !== undefined && writes.yes !== true && cli.io.stdin.isTTY === true;
  if (isAsked && completed.length > 0 && !(await confirm(cli, 'Go on?'))) {
    throw new RunwatchError('nothing was changed', { code: 'declined' });
  }
  return found.map(({ id }) => id);
}

function refuseShort({ given, id }: Found, kind: string): void {
  if (given.length >= LEAST_TO_WRITE || given === id.slice(id.lastIndexOf('/') + 1)) return;
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
  const [id] = await accept([{ given, id: only }], kind, rest);
  return id ?? given;
}

function ambiguous(
  text: string,
  kind: string,
  { ids, isMore }: { ids: string[]; isMore: boolean },
): RunwatchError {
  const lines = [...ids.map(plain), ...(isMore ? ['and others'] : [])];
  return new RunwatchError(
    `several ids of ${kind === 'delivery' ? 'deliveries' : `${kind}s`} begin with "${plain(text)}": type more of it\n  - ${lines.join('\n  - ')}`,
    { code: 'ambiguous_id' },
  );
}
