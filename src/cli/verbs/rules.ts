import type { RehearsalView } from '../../client/types.ts';
import type { CommandLine } from '../command-line.ts';
import type { LocalVerbs } from '../local/local-verbs.ts';
import { EXIT } from '../exit.ts';
import { wideFlag } from '../listing.ts';
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
  const output = widened(stdout, flags.wide);
  stdout.write(renderTable(found.rules, RULE_COLUMNS, output));
  if (found.notifications.length > 0) {
    stdout.write(`\n${renderTable(found.notifications, NOTIFICATION_COLUMNS, output)}`);
  } else {
    note(stderr, nothingSent(found));
  }
  for (const { rule, not_rehearsed: why } of found.rules) {
    if (why !== null) note(stderr, `Not rehearsed of ${plain(rule)}: ${plain(why)}.`);
  }
  if (found.truncated) note(stderr, 'There would have been more notifications.');
  return EXIT.ok;
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
    head: 'NOT TOLD BY THEMSELVES',
    value: ({ suppressed }) =>
      Object.entries(suppressed)
        .filter(([, count]) => count > 0)
        .map(([reason, count]) => `${count} ${reason}`)
        .join(', ') || '-',
  },
];

const NOTIFICATION_COLUMNS: Column<RehearsalView['notifications'][number]>[] = [
  { head: 'AT', value: ({ at }) => at.replace(/\.\d+Z$/, 'Z'), keep: 'always' },
  {
    head: 'TYPE',
    value: ({ type, repeat }) => (repeat ? `${type} (repeat)` : type),
    keep: 'always',
  },
  { head: 'RULE', value: ({ rule }) => rule },
  { head: 'COUNT', value: ({ count }) => String(count), align: 'right' },
  { head: 'LABELS', value: labelsText },
  { head: 'TO', value: ({ notify }) => notify.join(', ') },
];
