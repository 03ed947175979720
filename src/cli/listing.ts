import { type Command, Option } from 'commander';
import type { DaemonClient, FailedRuns, RunwatchClient } from '../client/client.ts';
import { collectPages } from '../client/pages.ts';
import type { PageView, WatchQuery, WorkflowsView } from '../client/types.ts';
import { messageOf, RunwatchError } from '../core/errors.ts';
import { lastPartOf, shortIds, type IdText } from '../core/run/short-id.ts';
import { isUuid } from '../core/run/snapshot.ts';
import type { CommandLine } from './command-line.ts';
import { widened, type Colors, type Output } from './output.ts';
import { EXIT, usageError } from './exit.ts';
import { renderTable, type Column } from './render/table.ts';
import { moreText, plain } from './render/text.ts';
import { note, writeJson } from './report.ts';
import { moment, positiveInteger, type Moment } from './options.ts';
import { acceptId, resolveRun, type Resolver } from './resolve.ts';
import { openWeb, webFlag, type WebFlags, type WebPage } from './web.ts';

/* A verb that lists something is data, as far as it does not think: its filters, its columns, what it says. */

/** What it takes to say what a flag means. */
export interface Asking {
  client: RunwatchClient;
  cli: CommandLine;
}

/** A filter of the API as a flag. `read` gives what the API takes for its value, if not that. */
type FilterFlag<Value = unknown> = Option | ReadFlag<Value>;

interface ReadFlag<Value> {
  option: Option;
  read: (given: never, asking: Asking) => Value | Promise<Value>;
}

/** A flag for each filter that a listing of the API has, in the order of the help. */
export type FilterFlags<Query> = {
  readonly [Name in Exclude<keyof Query, 'limit' | 'cursor'>]-?: FilterFlag<Query[Name]>;
};

/** What columns show besides the row, ms since the epoch. */
export interface TableView {
  now: number;
  colors: Colors;
  /** How ids are shown, of which these stand together: short on a terminal, by default as those of runs. */
  idTexts: (ids: Iterable<string>, short?: IdText) => IdText;
}

/** The columns of a table, the most useful ones first: on a narrow terminal the last ones give way. */
export type Columns<Item> = (items: readonly Item[], view: TableView) => readonly Column<Item>[];

/** What a verb lists, page by page. */
export interface Listing<Item, Query, Flags> {
  /** Such as `watch` and `watches`. */
  what: readonly [one: string, many: string];
  /** What to say where there is none at all. */
  none: string;
  filters: FilterFlags<Query>;
  /** What goes to the API for what was asked for, if not that. */
  adapt?: (query: Query, flags: Flags) => Query;
  list: (client: DaemonClient, query: Query) => Promise<PageView<Item>>;
  /** Its page in the dashboard; absent, it has none. */
  page?: WebPage;
  columns: Columns<Item>;
  /** How to see the rest, besides `--limit` and `--all`. */
  next?: (page: PageView<Item>, query: Query) => string | undefined;
  /** Says on stderr what people need to know besides; of an empty listing, where there is none at all. */
  advise?: (cli: CommandLine, client: DaemonClient, found: { isEmpty: boolean }) => Promise<void>;
}

/** @param before flags that are no filters, by the filter that they stand before in the help */
export function addFilterFlags<Name extends string>(
  command: Command,
  filters: Readonly<Record<Name, FilterFlag>>,
  before: Partial<Record<Name, Option>> = {},
): Command {
  for (const [name, filter] of Object.entries<FilterFlag>(filters)) {
    const other = before[name as Name];
    if (other !== undefined) command.addOption(other);
    command.addOption('read' in filter ? filter.option : filter);
  }
  return command;
}

/** The query that flags come to: the filters that were given. Throws RunwatchError. */
export async function queryOf<Query>(
  filters: FilterFlags<Query>,
  flags: object,
  asking: Asking,
): Promise<Query> {
  const given = flags as Readonly<Record<string, never>>;
  timeQuery(given, asking.cli.now());
  const query: Record<string, unknown> = {};
  for (const [name, filter] of Object.entries<FilterFlag>(filters)) {
    const { option, read } = 'read' in filter ? filter : { option: filter, read: undefined };
    const value = given[option.attributeName()];
    if (value !== undefined) query[name] = read === undefined ? value : await read(value, asking);
  }
  return query as Query;
}

/** A flag for a time, or for how long ago. */
export function timeFlag(flags: string, help: string) {
  return { option: new Option(flags, help).argParser(moment), read: momentText };
}

function momentText(at: Moment, { cli }: Asking): string {
  return new Date(at(cli.now())).toISOString();
}

/** @param what is bounded by `--since` and `--until`, such as `created` */
export function timeFilters(what: string) {
  return {
    since: timeFlag(
      '--since <time>',
      `${what} at this time or later, or this long ago, such as 1h`,
    ),
    until: timeFlag('--until <time>', `${what} before this time, or this long ago`),
  };
}

/**
 * What `--since` and `--until` come to.
 * @param now milliseconds since the epoch
 * @throws a usage error where nothing lies between the two
 */
