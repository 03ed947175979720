import type {
  AlertDetailView,
  AlertView,
  AttentionView,
  DeliveryDetailView,
  DeliveryView,
  EndpointView,
  EventView,
  OneBatchView,
  SilenceView,
  WatchView,
  WorkflowsView,
} from '../../client/types.ts';
import { withoutEndSlash } from '../../core/end-slash.ts';
import { suppressedText } from '../../core/alert/suppression.ts';
import { visibleLine } from '../../core/control-characters.ts';
import { isPartial } from '../../core/delivery/delivery.ts';
import { dashboardUrl } from '../../core/run/links.ts';
import { nodesText } from '../../core/run/nodes.ts';
import { isKnownStatus, percentText } from '../../core/run/snapshot.ts';
import { count, lasting } from '../render/text.ts';

/*
 * What tools say to a model, a line for each thing, with its id, its names and a link. Names, metadata and messages
 * come from others, and could hold instructions: they stand in quotes, on one line.
 */

/** Most characters of a text from elsewhere. */
const MOST_QUOTED = 300;

/** A text from elsewhere as data. */
export function quoted(text: string): string {
  const line = visibleLine(text);
  const shown = line.length > MOST_QUOTED ? `${line.slice(0, MOST_QUOTED)}…` : line;
  return JSON.stringify(shown.toWellFormed());
}

/** The same data with names and texts on one line each, in which nothing is hidden. */
export function visibleData(data: unknown): unknown {
  if (typeof data === 'string') return visibleLine(data);
  if (Array.isArray(data)) return data.map(visibleData);
  if (typeof data !== 'object' || data === null) return data;
  const fields = Object.entries(data);
  return Object.fromEntries(fields.map(([name, one]) => [visibleLine(name), visibleData(one)]));
}

/** Names and values of a record, such as labels. */
function pairsText(record: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(record);
  return pairs.map(([name, value]) => `${quoted(name)}: ${quoted(value)}`).join(', ');
}

/** The page of the dashboard that the parts of its path name. */
function pageOf(dashboard: string, ...parts: string[]): string {
  return [withoutEndSlash(dashboard), ...parts.map(encodeURIComponent)].join('/');
}

type Item = AttentionView['data'][number];

/** What needs a person, a line each, and how much it is. */
export function attentionText(page: AttentionView, dashboard: string): string {
  if (page.total === 0) return 'Nothing needs attention.';
  return [...page.data.map((item) => attentionLine(item, dashboard)), countsText(page)].join('\n');
}

/** What needs a person, in one line. */
export function attentionLine(item: Item, dashboard: string): string {
  const { kind, since, message, count: amount, acknowledged } = item;
  const many = amount === 1 ? '' : ` (${amount})`;
  const taken = acknowledged ? `, acknowledged by ${quoted(acknowledged.by)}` : '';
  const link = itemLink(item, dashboard);
  const runs = item.runs === undefined ? '' : `; runs ${someRuns(item.runs, amount)}`;
  return `${kind}${many}: ${subjectOf(item)}, since ${since}${taken}: ${quoted(message)}${runs} ${link}`;
}

/** Runs of an item that are named. */
const MOST_NAMED = 5;

