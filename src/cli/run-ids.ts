import { createInterface } from 'node:readline';
import { addAbortSignal, Readable } from 'node:stream';
import { readRegularFile } from '../config/read-file.ts';
import { ID_PATTERN, ID_SHAPE } from '../core/run/id.ts';
import { withoutWrapping } from '../core/run/run-address.ts';
import { isUuid } from '../core/run/snapshot.ts';
import type { CommandLine } from './command-line.ts';
import { usageError } from './exit.ts';
import { plain } from './render/text.ts';

/** Most that a list of run ids may hold: some 400,000 UUIDs. */
const MAX_BYTES = 16 * 1024 * 1024;

/** Run ids and URLs of runs as given, without repeats, and a sentence for each text that is neither. */
export interface RunIds {
  ids: string[];
  problems: string[];
}

/** Standard input, and the signal that ends the reading of it. */
type Input = Pick<CommandLine, 'io' | 'signal'>;

/** A text that should be a run id, and where it stands, such as `line 3 of ids.txt`. */
interface Given {
  text: string;
  place: string;
}

/**
 * Reads run ids, and URLs of runs, from arguments, of which `-` stands for standard input, and from a file. Files hold
 * one on a line; blank lines and what follows a `#` are skipped.
 */
export async function readRunIds(
  args: readonly string[],
  file: string | undefined,
  input: Input,
): Promise<RunIds> {
  if (args.length === 0 && file === undefined) throw usageError('no run id was given');
  const ids = new Set<string>();
  const problems: string[] = [];
  for await (const { text, place } of given(args, file, input)) {
    const id = findRun(text);
    if (id !== null) ids.add(id);
    else problems.push(`${place}: "${plain(text.slice(0, 140))}" is not a run id`);
  }
  return { ids: [...ids], problems };
}

/** Run ids that all must be good. Throws a usage error that names each that is not. */
export async function readGoodRunIds(
  args: readonly string[],
  file: string | undefined,
  input: Input,
): Promise<string[]> {
  const { ids, problems } = await readRunIds(args, file, input);
  if (problems.length > 0) throw badRunIds(problems);
  return ids;
}

/** Most problems that are spelt out. */
const SHOWN = 20;

export function badRunIds(problems: readonly string[]): Error {
  const more = problems.length > SHOWN ? [`and ${problems.length - SHOWN} more`] : [];
  return usageError(
    [`a run id is ${ID_SHAPE}; nothing was done, because of`]
      .concat(problems.slice(0, SHOWN), more)
      .join('\n  - '),
  );
}

async function* given(
  args: readonly string[],
  file: string | undefined,
  input: Input,
): AsyncGenerator<Given> {
  for (const [index, arg] of args.entries()) {
    if (arg === '-') yield* standardInput(input);
    else yield { text: arg, place: `argument ${index + 1}` };
  }
  if (file === '-') yield* standardInput(input);
  else if (file !== undefined) yield* fileLines(file);
}

function standardInput({ io, signal }: Input): AsyncGenerator<Given> {
  if (io.stdin.isTTY === true) {
    io.stderr.write('Reading run ids from the terminal, one on a line; Ctrl-D ends.\n');
  }
  return lines(Readable.from(limited(addAbortSignal(signal, io.stdin))), 'standard input');
}

async function* limited(input: Readable): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of input as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw usageError('standard input holds more than 16 MiB of run ids');
    yield chunk;
  }
}

function fileLines(path: string): AsyncGenerator<Given> {
  const read = readRegularFile(path, { maxBytes: MAX_BYTES });
  if (read.kind === 'read') return lines(Readable.from([read.text]), plain(path));
  throw usageError(`cannot read run ids: ${plain(read.message)}`);
}

async function* lines(input: Readable, name: string): AsyncGenerator<Given> {
  let failure: unknown;
  input.once('error', (error) => (failure = error));
  let number = 0;
  for await (const line of createInterface({ input, crlfDelay: Infinity })) {
    number += 1;
    const text = line
      .replace(/^\u{feff}/u, '')
      .replace(/(^|\s)#.*$/, '')
      .trim();
    if (text !== '') yield { text, place: `line ${number} of ${name}` };
  }
  if (failure !== undefined) throw failure;
}

/** What scripts print where they have no id: taken for one, nothing would ever be heard of it. */
const NOTHING = new Set(['null', 'undefined', 'none', 'nan']);

/** Longest text that is looked through for an id. */
const MAX_LENGTH = 4_096;

/** Whether it is the URL of a run: no id has an empty part between slashes. */
export function isUrl(text: string): boolean {
  return text.includes('://');
}

/**
 * The run that a text names by its form: an id, or a URL, also in white space or braces; or null. Which run has
 * a URL is for the daemon to say.
 */
export function findRun(text: string): string | null {
  if (text.length > MAX_LENGTH) return null;
  const bare = withoutWrapping(text);
  if (isUrl(bare)) return urlIn(bare);
  const uuid = unquoted(bare);
  if (isUuid(uuid)) return uuid;
  return ID_PATTERN.test(bare) && !NOTHING.has(bare.toLowerCase()) ? bare : null;
}

function urlIn(bare: string): string | null {
  const url = QUOTES.includes(bare.charAt(0)) ? unquoted(bare) : bare;
  return URL.canParse(url) ? url : null;
}

/** What may be part of ids of other forms, and neither of a UUID's nor the beginning of a URL. */
const QUOTES = ' \t{}[]()<>"\'`,;';

/** A text without quotes and the like around it, as where a UUID was copied from a list in JSON. */
function unquoted(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && QUOTES.includes(text.charAt(start))) start += 1;
  while (end > start && QUOTES.includes(text.charAt(end - 1))) end -= 1;
  return text.slice(start, end);
}
