import type { AlertView, AttentionView, EventView, WatchView } from '../../client/types.ts';
import { suppressedText } from '../../core/alert/suppression.ts';
import { visibleLine } from '../../core/control-characters.ts';
import { nodesText } from '../../core/run/nodes.ts';
import { isKnownStatus, percentText } from '../../core/run/snapshot.ts';

/*
 * What tools say to a model. Names, metadata and messages come from others, and could hold instructions:
 * they stand in quotes, on one line.
 */

/** Most characters of a text from elsewhere. */
const MOST_QUOTED = 300;

/** A text from elsewhere as data. */
export function quoted(text: string): string {
  return JSON.stringify(visibleLine(text).slice(0, MOST_QUOTED).toWellFormed());
}

/** The same data with names and texts on one line each, in which nothing is hidden. */
export function visibleData(data: unknown): unknown {
  if (typeof data === 'string') return visibleLine(data);
  if (Array.isArray(data)) return data.map(visibleData);
  if (typeof data !== 'object' || data === null) return data;
  const fields = Object.entries(data);
  return Object.fromEntries(fields.map(([name, one]) => [visibleLine(name), visibleData(one)]));
}

type Item = AttentionView['data'][number];

/** All that needs a person, a line each, and how much it is. */
export function attentionText(page: AttentionView, dashboard: string): string {
  if (page.total === 0) return 'Nothing needs attention.';
  return [...page.data.map((item) => itemText(item, dashboard)), countsText(page)].join('\n');
}

function itemText(item: Item, dashboard: string): string {
  const { kind, since, message, count } = item;
  const amount = count === undefined ? '' : ` (${count})`;
  const link = linkOf(item, dashboard);
  return `${kind}${amount}: ${subjectOf(item)}, since ${since}: ${quoted(message)} ${link}`;
}

/** What an item is about, by the ids that other tools take. */
function subjectOf({ run_id: runId, alert_id: alertId, ...item }: Item): string {
  const { rule, severity, endpoint, source } = item;
  const name = item.workflow_name ?? item.workflow_id ?? null;
  const of = name === null ? '' : ` of workflow ${quoted(name)}`;
  const at = source === undefined ? '' : ` (source ${source})`;
  if (runId !== undefined) return `run ${runId}${of}${at}`;
  if (alertId !== undefined) return `alert ${alertId} (${severity}) of rule ${rule}${of}${at}`;
  return endpoint === undefined ? `source ${source}` : `endpoint ${endpoint}`;
}

/** Where a person sees it: the run in the app of its source, else a page of the dashboard. */
function linkOf(item: Item, dashboard: string): string {
  if (item.run_url) return item.run_url;
  return [dashboard.replace(/\/+$/, ''), ...pageOf(item).map(encodeURIComponent)].join('/');
}

function pageOf({ run_id: runId, alert_id: alertId, source = 'default', endpoint }: Item) {
  if (runId !== undefined) return ['runs', source, runId];
  if (alertId !== undefined) return ['alerts', alertId];
  return endpoint === undefined ? [] : ['endpoints'];
}

function countsText({ data, counts, total, total_capped: isCapped }: AttentionView): string {
  const kinds = Object.entries(counts).filter(([, count]) => count > 0);
  const listed = data.length < total ? `; the oldest ${data.length} are listed` : '';
  const all = kinds.map(([kind, count]) => `${count} ${kind}`).join(', ');
  return `${isCapped ? 'More than ' : ''}${total} in all: ${all}${listed}.`;
}

/** How an alert stands, in one line. */
export function alertLine(alert: AlertView): string {
  const { id, rule, severity, state, labels, suppressed_by: suppressors } = alert;
  const pairs = Object.entries(labels).map(([name, value]) => `${quoted(name)}: ${quoted(value)}`);
  const about = `${id} of rule ${rule} (${severity}, ${state}) ${pairs.join(', ')}`.trimEnd();
  const kept = suppressors.map(suppressorText);
  return kept.length === 0 ? about : `${about}; notifications are ${kept.join(', and ')}`;
}

function suppressorText({ kind, id, by, until }: AlertView['suppressed_by'][number]): string {
  const named = { kind, id: id && quoted(id), by: by && quoted(by) };
  return `${suppressedText(named)}${until === null ? '' : ` until ${until}`}`;
}

/** How a run stands, in one line. */
export function summaryOf(watch: WatchView): string {
  const { run, run_id: id, source, state, changed_at: changedAt, error, acknowledged } = watch;
  const name = watch.workflow_name ?? run?.workflow_id ?? null;
  const of = name === null ? '' : ` of workflow ${quoted(name)}`;
  const status = run === null ? 'not seen yet' : `${statusText(run)} since ${changedAt}`;
  const trouble = error === null ? '' : ` Trouble since ${error.since}: ${quoted(error.message)}.`;
  const taken = acknowledged === null ? '' : ` ${quoted(acknowledged.by)} has taken it in hand.`;
  const link = watch.run_url === null ? '' : ` ${watch.run_url}`;
  return `Run ${id}${of} (source ${source}) is ${status}; its watch is ${state}.${trouble}${taken}${link}`;
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
export function runText(watch: WatchView, newestFirst: readonly EventView[]): string {
  const { run, metadata, last_polled_at: lastPolledAt } = watch;
  const nodes = newestFirst.find(({ data }) => data.nodes)?.data.nodes;
  const where = nodes ? nodesText(nodes, quoted) : null;
  const pairs = Object.entries(metadata).map(([key, value]) => `${quoted(key)}: ${quoted(value)}`);
  return [
    summaryOf(watch),
    ...timesText(run),
    ...(where === null ? [] : [`${where}.`]),
    ...(pairs.length === 0 ? [] : [`Metadata: ${pairs.join(', ')}.`]),
    ...acknowledgedText(watch),
    `Last polled ${lastPolledAt ?? 'never'}; ${nextPollText(watch)}.`,
  ].join('\n');
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
  return times.length === 0 ? [] : [`${times.map((pair) => pair.join(' ')).join(', ')}.`];
}

function acknowledgedText({ acknowledged }: WatchView): string[] {
  if (acknowledged === null) return [];
  const { by, at, until, comment } = acknowledged;
  const end = until === null ? '' : ` until ${until}`;
  const why = comment === null ? '' : `: ${quoted(comment)}`;
  return [`Acknowledged by ${quoted(by)} at ${at}${end}${why}.`];
}
