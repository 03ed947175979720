import type { WorkflowsView } from '../../client/types.ts';
import type { CommandLine } from '../command-line.ts';
import { widened } from '../output.ts';
import { EXIT } from '../exit.ts';
import { wideFlag } from '../listing.ts';
import { moment, type Moment } from '../options.ts';
import { renderTable, type Column } from '../render/table.ts';
import { lasting } from '../render/text.ts';
import { note, writeJson } from '../report.ts';
import { daemonCommand, type DaemonFlags } from '../verb.ts';

interface WorkflowFlags extends DaemonFlags {
  since?: Moment;
  source?: string;
  wide?: boolean;
  json?: boolean;
}

export function addWorkflowsVerb(cli: CommandLine): void {
  daemonCommand(cli.program, 'workflows', 'read')
    .description('show how the runs of each workflow go')
    .option('--since <time>', 'from this time on, or this long ago (default: 24h)', moment)
    .option('--source <name>', 'the source that the workflows belong to')
    .addOption(wideFlag())
    .option('--json', "print the API's answer")
    .addHelpText(
      'after',
      '\nExamples:\n  runwatch workflows\n  runwatch workflows --since 7d --json',
    )
    .action((flags: WorkflowFlags) => cli.run(() => workflows(cli, flags)));
}

async function workflows(cli: CommandLine, flags: WorkflowFlags): Promise<number> {
  const since = flags.since?.(cli.now());
  const query = {
    source: flags.source,
    since: since === undefined ? undefined : new Date(since).toISOString(),
  };
  const client = await cli.connect(flags);
  const page = await client.listWorkflows(query);
  const { stdout, stderr } = cli.io;
  if (flags.json === true) writeJson(stdout, page);
  else if (page.data.length === 0) note(stderr, since === undefined ? NONE_LATELY : NONE);
  else stdout.write(renderTable(page.data, columnsFor(page.data), widened(stdout, flags.wide)));
  return EXIT.ok;
}

const NONE = 'No workflow had runs in that time.';
const NONE_LATELY = 'No workflow had runs in the last 24 h; --since 30d goes further back.';

type Workflow = WorkflowsView['data'][number];

/** A workflow without a name is called by its id. */
function columnsFor(listed: readonly Workflow[]): Column<Workflow>[] {
  const isNamed = listed.every(({ name }) => name !== null);
  return [
    {
      head: 'WORKFLOW',
      value: (one) => one.name ?? one.workflow_id,
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
