import type { AttentionView } from '../../client/types.ts';
import type { CommandLine } from '../command-line.ts';
import { widened, type Output } from '../output.ts';
import { EXIT } from '../exit.ts';
import { wideFlag } from '../listing.ts';
import { renderTable, type Column } from '../render/table.ts';
import { count, paint, relative } from '../render/text.ts';
import { note, writeJson } from '../report.ts';
import { suppressedLine } from '../render/alerts.ts';
import { daemonCommand, type DaemonFlags } from '../verb.ts';

interface AttentionFlags extends DaemonFlags {
  all?: boolean;
  wide?: boolean;
  json?: boolean;
}

export function addAttentionVerb(cli: CommandLine): void {
  daemonCommand(cli.program, 'attention', 'read')
    .description('list what needs a person, the oldest first')
    .option('--all', 'also what a user has acknowledged, and alerts that are suppressed')
    .addOption(wideFlag())
    .option('--json', "print the API's answer")
    .addHelpText('after', HELP)
    .action((flags: AttentionFlags) => cli.run(() => attention(cli, flags)));
}

const HELP = `
Runs that wait for a human, have stalled, are gone or have no answer; firing alerts; deliveries that are
dead or parked; endpoints and sources that are not well. \`runwatch ack\` says that you have one in hand.

Examples:
  runwatch attention
  runwatch attention --json | jq '.counts'`;

async function attention(cli: CommandLine, flags: AttentionFlags): Promise<number> {
  const client = await cli.connect(flags);
  const page = await client.readAttention(flags.all === true ? { acknowledged: 'include' } : {});
  const { stdout, stderr } = cli.io;
  if (flags.json === true) {
    writeJson(stdout, page);
    return EXIT.ok;
  }
  if (page.data.length === 0) {
    note(stderr, 'Nothing needs you.');
    return EXIT.ok;
  }
  const output = widened(stdout, flags.wide);
  const columns = columnsFor(cli.now(), output);
  if (page.data.some(({ suppressed_by: by = [] }) => by.length > 0)) {
    columns.push({
      head: 'SUPPRESSED',
      value: ({ suppressed_by: by = [] }) => suppressedLine(by, cli.now()),
    });
  }
  stdout.write(renderTable(page.data, columns, output));
  if (page.total > page.data.length) {
    const all = count(page.total, 'thing needs', 'things need');
    note(
      stderr,
      `The oldest ${page.data.length} of ${page.total_capped ? 'more than ' : ''}${all} you.`,
    );
  }
  return EXIT.ok;
}

type Item = AttentionView['data'][number];

function columnsFor(now: number, { colors }: Output): Column<Item>[] {
  return [
    { head: 'SINCE', value: ({ since }) => relative(since, now) },
    {
      head: 'KIND',
      value: ({ kind }) => kind,
      paint: (text, { kind }) => paint(text, WORDS[kind] ?? kind, colors),
      keep: 'always',
    },
    {
      head: 'WHICH',
      value: (item) => item.run_id ?? item.alert_id ?? item.endpoint ?? item.source ?? '-',
      keep: 'always',
      link: (item) => item.run_url,
    },
    { head: 'WHAT', value: ({ message }) => message },
    {
      head: 'WORKFLOW',
      value: (item) => item.workflow_name ?? item.workflow_id ?? '-',
      keep: 'whole',
    },
    {
      head: 'ACKNOWLEDGED',
      value: ({ acknowledged }) => (acknowledged ? `by ${acknowledged.by}` : '-'),
    },
  ];
}

/** Kinds by words that have a colour. */
const WORDS: Readonly<Record<string, string>> = {
  awaiting: 'awaiting_human_feedback',
  alert: 'failed',
  endpoint: 'failing',
  source: 'unreachable',
  overdue: 'stalled',
  discovery: 'stalled',
};
