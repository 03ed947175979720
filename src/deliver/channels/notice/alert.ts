import { spanText } from '../../../core/time.ts';
import {
  bareNotice,
  counted,
  isLink,
  oneLine,
  shortId,
  shortRunId,
  type Notice,
  type Tone,
} from './notice.ts';
import type { SentAlert, SentDigest, SentEvent } from './sent-event.ts';
import { valueOf } from '../../../core/records.ts';

const TONES: Readonly<Record<string, Tone>> = {
  critical: 'bad',
  error: 'bad',
  warning: 'attention',
  info: 'neutral',
};

/** Runs, or alerts of a digest, that a message lists; it counts the others. */
const MOST_LISTED = 10;

/** What a change of an alert says. */
export function alertNotice(event: SentEvent, alert: SentAlert): Notice {
  const { data } = event;
  if (data.digest) return digestNotice(event, alert, data.digest);
  const listed = listedRuns(alert);
  const url = isLink(alert.url) ? alert.url : null;
  return {
    ...bareNotice(event, titleOf(event, alert)),
    tone: toneOf(event, alert),
    lines: linesOf(alert),
    facts: factsOf(alert),
    runs: listed,
    unlisted: { count: listed.length === 0 ? 0 : Math.max(0, runsOf(alert) - listed.length), url },
    links: linksOf(alert, url),
    owner: alert.owner ?? null,
    callsOwner: event.type !== 'alert.resolved' && event.type !== 'alert.acknowledged',
  };
}

function listedRuns({ runs }: SentAlert): Notice['runs'] {
  return runs.slice(0, MOST_LISTED).map(({ run_id: id, name, status, url }) => ({
    text: [oneLine(name ?? '', 60), statusText(status ?? ''), shortRunId(id)]
      .filter((part) => part !== '')
      .join(' · '),
    url: isLink(url) ? url : null,
  }));
}

function toneOf({ type }: SentEvent, { severity }: SentAlert): Tone {
  if (type === 'alert.resolved') return 'good';
  if (type === 'alert.acknowledged') return 'neutral';
  return TONES[severity] ?? 'attention';
}

function titleOf({ type, timestamp, data }: SentEvent, alert: SentAlert): string {
  const span = spanText(Math.max(0, Date.parse(timestamp) - Date.parse(alert.started_at)));
  const isMore = type === 'alert.updated' && data.repeat !== true && runsOf(alert) > 1;
  const what = subjectOf(alert, isMore ? ` in ${span}` : '');
  if (data.escalation) return `${escalatedText(alert, data.escalation.after)}: ${what}`;
  switch (type) {
    case 'alert.resolved':
      return `Resolved${resolverText(alert)}${lastedText(alert)}: ${what}`;
    case 'alert.acknowledged':
      return `${acknowledgerOf(alert)} acknowledged: ${what}`;
    case 'alert.updated':
      return data.repeat === true ? `Still firing after ${span}: ${what}` : `Now ${what}`;
    default:
      return what;
  }
}

/** The user that ended it by hand. */
function resolverText({ resolved_by: resolver }: SentAlert): string {
  const name = oneLine(resolver?.by ?? '', 40);
  return name === '' ? '' : ` by ${name}`;
}

function escalatedText({ acknowledged }: SentAlert, after: string): string {
  if (!acknowledged) return `Not acknowledged after ${after}`;
  return `Still open after ${after}, ${acknowledgerOf({ acknowledged })} has it`;
}

function acknowledgerOf({ acknowledged }: Pick<SentAlert, 'acknowledged'>): string {
  return oneLine(acknowledged?.by ?? '', 40) || 'Somebody';
}

/** How many runs an alert is about; of events of no run, how many these are. */
function runsOf({ count, runs_total: runs = count }: SentAlert): number {
  return runs;
}

/** At so many runs the count ends. */
const MOST_RUNS = 500;

function runsText(alert: SentAlert): string {
  const runs = runsOf(alert);
  return runs < MOST_RUNS ? counted(runs, 'run') : `${MOST_RUNS} or more runs`;
}

/** `12 runs of invoices failed (failed-runs)`; for rules about what did not happen, what they miss. */
function subjectOf(alert: SentAlert, within: string): string {
  const rule = oneLine(alert.rule, 60);
  const name = nameOf(alert) ?? workflowOf(alert);
  if (alert.runs.length === 0) return withoutRuns(alert, rule, name);
  const statuses = [...new Set(alert.runs.map(({ status }) => status))];
  const [status = null] = statuses;
  const did = statuses.length === 1 && status ? ` ${doingText(status, runsOf(alert))}` : '';
  const whose = name === null ? '' : ` of ${name}`;
  return `${runsText(alert)}${whose}${did}${within} (${rule})`;
}

/** The name of the workflow, where all runs are of one. */
function nameOf({ runs }: Pick<SentAlert, 'runs'>): string | null {
  const names = new Set(runs.map(({ name }) => oneLine(name ?? '', 40)).filter(Boolean));
  const [name] = names;
  return names.size === 1 && name !== undefined ? name : null;
}