export function timeQuery(flags: { since?: Moment; until?: Moment }, now: number) {
  const [since, until] = [flags.since?.(now), flags.until?.(now)];
  if (since !== undefined && until !== undefined && since >= until) {
    throw usageError('--since must be before --until');
  }
  return { since: timeText(since), until: timeText(until) };
}

function timeText(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

export const OF_ONE_RUN = {
  option: new Option('--run <run-id>', 'of one run'),
  read: async (run: string, asking: Asking) => (await resolveRun(run, asking)).runId,
};

/** Flags of a listing that has pages. */
export interface ListingFlags extends WebFlags {
  limit?: number;
  all?: boolean;
  wide?: boolean;
  json?: boolean;
}

const DEFAULT_LIMIT = 50;

/** Adds `--limit`, `--all`, `--wide` and `--json`, and `--web` where there is a page. */
export function addListingFlags(command: Command, page?: WebPage): Command {
  command
    .option('--limit <n>', `how many at most (default: ${DEFAULT_LIMIT})`, positiveInteger)
    .option('--all', 'all of them')
    .addOption(wideFlag())
    .option('--json', "print the API's answer");
  return page === undefined ? command : command.addOption(webFlag());
}

export function wideFlag(): Option {
  return new Option('--wide', 'show all columns and whole ids, whatever the width of the terminal');
}

/** What was asked for, and the read of its pages, as far as the flags want them. */
export async function openListing<Item, Query, Flags extends ListingFlags>(
  cli: CommandLine,
  { filters, list, adapt = (query) => query }: Listing<Item, Query, Flags>,
  flags: Flags,
) {
  const client = await cli.connect(flags);
  const asked = await queryOf(filters, flags, { client, cli });
  const { all, limit = DEFAULT_LIMIT } = flags;
  const query = adapt(asked, flags);
  const read = () =>
    collectPages(
      (paging) => list(client, { ...query, ...paging }),
      all === true ? Infinity : limit,
    );
  return { client, asked, query, read };
}

/** Prints what the flags ask for. It says on stderr what that leaves out, or why it is empty. */
export async function showListing<Item, Query extends Paging, Flags extends ListingFlags>(
  cli: CommandLine,
  listing: Listing<Item, Query, Flags>,
  flags: Flags,
): Promise<number> {
  const { client, asked, query, read } = await openListing(cli, listing, flags);
  if (flags.web === true && listing.page !== undefined) {
    return openWeb(cli, flags, listing.page, query);
  }
  const page = await read();
  const { what, columns, next, advise } = listing;
  const isEmpty = page.data.length === 0;
  const isForPeople = flags.json !== true;
  const none = isEmpty && isForPeople ? await whyNothing(client, listing, asked) : '';
  showRows(cli, flags, { page, none, columns });
  const more = isForPeople ? moreText(page, ...what) : null;
  if (more !== null) note(cli.io.stderr, [more, next?.(page, query)].filter(Boolean).join(' '));
  const isMute = !isForPeople || (isEmpty && none !== listing.none);
  if (!isMute) await advise?.(cli, client, { isEmpty });
  return EXIT.ok;
}

type Paging = Pick<WatchQuery, 'limit' | 'cursor'>;

/** Says of an empty listing whether there is nothing, or nothing that matches. */
async function whyNothing<Item, Query extends Paging>(
  client: DaemonClient,
  { what, none, list }: Pick<Listing<Item, Query, never>, 'what' | 'none' | 'list'>,
  asked: Query,
): Promise<string> {
  // An order leaves nothing out.
  if (Object.keys(asked).every((name) => name === 'order')) return none;
  const { data } = await list(client, { limit: 1 } as Query);
  return data.length === 0 ? none : `No ${what[0]} matches; without the filters there are some.`;
}

/** Prints an answer as JSON or, of its rows, a table; without any it says so on stderr. */
export function showRows<Item>(
  cli: CommandLine,
  { json, wide }: Pick<ListingFlags, 'json' | 'wide'>,
  { page, none, columns }: { page: { data: Item[] }; none: string; columns: Columns<Item> },
): void {
  if (json === true) writeJson(cli.io.stdout, page);
  else if (page.data.length === 0) note(cli.io.stderr, none);
  else cli.io.stdout.write(tableOf(cli, page.data, columns, wide));
}

export function tableOf<Item>(
  { io: { stdout }, now }: CommandLine,
  items: readonly Item[],
  columns: Columns<Item>,
  wide?: boolean,
): string {
  const output = widened(stdout, wide);
  const view = { now: now(), colors: output.colors, idTexts: idTextsFor(stdout, wide) };
  return renderTable(items, columns(items, view), output);
}

/** Programs get whole ids, and so does `--wide`. */
export function idTextsFor({ isTty }: Pick<Output, 'isTty'>, wide?: boolean): TableView['idTexts'] {
  return isTty && wide !== true ? shortIds : () => (id) => id;
}

/** The name of a workflow of a source, or of any; null where none is known. */
export type NameOf = (workflow: { source?: string; workflow_id: string }) => string | null;

/** Names of workflows that had runs lately; none from a daemon of an older version. */
export async function workflowNames(client: Pick<DaemonClient, 'listWorkflows'>): Promise<NameOf> {
  const { data } = await client.listWorkflows({ since: '30d' }).catch(() => ({ data: [] }));
  return ({ source, workflow_id: id }) => {
    const isOf = (one: string) => source === undefined || one === source;
    return data.find((one) => one.workflow_id === id && isOf(one.source))?.name ?? null;
  };
}

/** Most workflows that are named where a name is unknown. */
const MOST_NAMED = 10;

/**
 * Ids of workflows by their names, or by what one id alone begins with or has as its last part, for a query.
 * @param text names or ids, separated by commas
 * @param code of the error for what is neither
 * @throws RunwatchError where the daemon knows workflows, and not this one, or cannot say which it knows
 */
export async function workflowIds(
  text: string | undefined,
  client: Pick<DaemonClient, 'listWorkflows'>,
  code: 'usage' | 'workflow_not_found' = 'usage',
): Promise<string[] | undefined> {
  if (text === undefined) return undefined;
  return idsAmong(await workflowsNamedBy(text, client), text, code);
}

/**
 * Workflows that had runs lately, for what names some of them; none from a daemon of an older version.
 * @throws RunwatchError `forbidden` where the token may not read them, and the text is more than whole UUIDs
 */
async function workflowsNamedBy(
  text: string,
  client: Pick<DaemonClient, 'listWorkflows'>,
): Promise<WorkflowsView['data']> {
  try {
    return (await client.listWorkflows({ since: '30d' })).data;
  } catch (error) {
    const code = error instanceof RunwatchError ? error.code : null;
    if (code === 'route_not_found') return [];
    if (code !== 'forbidden') throw error;
    const name = partsOf(text).find((part) => !isUuid(part));
    if (name === undefined) return [];
    throw new RunwatchError(
      `the token may not look up the workflow "${plain(name)}" (${messageOf(error)}): ` +
        'give its id where that is a UUID, or use a token with the scope read',
      { code: 'forbidden', cause: error },
    );
  }
}

function partsOf(text: string): string[] {
  return text.split(',').map((part) => part.trim());
}

function idsAmong(workflows: WorkflowsView['data'], text: string, code: string): string[] {
  return [...new Set(partsOf(text).flatMap((part) => idsOf(part, workflows, code)))];
}

/** A text such as `workflow/invoices`: failures of a workflow, or those of the runs of a source without one. */
export interface FailuresNamed {
  place: 'workflow' | 'source';
  name: string;
}

/** Reads such a text; null for one that means something else. */
export function readFailures(text: string): FailuresNamed | null {
  const [, place, name = ''] = /^\s*(workflow|source)\/(.+?)\s*$/.exec(text) ?? [];
  return place === 'workflow' || place === 'source' ? { place, name } : null;
}

type WorkflowResolver = Omit<Resolver, 'client'> & {
  client: Pick<DaemonClient, 'listWorkflows' | 'listSources'>;
};

/** The failures that such a text names. Throws RunwatchError. */
export async function resolveFailures(
  { place, name }: FailuresNamed,
  resolver: WorkflowResolver,
): Promise<FailedRuns> {
  return place === 'source' ? { source: name, workflowId: null } : resolveWorkflow(name, resolver);
}

/**
 * The workflow that a name or an id means, of one source.
 * @throws RunwatchError `ambiguous_id`, `workflow_not_found`, and for a verb that writes those of `resolveId`
 */
async function resolveWorkflow(
  text: string,
  resolver: WorkflowResolver,
): Promise<{ source: string; workflowId: string }> {
  const { client, source: named } = resolver;
  const data = await workflowsNamedBy(text, client);
  const ids = idsAmong(data, text, 'workflow_not_found');
  const [workflowId = text] = ids;
  const isName = data.some(({ name }) => name?.toLowerCase() === text.toLowerCase());
  if (!isName) await acceptId({ given: text, id: workflowId }, 'workflow', resolver);
  const having = data.filter(({ workflow_id: id }) => ids.includes(id)).map(({ source }) => source);
  const sources = named === undefined ? having : [named];
  // One without runs for a month is of the only source there is.
  if (sources.length === 0) {
    sources.push(...(await client.listSources()).data.map(({ name }) => name));
  }
  const [source] = sources;
  if (source !== undefined && sources.length === 1 && ids.length === 1) {
    return { source, workflowId };
  }
  const lines = ids.flatMap((id) => sources.map((one) => `${plain(id)} of source ${plain(one)}`));
  throw new RunwatchError(
    `"${plain(text)}" may be several workflows: name one by its id and its source\n  - ${lines.join('\n  - ')}`,
    { code: 'ambiguous_id' },
  );
}

function idsOf(wanted: string, workflows: WorkflowsView['data'], code: string): string[] {
  const named = workflows.filter(({ name }) => name?.toLowerCase() === wanted.toLowerCase());
  if (named.length > 0) return named.map(({ workflow_id: id }) => id);
  const begun = workflows.filter(
    ({ workflow_id: id }) =>
      id.startsWith(wanted) || id.startsWith(wanted.toLowerCase()) || lastPartOf(id) === wanted,
  );
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
