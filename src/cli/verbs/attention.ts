import { Option } from 'commander';
import type { AttentionQuery, AttentionView } from '../../client/types.ts';
import { shortAlertId } from '../../core/event/ids.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT } from '../exit.ts';
import {
  addFilterFlags,
  queryOf,
  showRows,
  wideFlag,
  type FilterFlags,
  type TableView,
} from '../listing.ts';
import type { Column } from '../render/table.ts';
import { count, paint, relative } from '../render/text.ts';
import { note } from '../report.ts';
import { suppressedColumn } from '../render/alerts.ts';
import { daemonCommand } from '../verb.ts';
import { openWeb, webFlag, type WebFlags } from '../web.ts';

interface AttentionFlags extends WebFlags {
  wide?: boolean;
  json?: boolean;
}

const FILTERS: FilterFlags<AttentionQuery> = {
  acknowledged: {
    option: new Option(
      '--all',
      'also what a user has acknowledged, and alerts that are suppressed',
    ),
    read: () => 'include',
  },
};

export function addAttentionVerb(cli: CommandLine): void {
  const command = daemonCommand<'GET /v1/attention'>(cli.program, 'attention', 'read').description(
    'list what needs a person, the heaviest first',
  );
  addFilterFlags(command, FILTERS)
    .addOption(wideFlag())
    .option('--json', "print the API's answer")
    .addOption(webFlag())
    .addHelpText('after', HELP)
    .action((flags: AttentionFlags) => cli.run(() => attention(cli, flags)));
}

const HELP = `
A line for each cause: failures of a workflow; runs that wait for a human, have stalled, are gone or have no answer; firing alerts; deliveries that are
dead or parked; endpoints and sources that are not well; open batches without a run. \`runwatch ack\` says that you have one in hand:
the run or alert that stands under WHICH, or workflow/<name>.

Examples:
  runwatch attention
  runwatch attention --json | jq '.counts'`;

async function attention(cli: CommandLine, flags: AttentionFlags): Promise<number> {
  if (flags.web === true) return openWeb(cli, flags, { path: '/' });
  const client = await cli.connect(flags);
  const query = await queryOf(FILTERS, flags, { client, cli });
  const page = await client.readAttention(query);
  showRows(cli, flags, { page, none: 'Nothing needs you.', columns: columnsFor });
  if (flags.json !== true && page.total > page.data.length) {
    const all = count(page.total, 'row', 'rows');
    note(
      cli.io.stderr,
      `These are the first ${page.data.length} of ${page.total_capped ? 'more than ' : ''}${all}.`,
    );
  }
  return EXIT.ok;
}

type Item = AttentionView['data'][number];

function columnsFor(items: readonly Item[], { now, colors, idTexts }: TableView): Column<Item>[] {
  const runText = idTexts(items.flatMap(({ run_id: id }) => id ?? []));
  const workflowText = idTexts(items.flatMap(({ workflow_id: id }) => id ?? []));
  const alertText = idTexts(
    items.flatMap(({ alert_id: id }) => id ?? []),
    shortAlertId,
  );
  return [
    {
      head: 'SEVERITY',
      value: ({ severity }) => severity,
      paint: (text, { severity }) => paint(text, SEVERITY_WORDS[severity], colors),
      keep: 'always',
    },
    {
      head: 'KIND',
      value: ({ kind }) => kind,
      paint: (text, { kind }) => paint(text, WORDS[kind] ?? kind, colors),
      keep: 'always',
    },
    {
      head: 'WHICH',
      value: ({ run_id: id, ...item }) =>
        (id && runText(id)) ??
        (item.alert_id && alertText(item.alert_id)) ??
        item.endpoint ??
        item.batch ??
        causeOf(item),
      keep: 'always',
      link: (item) => item.run_url,
    },
    { head: 'SINCE', value: ({ since }) => relative(since, now), passes: true },
    {
      head: 'WORKFLOW',
      value: ({ workflow_name: name, workflow_id: id }) => name ?? (id && workflowText(id)) ?? '-',
    },
    { head: 'WHAT', value: ({ message }) => message },
    {
      head: 'ACKNOWLEDGED',
      value: ({ acknowledged }) => (acknowledged ? `by ${acknowledged.by}` : '-'),
    },
    ...suppressedColumn(items, now),
  ];
}

/** What `runwatch ack` takes for failures, else the source. */
function causeOf({ kind, source, ...item }: Item): string {
  const workflow = item.workflow_name ?? item.workflow_id ?? null;
  if (kind === 'failed') return workflow === null ? `source/${source}` : `workflow/${workflow}`;
  return source ?? '-';
}

/** Severities by words that have a colour. */
const SEVERITY_WORDS: Readonly<Record<Item['severity'], string>> = {
  critical: 'failed',
  error: 'failed',
  warning: 'stalled',
  info: 'pending',
};

/** Kinds by words that have a colour. */
const WORDS: Readonly<Record<string, string>> = {
  failed: 'failed',
  awaiting: 'awaiting_human_feedback',
  alert: 'failed',
  endpoint: 'failing',
  source: 'unreachable',
  overdue: 'stalled',
  discovery: 'stalled',
  batch: 'stalled',
};
