import type { RehearsalView } from '../../client/types.ts';
import type { CommandLine } from '../command-line.ts';
import type { LocalVerbs } from '../local/local-verbs.ts';
import { EXIT } from '../exit.ts';
import { wideFlag, workflowNames, type NameOf } from '../listing.ts';
import { shortId } from '../../core/run/short-id.ts';
import { moment, type Moment } from '../options.ts';
import { widened } from '../output.ts';
import { renderTable, type Column } from '../render/table.ts';
import { count as counted, plain } from '../render/text.ts';
import { note, writeJson } from '../report.ts';
import { daemonCommand, type DaemonFlags } from '../verb.ts';
import { labelsText } from '../render/alerts.ts';

interface RulesFlags extends DaemonFlags {
  wide?: boolean;
  config?: string;
  since?: Moment;
  json?: boolean;
}

export function addRulesVerb(cli: CommandLine, local: LocalVerbs): void {
  const rules = cli.program
    .command('rules')
    .description('try alert rules on stored events')
    .helpCommand(false);
  daemonCommand<'POST /v1/rules/test'>(rules, 'test', 'read')
    .description('show what the rules would have sent, without sending')
    .option('--config <path>', 'rules of this file, in place of those that the daemon has')
    .option('--since <time>', 'events from this time on, or this long ago (default: 24h)', moment)
    .addOption(wideFlag())
    .option('--json', "print the API's answer")
    .addHelpText('after', HELP)
    .action((flags: RulesFlags) => cli.run(() => testRules(cli, local, flags)));
}

const HELP = `
Of a file, its rules, time_intervals and inhibit_rules are sent; other sections may lack their variables. Exits
2 where the rules are not valid, and says where.

Examples:
  runwatch rules test --since 7d
  runwatch rules test --config new.yaml`;

const DAY_MS = 86_400_000;

async function testRules(cli: CommandLine, local: LocalVerbs, flags: RulesFlags): Promise<number> {
  const now = cli.now();
  const since = new Date(flags.since?.(now) ?? now - DAY_MS).toISOString();
  const rules = flags.config === undefined ? {} : await local.readRules(flags.config);
  if (rules === null) return EXIT.usage;
  const client = await cli.connect(flags);
  const found = await client.testRules({ since, ...rules });
  const { stdout, stderr } = cli.io;
  if (flags.json === true) {
    writeJson(stdout, found);
    return EXIT.ok;
  }
  if (found.rules.length === 0) {
    note(stderr, 'No rules are configured.');
    return EXIT.ok;
  }
  const nameOf = stdout.isTty && flags.wide !== true ? await workflowNames(client) : null;
  const output = widened(stdout, flags.wide);
  const notifications = renderTable(found.notifications, notificationColumns(nameOf), output);
  stdout.write(renderTable(found.rules, RULE_COLUMNS, output));
  if (found.notifications.length > 0) stdout.write(`\n${notifications}`);
  for (const line of remarksOn(found)) note(stderr, line);
  return EXIT.ok;
}

function remarksOn(found: RehearsalView): string[] {
  const limits = found.rules.flatMap(({ rule, not_rehearsed: needs }) =>
    needs === null ? [] : [`${plain(rule)} not rehearsed: ${plain(needs)}`],
  );
  return [
    ...(found.notifications.length > 0 ? [] : [nothingSent(found)]),
    ...limits,
    ...(found.truncated ? ['There would have been more notifications.'] : []),
  ];
}

function nothingSent({ events, rules }: RehearsalView): string {
  if (events === 0) return 'No events are stored of that time.';
  const isMatched = rules.some(({ matched }) => matched > 0);
  return isMatched
    ? 'Nothing would have been sent so far.'
    : `No rule matches any of the ${counted(events, 'event')}.`;
}

const RULE_COLUMNS: Column<RehearsalView['rules'][number]>[] = [
  { head: 'RULE', value: ({ rule }) => rule, keep: 'always' },
  { head: 'EVENTS', value: ({ matched }) => String(matched), align: 'right' },
  { head: 'NOTIFICATIONS', value: ({ notifications }) => String(notifications), align: 'right' },
  {
    head: 'SUPPRESSED',
    value: ({ suppressed }) =>
      Object.entries(suppressed)
        .filter(([, count]) => count > 0)
        .map(([reason, count]) => `${count} ${reason}`)
        .join(', ') || '-',
  },
];

type NotificationView = RehearsalView['notifications'][number];

/** On a terminal short ones, with names in the place of ids. */
function notificationColumns(nameOf: NameOf | null): Column<NotificationView>[] {
  const isShort = nameOf !== null;
  return [
    { head: 'AT', value: ({ at }) => at.replace(/\.\d+Z$/, 'Z'), keep: 'always' },
    {
      head: 'TYPE',
      value: ({ type, repeat }) => {
        const text = isShort ? type.replace(/^alert\./, '') : type;
        return repeat ? `${text} (repeat)` : text;
      },
      keep: 'always',
    },
    { head: 'RULE', value: ({ rule }) => rule },
    { head: 'COUNT', value: ({ count }) => String(count), align: 'right' },
    {
      head: 'LABELS',
      value: (one) => (nameOf === null ? labelsText(one) : shortLabels(one, nameOf)),
    },
    { head: 'TO', value: ({ notify }) => notify.join(', ') },
  ];
}

/** A workflow by its name says which source it is of, unless several have one of this name. */
function shortLabels({ labels }: NotificationView, nameOf: NameOf): string {
  const { source, workflow_id: id, ...others } = labels;
  const workflow = id && (nameOf({ workflow_id: id, ...(source && { source }) }) ?? shortId(id));
  const parts = [
    ...(workflow ? [workflow] : []),
    ...Object.entries({ ...(source && !workflow && { source }), ...others }).map(
      ([label, value]) => `${label}=${value}`,
    ),
  ];
  return parts.join(' ') || '-';
}
