import { type Command, Option } from 'commander';
import type { DaemonClient } from '../client/client.ts';
import type { PageView, WorkflowsView } from '../client/types.ts';
import { RunwatchError } from '../core/errors.ts';
import { isUuid } from '../core/run/snapshot.ts';
import type { CommandLine } from './command-line.ts';
import { widened, type Output } from './output.ts';
import { usageError } from './exit.ts';
import { moreText, plain } from './render/text.ts';
import { note, writeJson } from './report.ts';
import { collectPair, moment, positiveInteger, type Moment } from './options.ts';

/* What several listings have: filters, as flags and as the API takes them, and how a page is shown. */

/** Flags that bound a listing in time. */
export interface TimeFlags {
  since?: Moment;
  until?: Moment;
}

/**
 * Adds `--since` and `--until`.
 * @param what is bounded, such as `created`
 */
export function addTimeFlags(command: Command, what: string): Command {
  return command
    .option('--since <time>', `${what} at this time or later, or this long ago, such as 1h`, moment)
    .option('--until <time>', `${what} before this time, or this long ago`, moment);
}

/**
 * What `--since` and `--until` come to.
 * @param now milliseconds since the epoch
 * @throws a usage error where nothing lies between the two
 */
export function timeQuery(
  { since, until }: TimeFlags,
  now: number,
): { since: string | undefined; until: string | undefined } {
  const [from, to] = [since?.(now), until?.(now)];
  if (from !== undefined && to !== undefined && from >= to) {
    throw usageError('--since must be before --until');
  }
  return { since: timeText(from), until: timeText(to) };
}

function timeText(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

export type Meta = Readonly<Record<string, string>>;

export function addMetaFlag(command: Command): Command {
  return command.option(
    '--meta <key=value>',
    'with this in the metadata of the watch; may be repeated',
    collectPair,
  );
}

/** Flags of every listing. */
export interface ListingFlags {
  limit?: number;
  all?: boolean;
  wide?: boolean;
  json?: boolean;
}

const DEFAULT_LIMIT = 50;

/** Adds `--limit`, `--all`, `--wide` and `--json`. */
export function addListingFlags(command: Command): Command {
  return command
    .option('--limit <n>', `how many at most (default: ${DEFAULT_LIMIT})`, positiveInteger)
    .option('--all', 'all of them')
    .addOption(wideFlag())
    .option('--json', "print the API's answer");
}

export function wideFlag(): Option {
  return new Option('--wide', 'show all columns, whatever the width of the terminal');
}

export function limitOf({ all, limit = DEFAULT_LIMIT }: ListingFlags): number {
  return all === true ? Infinity : limit;
}

/** A page, and what to say of it. */
interface Listing<Item> {
  page: PageView<Item>;
  /** What is listed, such as `watch` and `watches`. */
  what: [one: string, many: string];
  /** What to say where there is none at all. */
  none: string;
  filters: object;
  /** Lists without filters. */
  list: (query: { limit: number }) => Promise<PageView<unknown>>;
  render: (items: Item[], output: Output) => string;
  /** How to see the rest, besides `--limit` and `--all`. */
  next?: string | undefined;
}

/** Prints a page as JSON or a table. It says on stderr what the page leaves out, or why it is empty. */
export async function showListing<Item>(
  { stdout, stderr }: CommandLine['io'],
  { json, wide }: ListingFlags,
  listing: Listing<Item>,
): Promise<void> {
  const { page, what, render, next } = listing;
  if (json === true) return writeJson(stdout, page);
  if (page.data.length === 0) note(stderr, await whyNothing(listing));
  else stdout.write(render(page.data, widened(stdout, wide)));
  const more = moreText(page, ...what);
  if (more !== null) note(stderr, next === undefined ? more : `${more} ${next}`);
}

/** Says of an empty listing whether there is nothing, or nothing that matches. */
async function whyNothing<Item>({ what, none, filters, list }: Listing<Item>): Promise<string> {
  const isFiltered = Object.values(filters).some((value) => value !== undefined);
  if (!isFiltered) return none;
  const { data } = await list({ limit: 1 });
  return data.length === 0 ? none : `No ${what[0]} matches; without the filters there are some.`;
}

/** Most workflows that are named where a name is unknown. */
const MOST_NAMED = 10;

/**
 * Ids of workflows by their names, or by what one id alone begins with, for a query.
 * @param text names or ids, separated by commas
 * @param code of the error for what is neither
 * @throws RunwatchError where the daemon knows workflows, and not this one
 */
export async function workflowIds(
  text: string | undefined,
  client: Pick<DaemonClient, 'listWorkflows'>,
  code: 'usage' | 'workflow_not_found' = 'usage',
): Promise<string | undefined> {
  if (text === undefined) return undefined;
  // A daemon of an older version knows no names.
  const { data } = await client.listWorkflows({ since: '30d' }).catch(() => ({ data: [] }));
  const ids = text.split(',').flatMap((part) => idsOf(part.trim(), data, code));
  return [...new Set(ids)].join(',');
}

function idsOf(wanted: string, workflows: WorkflowsView['data'], code: string): string[] {
  const named = workflows.filter(({ name }) => name?.toLowerCase() === wanted.toLowerCase());
  if (named.length > 0) return named.map(({ workflow_id: id }) => id);
  const begun = workflows.filter(({ workflow_id: id }) => id.startsWith(wanted.toLowerCase()));
  const [only] = new Set(begun.map(({ workflow_id: id }) => id));
  // A whole id may be of a workflow without runs for a month.
  if (workflows.length === 0 || isUuid(wanted)) return [wanted];
  if (only !== undefined && begun.length === 1) return [only];
  if (begun.some(({ workflow_id: id }) => id === wanted)) return [wanted];
  const isAmbiguous = begun.length > 1;
  const what = isAmbiguous ? 'several ids of workflows begin with' : 'no workflow is called';
  const known = [
    ...new Set(isAmbiguous ? begun.map(({ workflow_id: id }) => id) : workflows.map(labelOf)),
  ];
  const more = known.length > MOST_NAMED ? ', …' : '';
  throw new RunwatchError(
    plain(`${what} "${wanted}"; known are: ${known.slice(0, MOST_NAMED).join(', ')}${more}`),
    { code: isAmbiguous ? 'ambiguous_id' : code },
  );
}

function labelOf({ name, workflow_id: id }: WorkflowsView['data'][number]): string {
  return name ?? id;
}
