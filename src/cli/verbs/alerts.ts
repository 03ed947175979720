import { type Command, Option } from 'commander';
import type { AlertDetailView, AlertQuery, AlertView, ResolveBody } from '../../client/types.ts';
import { RunwatchError } from '../../core/errors.ts';
import { nodesText } from '../../core/run/nodes.ts';
import { shortAlertId } from '../../core/event/ids.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT } from '../exit.ts';
import {
  addFilterFlags,
  addListingFlags,
  showListing,
  type Listing,
  type ListingFlags,
  type TableView,
} from '../listing.ts';
import { alertStates } from '../options.ts';
import { labelsText, suppressedColumn, suppressedLine } from '../render/alerts.ts';
import { linked, renderFields, type Column } from '../render/table.ts';
import { exactly, paint, plain, relative } from '../render/text.ts';
import { writeJson } from '../report.ts';
import { resolveAlert } from '../resolve.ts';
import { changeEach, daemonCommand, refuseUnknownVerb, type DaemonFlags } from '../verb.ts';
import { openWeb, webFlag, type WebFlags } from '../web.ts';

const ALERTS: Listing<AlertView, AlertQuery, ListingFlags> = {
  what: ['alert', 'alerts'],
  none: 'No alerts.',
  filters: {
    state: new Option(
      '--state <state>',
      'pending, firing, acknowledged or resolved; several by comma',
    ).argParser(alertStates),
    rule: new Option('--rule <name>', 'of one rule'),
  },
  list: (client, query) => client.listAlerts(query),
  page: { path: '/alerts' },
  columns: columnsFor,
};

export function addAlertsVerb(cli: CommandLine): void {
  const alerts = daemonCommand<'GET /v1/alerts'>(cli.program, 'alerts', 'read').description(
    'list alerts, the newest first; show or resolve one',
  );
  addListingFlags(addFilterFlags(alerts, ALERTS.filters), ALERTS.page)
    .helpCommand(false)
    .allowExcessArguments()
    .addHelpText('after', HELP)
    .action((flags: ListingFlags, command: Command) => {
      const [id, ...others] = command.args;
      if (id !== undefined && isAlertId(id) && others.length === 0) {
        return cli.run(() => showAlert(cli, id, flags));
      }
      refuseUnknownVerb(command);
      return cli.run(() => showListing(cli, ALERTS, flags));
    });
  addAlertActions(cli, alerts);
}

const HELP = `
Rules make alerts of events; \`runwatch ack\` says that you have taken one in hand, \`runwatch silence\`
keeps notifications back for a while. SUPPRESSED says what keeps those of an alert back now.

Examples:
  runwatch alerts --state firing
  runwatch alerts alr_4n2k9x
  runwatch alerts --rule failed-runs --json | jq '.data[].count'`;

function columnsFor(
  alerts: readonly AlertView[],
  { now, colors, idTexts }: TableView,
): Column<AlertView>[] {
  const alertText = idTexts(
    alerts.map(({ id }) => id),
    shortAlertId,
  );
  return [
    { head: 'ALERT', value: ({ id }) => alertText(id), keep: 'always' },
    {
      head: 'STATE',
      value: ({ state }) => state,
      paint: (text, { state }) => (state === 'firing' ? colors.red(text) : text),
    },
    { head: 'RULE', value: ({ rule }) => rule },
    { head: 'COUNT', value: ({ count }) => String(count), align: 'right' },
    { head: 'SINCE', value: ({ started_at: at }) => relative(at, now), passes: true },
    { head: 'LABELS', value: labelsText },
    { head: 'BY', value: ({ acknowledged }) => acknowledged?.by ?? '-' },
    ...suppressedColumn(alerts, now),
  ];
}

interface ShowAlertFlags extends WebFlags {
  json?: boolean;
}

interface ResolveFlags extends DaemonFlags {
  by?: string;
  comment?: string;
  yes?: boolean;
  json?: boolean;
}

/** Adds the verbs of `alerts` that are about some of them. */
function addAlertActions(cli: CommandLine, alerts: Command): void {
  daemonCommand<'GET /v1/alerts/{id}'>(alerts, 'show <id>', 'read')
    .description('show one alert, with its rule in words and its history')
    .option('--json', "print the API's answer")
    .addOption(webFlag())
    .addHelpText('after', SHOW_HELP)
    .action((id: string, _flags: unknown, command: Command) =>
      cli.run(() => showAlert(cli, id, command.optsWithGlobals<ShowAlertFlags>())),
    );
  daemonCommand<'POST /v1/alerts/{id}/resolve'>(alerts, 'resolve <id...>', 'write')
    .description('end alerts by hand')
    .option('--by <name>', 'the user that ends them (default: you)')
    .option('--comment <text>', 'what others should know')
    .option('--yes', 'do not ask whether the beginning of an id is the one that is meant')
    .option('--json', "print the API's answers")
    .addHelpText('after', RESOLVE_HELP)
    .action((ids: string[], _flags: unknown, command: Command) =>
      cli.run(() => resolve(cli, ids, command.optsWithGlobals<ResolveFlags>())),
    );
}

const SHOW_HELP = `
Exits 1 when there is no such alert.

Examples:
  runwatch alerts show alr_4n2k9x
  runwatch alerts show alr_4n2k9x --json | jq .suppressed_by`;

const RESOLVE_HELP = `
Endpoints that were notified of an alert are notified of its end. Where the cause goes on, the next event
that meets the rule opens another alert. One that has resolved stays as it is. Exits 1 when there is no such
alert.

Examples:
  runwatch alerts resolve alr_4n2k9x --comment "the provider is up again"`;

