import { Option } from 'commander';
import type { DaemonClient } from '../../client/client.ts';
import { collectPages } from '../../client/pages.ts';
import type { PollingQuery, SourceView, WorkflowView } from '../../client/types.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT } from '../exit.ts';
import {
  addFilterFlags,
  queryOf,
  showRows,
  tableOf,
  wideFlag,
  workflowIds,
  type Columns,
  type FilterFlags,
  workflowNames,
  type NameOf,
} from '../listing.ts';
import { positiveInteger } from '../options.ts';
import type { Column } from '../render/table.ts';
import { count, lasting, plain } from '../render/text.ts';
import { note, writeJson } from '../report.ts';
import { daemonCommand } from '../verb.ts';
import { openWeb, webFlag, type WebFlags } from '../web.ts';

type SourceStreams = NonNullable<SourceView['streams']>;

/** The workflow is an argument. */
const FILTERS: FilterFlags<Omit<PollingQuery, 'workflow_id'>> = {
  source: new Option('--source <name>', 'the source that the workflows belong to'),
};

interface PollingFlags extends WebFlags {
  source?: string;
  limit: number;
  all?: boolean;
  wide?: boolean;
  json?: boolean;
}

export function addPollingVerb(cli: CommandLine): void {
  const command = daemonCommand<'GET /v1/polling'>(
    cli.program,
    'polling [workflow]',
    'read',
  ).description('show how well runs of workflows are polled');
  addFilterFlags(command, FILTERS)
    .option('--limit <n>', 'how many at most', positiveInteger, 50)
    .option('--all', 'all of them')
    .addOption(wideFlag())
    .option('--json', "print the API's answer")
    .addOption(webFlag())
    .addHelpText('after', HELP)
    .action((workflow: string | undefined, flags: PollingFlags) =>
      cli.run(() => polling(cli, workflow, flags)),
    );
}

const HELP = `
RUNS were watched to their end, which took them MEDIAN and P90 from their creation (known from the
fifth on). REQUESTS were made for one of them alone, and its end was seen with DELAY, both as recent
averages. EXPECTED is what the daemon's limits and profile come to, by how long runs last; progress and
lists make the real figures better.
A line for each source says how often its runs are read, and another how many event streams are open of
how many wanted. A table below it has the transitions: whether runs are left to the streams until then, and
how many became known first by a stream, by a list, or by a read.
Exits 1 when nothing is known of the workflow.

Examples:
  runwatch polling
  runwatch polling invoices --json | jq '.data[0].measured'`;

async function polling(
  cli: CommandLine,
  workflow: string | undefined,
  flags: PollingFlags,
): Promise<number> {
  if (flags.web === true) return openWeb(cli, flags, { path: '/system' });
  const client = await cli.connect(flags);
  const query: PollingQuery = {
    workflow_id: (await workflowIds(workflow, client, 'workflow_not_found'))?.join(','),
    ...(await queryOf(FILTERS, flags, { client, cli })),
  };
  const page = await collectPages(
    (paging) => client.listPolling({ ...query, ...paging }),
    flags.all === true ? Infinity : flags.limit,
  );
  const none = 'Nothing is known yet: no run has ended.';
  if (flags.json === true) {
    writeJson(cli.io.stdout, page);
    return EXIT.ok;
  }
  const nameOf = page.data.length === 0 ? NO_NAMES : await workflowNames(client);
  showRows(cli, flags, { page, none, columns: columnsFor(nameOf) });
  if (page.next_cursor !== null) {
    note(cli.io.stderr, 'There are more; --limit or --all shows them.');
  }
  await showSources(cli, client, flags.source);
  return EXIT.ok;
}

