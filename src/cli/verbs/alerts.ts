import { collectPages } from '../../client/pages.ts';
import type { AlertView } from '../../client/types.ts';
import type { Query } from '../../client/transport.ts';
import type { CliContext } from '../context.ts';
import { EXIT } from '../exit.ts';
import { addListingFlags, limitOf, type ListingFlags, showListing } from '../listing.ts';
import { alertStates } from '../options.ts';
import { renderTable, type Column } from '../render/table.ts';
import { relative } from '../render/text.ts';
import { connect, daemonCommand, type DaemonFlags, type VerbHost } from '../verb.ts';

interface AlertFlags extends DaemonFlags, ListingFlags {
  state?: string;
  rule?: string;
}

export function addAlertsVerb(host: VerbHost): void {
  const alerts = daemonCommand(host, 'alerts', 'read')
    .description('list alerts, the newest first')
    .option(
      '--state <state>',
      'pending, firing, acknowledged or resolved; several by comma',
      alertStates,
    )
    .option('--rule <name>', 'of one rule');
  addListingFlags(alerts)
    .addHelpText('after', HELP)
    .action((flags: AlertFlags) => host.run((context) => listAlerts(context, flags)));
}

const HELP = `
Rules make alerts of events; \`runwatch ack\` says that you have taken one in hand, \`runwatch silence\`
keeps notifications back for a while.

Examples:
  runwatch alerts --state firing
  runwatch alerts --rule failed-runs --json | jq '.data[].count'`;

async function listAlerts(context: CliContext, flags: AlertFlags): Promise<number> {
  const client = await connect(context, flags);
  const filters: Query = { state: flags.state, rule: flags.rule };
  const page = await collectPages(
    ({ limit, cursor }) => client.listAlerts({ ...filters, limit, cursor }),
    limitOf(flags),
  );
  await showListing(context.io, flags, {
    page,
    what: ['alert', 'alerts'],
    none: 'No alerts.',
    filters,
    list: (query) => client.listAlerts(query),
    render: (alerts, output) => renderTable(alerts, columnsFor(context), output),
  });
  return EXIT.ok;
}

function columnsFor(context: CliContext): Column<AlertView>[] {
  const now = context.now();
  const { colors } = context.io.stdout;
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
  ];
}

/** The labels, with the name of the workflow where it is known. */
export function labelsText({
  labels,
  runs,
}: Pick<AlertView, 'labels'> & { runs?: AlertView['runs'] }) {
  const name = runs?.[0]?.name ?? null;
  const texts = Object.entries(labels).map(([label, value]) =>
    label === 'workflow_id' && name !== null ? `workflow=${name}` : `${label}=${value}`,
  );
  return texts.length === 0 ? '-' : texts.join(' ');
}