function someRuns(runs: NonNullable<Item['runs']>, amount: number): string {
  const some = runs.slice(0, MOST_NAMED).map(({ run_id: id }) => id);
  const more = amount - some.length;
  return `${some.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** What an item is about, by the ids that other tools take. */
function subjectOf({ run_id: runId, alert_id: alertId, ...item }: Item): string {
  const { rule, severity, endpoint, source } = item;
  const of = workflowText(item.workflow_name ?? item.workflow_id);
  const at = source === undefined ? '' : ` (source ${source})`;
  if (runId !== undefined) return `run ${runId}${of}${at}`;
  if (alertId !== undefined) return `alert ${alertId} (${severity}) of rule ${rule}${of}${at}`;
  if (item.batch !== undefined) return `batch ${item.batch}`;
  if (item.runs !== undefined && of !== '') return `runs${of}${at}`;
  return endpoint === undefined ? `source ${source}` : `endpoint ${endpoint}`;
}

function workflowText(name: string | null | undefined): string {
  return name === null || name === undefined ? '' : ` of workflow ${quoted(name)}`;
}

/** Where a person sees it: the run in the app of its source, else a page of the dashboard. */
function itemLink(item: Item, dashboard: string): string {
  const { run_id: runId, alert_id: alertId, source = 'default', endpoint, run_url: url } = item;
  if (url) return url;
  if (runId !== undefined) return dashboardUrl(dashboard, { source, runId });
  if (alertId !== undefined) return pageOf(dashboard, 'alerts', alertId);
  return endpoint === undefined ? pageOf(dashboard) : pageOf(dashboard, 'endpoints');
}

function countsText({ data, counts, total, total_capped: isCapped }: AttentionView): string {
  const kinds = Object.entries(counts).filter(([, amount]) => amount > 0);
  const listed =
    data.length < total
      ? `; the first ${data.length} are listed, a higher limit shows more, up to 200`
      : '';
  const all = kinds.map(([kind, amount]) => `${amount} ${kind}`).join(', ');
  return `${isCapped ? 'More than ' : ''}${total} in all: ${all}${listed}.`;
}

/** How an alert stands, in one line. */
export function alertLine(alert: AlertView, dashboard: string): string {
  const { id, rule, severity, state, labels, suppressed_by: suppressors, acknowledged } = alert;
  const [newest] = alert.runs;
  const parts = [
    pairsText(labels),
    `since ${alert.started_at}, ${count(alert.count, 'event')} of ${runsText(alert.runs_total)}`,
    newest === undefined ? '' : `the newest is ${alertRunText(newest)}`,
    alert.resolved_at === null ? '' : `resolved ${alert.resolved_at}`,
    acknowledged === null ? '' : `acknowledged by ${quoted(acknowledged.by)}`,
  ].filter((part) => part !== '');
  const kept = suppressors.map(suppressorText).join(', and ');
  const back = kept === '' ? '' : `; notifications are ${kept}`;
  return `${id} of rule ${rule} (${severity}, ${state}) ${parts.join(', ')}${back}; ${alertLink(alert, dashboard)}`;
}

/** The API counts runs of an alert up to this. */
const MOST_RUNS_COUNTED = 500;

function runsText(total: number): string {
  return `${count(total, 'run')}${total < MOST_RUNS_COUNTED ? '' : ' or more'}`;
}

function alertLink({ id, url }: AlertView, dashboard: string): string {
  return url ?? pageOf(dashboard, 'alerts', id);
}

function alertRunText({ run_id: id, name, workflow_id: workflow }: AlertView['runs'][number]) {
  return `run ${id}${workflowText(name ?? workflow)}`;
}

function suppressorText({ kind, id, by, until }: AlertView['suppressed_by'][number]): string {
  const named = { kind, id: id && quoted(id), by: by && quoted(by) };
  const which = kind === 'silence' && id !== null ? ` (${id})` : '';
  return `${suppressedText(named)}${which}${until === null ? '' : ` until ${until}`}`;
}

/** How an alert stands, with its runs and what was sent. */
export function alertText(alert: AlertDetailView, dashboard: string): string {
  const { annotations, runs, notified, owner, resolved_by: resolvedBy, history } = alert;
  const notes = pairsText(annotations);
  return [
    alertLine(alert, dashboard),
    ...(owner === null ? [] : [`Owner: ${quoted(owner)}.`]),
    ...(notes === '' ? [] : [`Annotations: ${notes}.`]),
    ...acknowledgedText(alert),
    ...(resolvedBy === null ? [] : [`Ended by hand by ${quoted(resolvedBy.by)}.`]),
    ...runs.map((run) => {
      const link = run.url === null ? '' : ` ${run.url}`;
      const status = run.status === null ? '' : `${statusWord(run.status)} `;
      const where = run.nodes && nodesText(run.nodes, quoted);
      return `- ${alertRunText(run)}: ${status}at ${run.at}${where ? `, ${where}` : ''}${link}`;
    }),
    `${runs.length} of ${runsText(alert.runs_total)} are listed, the newest first.`,
    notified.length === 0
      ? 'No endpoint was notified.'
      : `Notified: ${notified.map(notifiedText).join(', ')}.`,
    ...ruleLines(alert.rule_text),
    'History:',
    ...history.map(({ at, text, until, comment, deliveries }) => {
      const said = comment === null ? '' : `: ${quoted(comment)}`;
      const end = until === null ? '' : ` until ${until}`;
      const states = deliveries.map((one) => `${one.endpoint} ${quoted(one.delivery_text)}`);
      return `- ${at} ${quoted(text)}${end}${said}${states.length === 0 ? '' : ` (${states.join(', ')})`}`;
    }),
  ].join('\n');
}

function notifiedText({
  endpoint,
  at,
  event_id: id,
  delivery_text: state,
}: AlertDetailView['notified'][number]): string {
  return `${endpoint} at ${at} (event ${id}, ${quoted(state)})`;
}

/** What the rule of an alert does; names in it come from the configuration. */
function ruleLines(text: AlertDetailView['rule_text']): string[] {
  if (text === null) return ['Its rule is configured no more.'];
  const { watches, fires, notifies, ends } = text;
  return [
    `The rule watches ${quoted(watches)}, fires ${quoted(fires)}, notifies ${quoted(notifies)}, ends ${quoted(ends)}.`,
  ];
}

/** How a run stands, in one line. */
export function summaryOf(watch: WatchView, dashboard: string): string {
  const { run, run_id: id, source, state, changed_at: changedAt, error, acknowledged } = watch;
  const of = workflowText(watch.workflow_name ?? run?.workflow_id);
  const status = run === null ? 'not seen yet' : `${statusText(run)} since ${changedAt}`;
  const trouble = error === null ? '' : ` Trouble since ${error.since}: ${quoted(error.message)}.`;
  const taken = acknowledged === null ? '' : ` ${quoted(acknowledged.by)} has taken it in hand.`;
  const link = watch.run_url ?? runPage(watch, dashboard);
  return `Run ${id}${of} (source ${source}) is ${status}; its watch is ${state}.${trouble}${taken} ${link}`;
}

function runPage({ run_id: runId, source }: WatchView, dashboard: string): string {
  return dashboardUrl(dashboard, { source, runId });
}

/** A status that runwatch does not know is text from elsewhere. */
export function statusWord(status: string): string {
  return isKnownStatus(status) ? status : quoted(status);
}

function statusText({ status, progress }: NonNullable<WatchView['run']>): string {
  const shown = statusWord(status);
  return progress === null ? shown : `${shown} (${percentText(progress, ' %')})`;
}

/**
 * How a run stands, with all that a person would ask next.
 * @param newestFirst its latest events
 */
export function runText(
  watch: WatchView,
  newestFirst: readonly EventView[],
  dashboard: string,
): string {
  const { run, metadata, last_polled_at: lastPolledAt } = watch;
  const pairs = pairsText(metadata);
  return [
    summaryOf(watch, dashboard),
    ...timesText(run),
    ...whereText(newestFirst),
    ...(pairs === '' ? [] : [`Metadata: ${pairs}.`]),
    ...acknowledgedText(watch),
    subscribersText(watch),
    `Last polled ${lastPolledAt ?? 'never'}; ${nextPollText(watch)}.`,
    ...(watch.run_url === null ? [] : [`In the dashboard: ${runPage(watch, dashboard)}`]),
  ].join('\n');
}

/** The nodes at which a run is or failed, by its latest event that says so. */
export function whereText(newestFirst: readonly EventView[]): string[] {
  const nodes = newestFirst.find(({ data }) => data.nodes)?.data.nodes;
  const where = nodes ? nodesText(nodes, quoted) : null;
  return where === null ? [] : [`${where}.`];
}

/** Which endpoints and webhooks are notified of a run. */
export function subscribersText({ subscriptions }: WatchView): string {
  if (subscriptions.length === 0) return 'Notifies nothing.';
  const names = subscriptions.map((one) =>
    'endpoint' in one ? `endpoint ${one.endpoint}` : `webhook ${one.url}`,
  );
  return `Notifies ${names.join(', ')}.`;
}

/** An active run has no time of its next poll while it is being polled. */
function nextPollText({ state, next_poll_at: at }: WatchView): string {
  if (at !== null) return `next poll ${at}`;
  return state === 'active' ? 'being polled now' : 'never polled again';
}

function timesText(run: WatchView['run']): string[] {
  const times = [
    ['Created', run?.created_at],
    ['started', run?.started_at],
    ['finished', run?.finished_at],
  ].filter(([, at]) => at);
  const attempt = run?.attempt === undefined ? [] : [`Attempt ${run.attempt} of the run.`];
  return times.length === 0
    ? attempt
    : [...attempt, `${times.map((pair) => pair.join(' ')).join(', ')}.`];
}

function acknowledgedText({ acknowledged }: Pick<WatchView, 'acknowledged'>): string[] {
  if (acknowledged === null) return [];
  const { by, at, until, comment } = acknowledged;
  const end = until === null ? '' : ` until ${until}`;
  const why = comment === null ? '' : `: ${quoted(comment)}`;
  return [`Acknowledged by ${quoted(by)} at ${at}${end}${why}.`];
}

/** How a delivery stands, in one line. */
export function deliveryLine(delivery: DeliveryView, dashboard: string): string {
  const { id, event_type: type, event_id: event, run_id: runId, endpoint, state, last } = delivery;
  const tries = delivery.attempt_count;
  const parts = [
    `${id}: ${type} to ${endpoint} is ${state} after ${count(tries, 'attempt')}, created ${delivery.created_at}`,
    runId === '' ? '' : `of run ${runId}`,
    `event ${event}`,
    last === null ? '' : `the last attempt ${attemptText(last)}`,
    delivery.next_attempt_at === null ? '' : `the next attempt is due ${delivery.next_attempt_at}`,
  ].filter((part) => part !== '');
  return `${parts.join(', ')}; ${pageOf(dashboard, 'deliveries', id)}`;
}

type Tried = NonNullable<DeliveryView['last']>;

function attemptText({ status, error, duration_ms: took }: Tried): string {
  const answered = status === null ? '' : ` (${status})`;
  if (error === null) return `was taken${answered} in ${lasting(took)}`;
  const result = isPartial(error) ? 'was taken in part' : 'failed';
  return `${result}${answered}: ${quoted(error.message)} in ${lasting(took)}`;
}

/** Most attempts that are listed. */
const MOST_ATTEMPTS = 20;

/** How a delivery stands, with its attempts. */
export function deliveryText(delivery: DeliveryDetailView, dashboard: string): string {
  const { attempts } = delivery;
  const newest = attempts.slice(-MOST_ATTEMPTS);
  return [
    deliveryLine(delivery, dashboard),
    ...newest.map((one) => {
      const said = one.response ? `; it answered ${quoted(one.response)}` : '';
      return `- ${one.at}: ${attemptText(one)}${said}`;
    }),
    `${newest.length} of ${count(attempts.length, 'attempt')} are listed, the oldest first.`,
  ].join('\n');
}

type Workflow = WorkflowsView['data'][number];

/** How the runs of a workflow go, in one line. */
export function workflowLine(workflow: Workflow, dashboard: string): string {
  const { workflow_id: id, source, name, duration, failure_rate: rate } = workflow;
  const statuses = Object.entries(workflow.by_status).map(
    ([status, amount]) => `${amount} ${statusWord(status)}`,
  );
  const parts = [
    `${count(workflow.watched, 'run')}, ${workflow.active} active`,
    ...statuses,
    ...(rate === null ? [] : [`${Math.round(rate * 100)} % failed`]),
    ...(duration === null
      ? []
      : [`half take at most ${lasting(duration.p50_ms)}, nine in ten ${lasting(duration.p90_ms)}`]),
  ];
  const called = name === null ? '' : ` ${quoted(name)}`;
  const query = new URLSearchParams({ workflow: id }).toString();
  return `Workflow${called} ${id} (source ${source}): ${parts.join(', ')}; ${pageOf(dashboard, 'runs')}?${query}`;
}

/** How the runs of a batch stand, in one line. */
export function batchLine(batch: OneBatchView, dashboard: string): string {
  const { id, name, state, total, expected, completed_at: completedAt } = batch;
  const counts = Object.entries(batch.by_status).map(([status, amount]) => `${amount} ${status}`);
  const parts = [
    count(total, 'run'),
    ...(expected === null ? [] : [`${expected} expected`]),
    ...counts,
    `began at ${batch.created_at}`,
    ...(completedAt === null ? [] : [`completed at ${completedAt}`]),
  ];
  return `Batch ${quoted(name)} ${id} is ${state}: ${parts.join(', ')}; ${pageOf(dashboard, 'batches', id)}`;
}

/** How an endpoint does, in one line. */
export function endpointLine(endpoint: EndpointView, dashboard: string): string {
  const { name, type, url, events, counts, health } = endpoint;
  const amounts = Object.entries(counts).filter(([, amount]) => amount > 0);
  const parts = [
    `is ${health.state}${health.reason === null ? '' : ` (${health.reason})`}`,
    ...(health.failing_since === null ? [] : [`failing since ${health.failing_since}`]),
    ...(endpoint.default ? ['notified by default'] : []),
    `gets ${events.join(' ') || 'nothing by itself'}`,
    `deliveries: ${amounts.map(([state, amount]) => `${amount} ${state}`).join(', ') || 'none'}`,
  ];
  const place = url === null ? '' : ` ${url}`;
  return `Endpoint ${name} (${type}${place}) ${parts.join('; ')}; ${pageOf(dashboard, 'endpoints')}`;
}

/** How a silence stands, in one line. */
export function silenceLine(silence: SilenceView, dashboard: string): string {
  const { id, state, starts_at: startsAt, until, by, comment, matchers } = silence;
  const { metadata = {}, ...others } = matchers;
  const matched = Object.entries({ ...others, ...metadata }).map(
    ([name, values]) => `${quoted(name)}: ${values.map(quoted).join(' or ')}`,
  );
  return `${id} is ${state}, from ${startsAt} until ${until}, of ${matched.join(', ')}; by ${quoted(by)}: ${quoted(comment)}; ${pageOf(dashboard, 'alerts')}`;
}
