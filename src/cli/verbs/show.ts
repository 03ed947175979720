import { runSentenceText } from '../../client/run-sentence.ts';
import type { DeliveryState } from '../../core/delivery/delivery.ts';
import { isOutstanding } from '../../core/delivery/state.ts';
import { RunwatchError } from '../../core/errors.ts';
import { dashboardUrl } from '../../core/run/links.ts';
import { nodesText } from '../../core/run/nodes.ts';
import {
  percentText,
  RUN_FIELDS,
  RUN_FIELD_NAMES,
  type RunFieldName,
} from '../../core/run/snapshot.ts';
import type { CommandLine } from '../command-line.ts';
import type { Output } from '../output.ts';
import { EXIT } from '../exit.ts';
import { tableOf, wideFlag, type Columns } from '../listing.ts';
import { deliveryColumns } from '../render/deliveries.ts';
import { eventColumns } from '../render/events.ts';
import { paint, exactly, number, plain, relative } from '../render/text.ts';
import { linked, renderFields } from '../render/table.ts';
import { note, writeJson } from '../report.ts';
import { readRun, resolveRun } from '../resolve.ts';
import { daemonCommand } from '../verb.ts';
import { openWeb, webFlag, type WebFlags } from '../web.ts';
import type { DaemonClient } from '../../client/client.ts';
import type { EndpointView, EventView, WatchView } from '../../client/types.ts';
import { isAlertId, showAlert } from './alerts.ts';

interface ShowFlags extends WebFlags {
  source?: string;
  wide?: boolean;
  json?: boolean;
}

const SHOWN = 20;

export function addShowVerb(cli: CommandLine): void {
  daemonCommand<'GET /v1/watches/{run_id}' | 'GET /v1/alerts/{id}'>(
    cli.program,
    'show <run-id>',
    'read',
  )
    .description('say how a run stands, its events and deliveries')
    .option('--source <name>', 'the source that the run belongs to')
    .addOption(wideFlag())
    .option('--json', "print the API's answer: the watch alone")
    .addOption(webFlag())
    .addHelpText('after', HELP)
    .action((id: string, flags: ShowFlags) => cli.run(() => show(cli, id, flags)));
}

const HELP = `
An id of an alert (alr_...) shows that alert, as \`runwatch alerts show\` does. Exits 1 when the run is not
watched, or there is no such alert.

Examples:
  runwatch show 6f1c9a52
  runwatch show https://app.noxus.ai/.../6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d
  runwatch show 6f1c9a52 --json | jq .run.status`;

async function show(cli: CommandLine, id: string, flags: ShowFlags): Promise<number> {
  if (isAlertId(id)) return showAlert(cli, id, flags);
  const given = readRun(id);
  const client = await cli.connect(flags);
  const run = await resolveRun(given, { client, cli, source: flags.source });
  const { runId } = run;
  const watch = await client.getWatch(run);
  if (watch === null) {
    const of = run.source === undefined ? '' : ` of source ${run.source}`;
    throw new RunwatchError(`run ${runId}${of} is not watched`, { code: 'watch_not_found' });
  }
  if (flags.web === true) {
    return openWeb(cli, flags, { path: dashboardUrl('', { source: watch.source, runId }) });
  }
  const { stdout, stderr } = cli.io;
  if (flags.json === true) {
    writeJson(stdout, watch);
    return EXIT.ok;
  }
  const timeline = await client.getTimeline({ runId, source: watch.source });
  const events = (timeline?.events ?? []).toReversed();
  const deliveries = (timeline?.deliveries ?? []).toReversed();
  const endpoints = await waitedFor(deliveries, client);
  const sentence = runSentenceText({ watch, timeline, endpoints, now: cli.now() });
  stdout.write(`${stdout.colors.bold(plain(sentence))}\n\n`);
  stdout.write(renderFields([...fieldsOf(watch, cli), ...nodesField(events)], stdout));
  stdout.write(`\n${stdout.colors.bold('Events')}\n`);
  const shown = events.slice(0, SHOWN);
  if (shown.length === 0) note(stderr, 'none yet');
  else stdout.write(tableOf(cli, shown, ofOneRun(eventColumns), flags.wide));
  stdout.write(`\n${stdout.colors.bold('Deliveries')}\n`);
  const sent = deliveries.slice(0, SHOWN);
  if (sent.length === 0) note(stderr, 'none yet');
  else stdout.write(tableOf(cli, sent, ofOneRun(deliveryColumns), flags.wide));
  return EXIT.ok;
}

/** The endpoints, where a delivery waits for one: when it is tried next depends on them. */
async function waitedFor(
  deliveries: readonly { state: DeliveryState }[],
  client: DaemonClient,
): Promise<EndpointView[]> {
  if (!deliveries.some(({ state }) => isOutstanding(state))) return [];
  return (await client.listEndpoints()).data;
}

/** The run and its workflow stand above. */
function ofOneRun<Item>(columns: Columns<Item>): Columns<Item> {
  return (items, view) => columns(items, view).filter(({ head }) => !STANDS_ABOVE.has(head));
}