function withoutRuns({ annotations }: SentAlert, rule: string, name: string | null): string {
  const summary = oneLine(annotations?.['summary'] ?? '', 100);
  if (summary !== '') return `${summary} (${rule})`;
  return name === null ? rule : `${rule} (${name})`;
}

/** What runs of a status did, or do: `failed`, `still run`. */
function doingText(status: string, count: number): string {
  const isOne = count === 1;
  switch (status) {
    case 'stopped':
      return isOne ? 'was stopped' : 'were stopped';
    case 'running':
      return isOne ? 'still runs' : 'still run';
    case 'queued':
      return isOne ? 'is still queued' : 'are still queued';
    case 'awaiting_human_feedback':
      return isOne ? 'waits for a human' : 'wait for a human';
    default:
      return statusText(status);
  }
}

function workflowOf({ labels }: SentAlert): string | null {
  const id = labels['workflow_id'];
  return id === undefined || id === '' ? null : `workflow ${shortId(id)}`;
}

function statusText(status: string): string {
  return oneLine(status.replaceAll('_', ' '), 40);
}

function lastedText({ started_at: from, resolved_at: to }: SentAlert): string {
  if (!to) return '';
  return ` after ${spanText(Math.max(0, Date.parse(to) - Date.parse(from)))}`;
}

function linesOf({ acknowledged, resolved_by: resolver, annotations, runs }: SentAlert): string[] {
  const { summary, description } = annotations ?? {};
  // Where there are no runs, the title has it.
  const comments = [acknowledged?.comment, resolver?.comment];
  return [runs.length === 0 ? null : summary, description, ...comments]
    .filter((line) => typeof line === 'string')
    .map((line) => oneLine(line, 500));
}

function factsOf(alert: SentAlert): Notice['facts'] {
  const { rule, severity, labels } = alert;
  const name = nameOf(alert);
  const shown = Object.entries(labels).map(([key, value]): [string, string] => [
    valueOf(LABELS, key) ?? oneLine(key.replace(/^metadata\./, ''), 60),
    oneLine(key === 'workflow_id' && name !== null ? `${name} · ${value}` : value, 200),
  ]);
  return [['Rule', oneLine(rule, 100)], ['Severity', oneLine(severity, 40)], ...shown.slice(0, 8)];
}

const LABELS: Readonly<Record<string, string>> = {
  source: 'Source',
  workflow_id: 'Workflow',
  run_id: 'Run',
};

function linksOf({ runs, annotations }: SentAlert, url: string | null): Notice['links'] {
  const [first] = runs;
  const runbook = annotations?.['runbook_url'];
  return [
    ...(runs.length === 1 && isLink(first?.url) ? [{ label: 'Open run', url: first.url }] : []),
    ...(isLink(runbook) ? [{ label: 'Runbook', url: runbook }] : []),
    ...(url === null ? [] : [{ label: 'Open in runwatch', url }]),
  ];
}

function digestNotice(event: SentEvent, alert: SentAlert, digest: SentDigest): Notice {
  const url = isLink(alert.url) ? alert.url : null;
  const counts = Object.entries(digest.by_type ?? {}).map(
    ([type, count]) => `${count} ${statusText(type.replace(/^run\./, ''))}`,
  );
  const alerts = digest.alerts ?? [];
  const what = counts.length === 0 ? 'nothing happened' : counts.join(', ');
  const isMuted = digest.reason === 'muted';
  const span = spanText(Math.max(0, Date.parse(digest.until) - Date.parse(digest.since)));
  const listed = isMuted ? listedAlerts(alerts) : listedRuns(alert);
  const total = isMuted ? alerts.length : runsOf(alert);
  return {
    ...bareNotice(event, `${oneLine(alert.rule, 60)}: ${oneLine(what, 200)} in ${span}`),
    tone: 'neutral',
    lines: isMuted ? ['This was held back while muted.'] : [],
    facts: [['Rule', oneLine(alert.rule, 100)]],
    runs: listed,
    unlisted: { count: Math.max(0, total - listed.length), url },
    links: url === null ? [] : [{ label: 'Open in runwatch', url }],
    owner: alert.owner ?? null,
    callsOwner: false,
  };
}

function listedAlerts(alerts: NonNullable<SentDigest['alerts']>): Notice['runs'] {
  return alerts.slice(0, MOST_LISTED).map((one) => ({
    text: `${aboutText(one)}: ${counted(one.count, 'event')}, ${statusText(one.state)}`,
    url: null,
  }));
}

/** What an alert of a digest is about: the name of its workflow, where it is known, and its labels. */
function aboutText({ labels, name }: { labels: Record<string, string>; name?: string | null }) {
  const shown = Object.entries(labels).map(([key, value]) =>
    key === 'workflow_id'
      ? (name ?? `workflow ${shortId(value)}`)
      : `${key.replace(/^metadata\./, '')} ${shortId(value)}`,
  );
  return oneLine(shown.toReversed().join(', '), 200) || 'all runs';
}