export function isAlertId(text: string): boolean {
  return /^\s*alr_/.test(text);
}

/** Shows an alert by its id, or the beginning of it. Throws RunwatchError `alert_not_found`. */
export async function showAlert(
  cli: CommandLine,
  given: string,
  flags: ShowAlertFlags,
): Promise<number> {
  const client = await cli.connect(flags);
  const id = await resolveAlert(given, { client, cli });
  if (flags.web === true) return openWeb(cli, flags, { path: `/alerts/${id}` });
  const alert = await client.getAlert(id);
  if (alert === null) throw noAlert(id);
  const { stdout } = cli.io;
  if (flags.json === true) writeJson(stdout, alert);
  else stdout.write(renderFields(fieldsOf(alert, cli), stdout));
  return EXIT.ok;
}

async function resolve(
  cli: CommandLine,
  given: readonly string[],
  flags: ResolveFlags,
): Promise<number> {
  const client = await cli.connect(flags);
  const { by, comment } = flags;
  const body: ResolveBody = {
    by: by ?? cli.env.user,
    ...(comment !== undefined && { comment }),
  };
  const { stdout } = cli.io;
  // A mistake in one is found before any is changed.
  const ids: string[] = [];
  for (const text of given) ids.push(await resolveAlert(text, { client, cli, writes: flags }));
  const { results, exitCode } = await changeEach<string, unknown>(cli, ids, {
    nameOf: (id) => id,
    async make(id) {
      const alert = await client.resolveAlert(id, body);
      if (alert === null) throw noAlert(id);
      if (flags.json !== true) stdout.write(`resolved alert ${plain(id)}\n`);
      return alert;
    },
    failed: () => null,
    limit: 1,
  });
  if (flags.json === true) {
    writeJson(stdout, { results: results.filter((alert) => alert !== null) });
  }
  return exitCode;
}

function noAlert(id: string): RunwatchError {
  return new RunwatchError(`there is no alert ${plain(id)}`, { code: 'alert_not_found' });
}

type Field = readonly [string, string];

function fieldsOf(alert: AlertDetailView, cli: CommandLine): Field[] {
  const { stdout } = cli.io;
  const { colors } = stdout;
  const now = cli.now();
  const { state, suppressed_by: suppressors, annotations, runs, notified, history } = alert;
  const about = Object.entries(annotations).map(([name, text]) => plain(`${name}: ${text}`));
  const shown = runs.map(({ run_id: id, name, status, url, nodes, at }) => {
    const where = nodes && nodesText(nodes, plain);
    const parts = [id, status, name, where, relative(at, now)].filter((one) => one !== null);
    return linked(plain(parts.join(' · ')), url, stdout);
  });
  const sent = notified.map(({ endpoint, at, delivery_text: text }) =>
    plain(`${endpoint}: ${text} ${exactly(at, now)}`),
  );
  const happened = history.map(({ at, text, until, comment, deliveries }) => {
    const end = until === null ? '' : ` until ${until}`;
    const states = deliveries.map((one) => `${one.endpoint}: ${one.delivery_text}`).join(', ');
    return `${plain(`${at} ${text}${end}`)}${why(comment)}${states === '' ? '' : plain(` (${states})`)}`;
  });
  return [
    ['alert', linked(colors.bold(plain(alert.id)), alert.url, stdout)],
    ['rule', plain(alert.rule)],
    ['state', paint(plain(state), state === 'firing' ? 'failed' : state, colors)],
    ...(suppressors.length === 0
      ? []
      : [['suppressed', plain(suppressedLine(suppressors, now))] as const]),
    ...handledFields(alert, now),
    ['severity', plain(alert.severity)],
    ['owner', plain(alert.owner ?? '-')],
    ['labels', plain(labelsText(alert))],
    ['events', String(alert.count)],
    ['since', exactly(alert.started_at, now)],
    ['updated', exactly(alert.updated_at, now)],
    ['annotations', about.join('\n') || '-'],
    ['runs', shown.join('\n') || '-'],
    ...ruleFields(alert),
    ['notified', sent.join('\n') || '-'],
    ['history', happened.join('\n')],
  ];
}

/** What its rule does, in words. */
function ruleFields({ rule_text: text }: AlertDetailView): Field[] {
  if (text === null) return [['watches', 'nothing: its rule is configured no more']];
  return (['watches', 'fires', 'notifies', 'ends'] as const).map((name) => [
    name,
    plain(text[name]),
  ]);
}

const why = (comment: string | null) => (comment === null ? '' : `: ${plain(comment)}`);

function handledFields(alert: AlertView, now: number): Field[] {
  const { acknowledged, resolved_at: resolvedAt, resolved_by: resolvedBy } = alert;
  const fields: Field[] = [];
  if (acknowledged !== null) {
    const { by, at, comment, until } = acknowledged;
    const end = until === null ? '' : ` until ${exactly(until, now)}`;
    fields.push(['acknowledged', `by ${plain(by)} ${exactly(at, now)}${end}${why(comment)}`]);
  }
  if (resolvedAt !== null) {
    const who = resolvedBy === null ? '' : `by ${plain(resolvedBy.by)} `;
    fields.push([
      'resolved',
      `${who}${exactly(resolvedAt, now)}${why(resolvedBy?.comment ?? null)}`,
    ]);
  }
  return fields;
}