const STANDS_ABOVE: ReadonlySet<string> = new Set([
  RUN_FIELDS.id.column,
  RUN_FIELDS.workflow_id.column,
]);

type Field = readonly [string, string];

type SeenRun = NonNullable<WatchView['run']>;

function fieldsOf(watch: WatchView, cli: CommandLine): Field[] {
  const now = cli.now();
  const { colors } = cli.io.stdout;
  const metadata = Object.entries(watch.metadata).map(([key, value]) => plain(`${key}=${value}`));
  const fields: Field[] = [
    ['run', linked(colors.bold(plain(watch.run_id)), watch.run_url, cli.io.stdout)],
    ['source', plain(watch.source)],
    ['state', paint(plain(watch.state), watch.state, colors)],
    ...runFields(watch, cli),
    ...acknowledgedField(watch, now),
    ['metadata', metadata.join('\n') || '-'],
    ['notifies', watch.subscriptions.map(describeSubscription).join('\n') || '-'],
    ...batchesField(watch),
    ['events', String(watch.sequence)],
    ['polls', String(watch.polls)],
    ['watched since', exactly(watch.registered_at, now)],
    ...(watch.registered_by.length === 0
      ? []
      : [['registered by', plain(watch.registered_by.join(', '))] as const]),
    ['last poll', exactly(watch.last_polled_at, now)],
    ['next poll', exactly(watch.next_poll_at, now)],
    ['expires', exactly(watch.timeout_at, now)],
  ];
  if (watch.error === null) return fields;
  const { code, message, since } = watch.error;
  return [
    ...fields,
    ['trouble', `${plain(message)} (${plain(code)}) since ${exactly(since, now)}`],
  ];
}

/** Where the run stood at its latest event that says so. */
function nodesField(newestFirst: readonly EventView[]): Field[] {
  const nodes = newestFirst.find(({ data }) => data.nodes)?.data.nodes;
  const text = nodes ? nodesText(nodes, plain) : null;
  return text === null ? [] : [['nodes', text]];
}

function batchesField({ batches = [] }: WatchView): Field[] {
  return batches.length === 0 ? [] : [['batches', plain(batches.join(', '))]];
}

function acknowledgedField({ acknowledged }: WatchView, now: number): Field[] {
  if (acknowledged === null) return [];
  const { by, comment, at, until } = acknowledged;
  const why = comment === null ? '' : `: ${plain(comment)}`;
  const end = until === null ? '' : `, until ${exactly(until, now)}`;
  return [['acknowledged', `by ${plain(by)} ${relative(at, now)}${end}${why}`]];
}

function runFields(
  { run, workflow_name: name, run_url: url }: WatchView,
  cli: CommandLine,
): Field[] {
  if (run === null) return [['status', 'not seen yet']];
  const now = cli.now();
  const { colors } = cli.io.stdout;
  return [
    ['status', statusText(run, colors)],
    ...workflowField(name, run),
    ...(url === null ? [] : [['link', plain(url)] as const]),
    ...(run.source_status === undefined
      ? []
      : [["the source's word", plain(run.source_status)] as const]),
    ...(run.attempt === undefined ? [] : [['attempt', String(run.attempt)] as const]),
    ...OWN_ROWS.flatMap((field): Field[] => {
      const value = run[field];
      return value === null ? [] : [[RUN_FIELDS[field].label, fieldText(field, value, now)]];
    }),
  ];
}

function statusText({ status, progress }: SeenRun, colors: Output['colors']): string {
  const shown = paint(plain(status), status, colors);
  return progress === null ? shown : `${shown} (${percentText(progress)})`;
}

/** The fields of a run that share a row with others, or are the head of the page. */
const SHARED_ROWS: ReadonlySet<RunFieldName> = new Set([
  'id',
  'status',
  'progress',
  'workflow_id',
  'workflow_version_id',
]);

const isTime = (field: RunFieldName) => ['time', 'observed'].includes(RUN_FIELDS[field].kind);

/** The other fields of a run, times last. */
const OWN_ROWS = RUN_FIELD_NAMES.filter((field) => !SHARED_ROWS.has(field)).toSorted(
  (one, other) => Number(isTime(one)) - Number(isTime(other)),
);

function fieldText(field: RunFieldName, value: string | number, now: number): string {
  if (typeof value === 'number') return number(value);
  return isTime(field) ? exactly(value, now) : plain(value);
}

function workflowField(
  name: string | null,
  { workflow_id: id, workflow_version_id: version }: SeenRun,
): Field[] {
  const parts = [id, version === null ? null : `version ${version}`];
  const ids = parts.filter((part) => part !== null).join(', ');
  const text = name === null || ids === '' ? (name ?? ids) : `${name} (${ids})`;
  return text === '' ? [] : [['workflow', plain(text)]];
}

function describeSubscription(one: WatchView['subscriptions'][number]): string {
  return plain(
    'endpoint' in one ? `endpoint ${one.endpoint}` : `${one.url}: ${one.events.join(', ')}`,
  );
}