/** How often the runs of each source are read, how its streams stand, and on stderr which polls are overdue. */
async function showSources(
  cli: CommandLine,
  client: Pick<DaemonClient, 'listSources'>,
  wanted: string | undefined,
): Promise<void> {
  const { io } = cli;
  const page = await client.listSources().catch(() => null);
  const sources = page?.data.filter(({ name }) => wanted === undefined || wanted === name) ?? [];
  for (const { name, reads, streams, overdue } of sources) {
    // Each is absent from a daemon that does not know it.
    if (reads) io.stdout.write(`${plain(reads.message)}\n`);
    if (streams !== undefined) {
      io.stdout.write(`${plain(streamsText(name, streams))}\n`);
      const transitions = transitionsOf(streams);
      if (transitions.length > 0) io.stdout.write(tableOf(cli, transitions, TRANSITION_COLUMNS));
    }
    if (overdue) note(io.stderr, plain(overdue.message));
  }
}

function streamsText(name: string, streams: SourceStreams): string {
  const { open, wanted, refused_until: refusedUntil, doubted } = streams;
  if (refusedUntil !== null) return `${name}: no event streams, asked again at ${refusedUntil}`;
  const trust =
    doubted === null
      ? 'nothing seen of them yet'
      : doubted.length === 0
        ? 'runs are left to them'
        : `not trusted for ${count(doubted.length, 'transition')}`;
  return `${name}: ${open} of ${wanted} event streams open, ${trust}`;
}

interface Transition {
  kind: string;
  isTrusted: boolean;
  /** How many became known first, by what. */
  first: Readonly<Record<string, number>>;
}

function transitionsOf({ doubted, known_first: known }: SourceStreams): Transition[] {
  const kinds = new Set([...(doubted ?? []), ...known.map(({ kind }) => kind)]);
  return [...kinds].map((kind) => ({
    kind,
    isTrusted: doubted !== null && !doubted.some((one) => one === kind),
    first: Object.fromEntries(
      known.filter((one) => one.kind === kind).map(({ by, count: times }) => [by, times]),
    ),
  }));
}

const TRANSITION_COLUMNS: Columns<Transition> = () => [
  { head: 'TRANSITION', value: ({ kind }) => kind },
  { head: 'TRUSTED', value: ({ isTrusted }) => (isTrusted ? 'yes' : 'no') },
  ...['stream', 'list', 'read'].map((by): Column<Transition> => ({
    head: `BY ${by.toUpperCase()}`,
    value: ({ first }) => String(first[by] ?? 0),
    align: 'right',
  })),
];

const NO_NAMES: NameOf = () => null;

function columnsFor(nameOf: NameOf): Columns<WorkflowView> {
  return (workflows, { idTexts }) => {
    const idText = idTexts(workflows.map(({ workflow_id: id }) => id));
    const severalSources = new Set(workflows.map(({ source }) => source)).size > 1;
    const names = workflows.map(nameOf);
    const isNamed = names.some((name) => name !== null);
    return [
      {
        head: 'WORKFLOW',
        value: (one) => nameOf(one) ?? idText(one.workflow_id),
        ...(!names.every((name) => name !== null) && { keep: 'always' }),
      },
      ...(severalSources ? [{ head: 'SOURCE', value: ({ source }: WorkflowView) => source }] : []),
      column('RUNS', ({ runs }) => String(runs)),
      column('MEDIAN', ({ duration }) => duration && lasting(duration.median_ms)),
      column('P90', ({ duration }) => duration && lasting(duration.p90_ms)),
      column('REQUESTS', ({ measured }) => measured && measured.requests.toFixed(1)),
      column('DELAY', ({ measured }) => measured && lasting(measured.delay_ms)),
      column('EXPECTED', ({ expected }) => expected && expectation(expected)),
      ...(isNamed ? [ID_COLUMN] : []),
    ];
  };
}

const ID_COLUMN: Column<WorkflowView> = {
  head: 'ID',
  value: ({ workflow_id: id }) => id,
  keep: 'whole',
};

/** A column of figures; `-` where one is not known. */
function column(
  head: string,
  value: (workflow: WorkflowView) => string | null,
): Column<WorkflowView> {
  return { head, value: (workflow) => value(workflow) ?? '-', align: 'right' };
}

function expectation({ requests, delay_ms: delayMs }: NonNullable<WorkflowView['expected']>) {
  return `${requests.toFixed(1)}, ${lasting(delayMs)}`;
}
