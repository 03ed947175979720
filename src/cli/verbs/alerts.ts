import type { Command } from 'commander';
import { collectPages } from '../../client/pages.ts';
import type { AlertView } from '../../client/types.ts';
import type { Query } from '../../client/transport.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT } from '../exit.ts';
import { addListingFlags, limitOf, type ListingFlags, showListing } from '../listing.ts';
import { alertStates } from '../options.ts';
import { labelsText, suppressedLine } from '../render/alerts.ts';
import { renderTable, type Column } from '../render/table.ts';
import { relative } from '../render/text.ts';
import { daemonCommand, refuseUnknownVerb, type DaemonFlags } from '../verb.ts';
import { addAlertActions } from './alert-actions.ts';

interface AlertFlags extends DaemonFlags, ListingFlags {
  state?: string;
  rule?: string;
}

export function addAlertsVerb(cli: CommandLine): void {
  const alerts = daemonCommand(cli.program, 'alerts', 'read')
    .description('list alerts, the newest first; show or resolve one')
    .option(
      '--state <state>',
      'pending, firing, acknowledged or resolved; several by comma',
      alertStates,
    )
    .option('--rule <name>', 'of one rule');
  addListingFlags(alerts)
    .helpCommand(false)
    .allowExcessArguments()
    .addHelpText('after', HELP)
    .action((flags: AlertFlags, command: Command) => {
      refuseUnknownVerb(command);
      return cli.run(() => listAlerts(cli, flags));
    });
  addAlertActions(cli, alerts);
}

const HELP = `
Rules make alerts of events; \`runwatch ack\` says that you have taken one in hand, \`runwatch silence\`
keeps notifications back for a while. SUPPRESSED says what keeps those of an alert back now.

Examples:
  runwatch alerts --state firing
  runwatch alerts --rule failed-runs --json | jq '.data[].count'`;

async function listAlerts(cli: CommandLine, flags: AlertFlags): Promise<number> {
  const client = await cli.connect(flags);
  const filters: Query = { state: flags.state, rule: flags.rule };
  const page = await collectPages(
    ({ limit, cursor }) => client.listAlerts({ ...filters, limit, cursor }),
    limitOf(flags),
  );
  await showListing(cli.io, flags, {
    page,
    what: ['alert', 'alerts'],
    none: 'No alerts.',
    filters,
    list: (query) => client.listAlerts(query),
    render: (alerts, output) => renderTable(alerts, columnsFor(cli, alerts), output),
  });
  return EXIT.ok;
}

function columnsFor(cli: CommandLine, alerts: readonly AlertView[]): Column<AlertView>[] {
  const now = cli.now();
  const { colors } = cli.io.stdout;
  return [
    { head: 'ALERT', value: ({ id }) => id, keep: 'always' },
    {
      head: 'STATE',
      value: ({ state }) => state,
      paint: (text, { state }) => (state === 'firing' ? colors.red(text) : text),
    },
    { head: 'RULE', value: ({ rule }) => rule },
    { head: 'COUNT', value: ({ count }) => String(count), align: 'right' },
    { head: 'SINCE', value: ({ started_at: at }) => relative(at, now) },
    { head: 'LABELS', value: labelsText },
    { head: 'BY', value: ({ acknowledged }) => acknowledged?.by ?? '-' },
    ...(alerts.some((one) => one.suppressed_by.length > 0)
      ? [{ head: 'SUPPRESSED', value: (one: AlertView) => suppressedLine(one.suppressed_by, now) }]
      : []),
  ];
}
