import { bareNotice, type Notice, type Tone } from './notice.ts';
import type { SentAlert, SentDigest, SentEvent } from './sent-event.ts';
import { counted, isLink, oneLine, shortId, spanText } from './text.ts';

const TONES: Readonly<Record<string, Tone>> = {
  critical: 'bad',
  error: 'bad',
  warning: 'attention',
  info: 'neutral',
};

/** What a change of an alert says. */
export function alertNotice(event: SentEvent, alert: SentAlert): Notice {
  const { data } = event;
  if (data.digest) return digestNotice(event, alert, data.digest);
  const listed = alert.runs.map(({ run_id: id, name, status, url }) => ({
    text: [name ? oneLine(name, 60) : null, status ? statusText(status) : null, shortId(id)]
      .filter((part) => part !== null)
      .join(' · '),
    url: isLink(url) ? url : null,
  }));
  const url = isLink(alert.url) ? alert.url : null;
  return {
    ...bareNotice(event, titleOf(event, alert)),
    tone: toneOf(event, alert),
    lines: linesOf(alert),
    facts: factsOf(alert),
    runs: listed,
    unlisted: { count: Math.max(0, alert.count - listed.length), url },
    links: linksOf(alert, url),
    owner: alert.owner ?? null,
  };
}

function toneOf({ type }: SentEvent, { severity }: SentAlert): Tone {
  if (type === 'alert.resolved') return 'good';
  if (type === 'alert.acknowledged') return 'neutral';
  return TONES[severity] ?? 'attention';
}

function titleOf({ type, data }: SentEvent, alert: SentAlert): string {
  const what = subjectOf(alert);
  switch (type) {
    case 'alert.resolved':
      return `Resolved${lastedText(alert)}: ${what}`;
    case 'alert.acknowledged':
      return `${oneLine(alert.acknowledged?.by ?? 'Somebody', 40)} acknowledged: ${what}`;
    case 'alert.updated':
      return data.repeat === true ? `Still firing: ${what}` : `Now ${what}`;
    default:
      return data.escalation ? `Not acknowledged after ${data.escalation.after}: ${what}` : what;
  }
}

/** `12 runs of invoices failed (failed-runs)`; for rules about what did not happen, their name. */
function subjectOf(alert: SentAlert): string {
  const rule = oneLine(alert.rule, 60);
  const names = [...new Set(alert.runs.map(({ name }) => name).filter((name) => !!name))];
  const name = names.length === 1 ? oneLine(String(names[0]), 40) : workflowOf(alert);
  if (alert.runs.length === 0) return name === null ? rule : `${rule} (${name})`;
  const statuses = [...new Set(alert.runs.map(({ status }) => status))];
  const did = statuses.length === 1 && statuses[0] ? ` ${statusText(statuses[0])}` : '';
  const whose = name === null ? '' : ` of ${name}`;
  return `${counted(alert.count, 'run')}${whose}${did} (${rule})`;
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

function linesOf({ acknowledged, annotations }: SentAlert): string[] {
  const { summary, description } = annotations ?? {};
  return [summary, description, acknowledged?.comment]
    .filter((line) => typeof line === 'string' && line.trim() !== '')
    .map((line) => oneLine(String(line), 500));
}

function factsOf({ rule, severity, labels }: SentAlert): Notice['facts'] {
  const shown = Object.entries(labels).map(([key, value]): [string, string] => [
    LABELS[key] ?? oneLine(key.replace(/^metadata\./, ''), 60),
    oneLine(value, 200),
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

/** Alerts that a digest lists. */
const ALERTS_LISTED = 10;

function digestNotice(event: SentEvent, alert: SentAlert, digest: SentDigest): Notice {
  const url = isLink(alert.url) ? alert.url : null;
  const counts = Object.entries(digest.by_type ?? {}).map(
    ([type, count]) => `${count} ${statusText(type.replace(/^run\./, ''))}`,
  );
  const alerts = digest.alerts ?? [];
  const what = counts.length === 0 ? 'nothing happened' : counts.join(', ');
  const why = digest.reason === 'muted' ? 'held back while muted' : null;
  return {
    ...bareNotice(event, `${oneLine(alert.rule, 60)}: ${oneLine(what, 200)}`),
    tone: 'neutral',
    lines: why === null ? [] : [`This was ${why}.`],
    facts: [['Rule', oneLine(alert.rule, 100)]],
    runs: alerts.slice(0, ALERTS_LISTED).map(({ labels, state, count }) => ({
      text: `${labelsText(labels)}: ${count}, ${statusText(state)}`,
      url: null,
    })),
    unlisted: { count: Math.max(0, alerts.length - ALERTS_LISTED), url },
    links: url === null ? [] : [{ label: 'Open in runwatch', url }],
    owner: alert.owner ?? null,
  };
}

function labelsText(labels: Record<string, string>): string {
  const shown = Object.entries(labels).map(([key, value]) => `${key} ${shortId(value)}`);
  return oneLine(shown.join(', '), 200) || 'all runs';
}
