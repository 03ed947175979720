import { Option } from 'commander';
import type { WorkflowQuery, WorkflowsView } from '../../client/types.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT } from '../exit.ts';
import {
  addFilterFlags,
  queryOf,
  showRows,
  timeFlag,
  wideFlag,
  type FilterFlags,
  type TableView,
} from '../listing.ts';
import type { Column } from '../render/table.ts';
import { lasting } from '../render/text.ts';
import { daemonCommand } from '../verb.ts';
import { openWeb, webFlag, type WebFlags } from '../web.ts';

interface WorkflowFlags extends WebFlags {
  wide?: boolean;
  json?: boolean;
}

const FILTERS: FilterFlags<WorkflowQuery> = {
  since: timeFlag('--since <time>', 'from this time on, or this long ago (default: 24h)'),
  source: new Option('--source <name>', 'the source that the workflows belong to'),
};

export function addWorkflowsVerb(cli: CommandLine): void {
  const command = daemonCommand<'GET /v1/workflows'>(cli.program, 'workflows', 'read').description(
    'show how the runs of each workflow go',
  );
  addFilterFlags(command, FILTERS)
    .addOption(wideFlag())
    .option('--json', "print the API's answer")
    .addOption(webFlag())
    .addHelpText(
      'after',
      '\nExamples:\n  runwatch workflows\n  runwatch workflows --since 7d --json',
    )
    .action((flags: WorkflowFlags) => cli.run(() => workflows(cli, flags)));
}

async function workflows(cli: CommandLine, flags: WorkflowFlags): Promise<number> {
  const client = await cli.connect(flags);
  const query = await queryOf(FILTERS, flags, { client, cli });
  if (flags.web === true) return openWeb(cli, flags, { path: '/workflows' }, query);
  const page = await client.listWorkflows(query);
  const none = query.since === undefined ? NONE_LATELY : NONE;
  showRows(cli, flags, { page, none, columns: columnsFor });
  return EXIT.ok;
}

const NONE = 'No workflow had runs in that time.';
const NONE_LATELY = 'No workflow had runs in the last 24 h; --since 30d goes further back.';

type Workflow = WorkflowsView['data'][number];

/** A workflow without a name is called by its id. */
function columnsFor(listed: readonly Workflow[], { idTexts }: TableView): Column<Workflow>[] {
  const idText = idTexts(listed.map(({ workflow_id: id }) => id));
  const isNamed = listed.every(({ name }) => name !== null);
  return [
    {
      head: 'WORKFLOW',
      value: (one) => one.name ?? idText(one.workflow_id),
      ...(!isNamed && { keep: 'always' }),
    },
    ...FIGURES,
  ];
}

const FIGURES: Column<Workflow>[] = [
  { head: 'WATCHED', value: (one) => String(one.watched), align: 'right' },
  { head: 'ACTIVE', value: (one) => String(one.active), align: 'right' },
  {
    head: 'FAILED',
    value: ({ failure_rate: rate }) => (rate === null ? '-' : `${Math.round(rate * 100)}%`),
    align: 'right',
  },
  { head: 'P50', value: ({ duration }) => time(duration?.p50_ms), align: 'right' },
  { head: 'P90', value: ({ duration }) => time(duration?.p90_ms), align: 'right' },
  { head: 'DELAY P95', value: (one) => time(one.detection_delay?.p95_ms), align: 'right' },
  {
    head: 'REQUESTS',
    value: ({ requests_per_run: requests }) => requests?.toFixed(1) ?? '-',
    align: 'right',
  },
  { head: 'ID', value: (one) => one.workflow_id, keep: 'whole' },
];

function time(ms: number | undefined): string {
  return ms === undefined ? '-' : lasting(ms);
}
