import { percentText } from '../../core/run/snapshot.ts';
import { type BodyKind, parseEvent, type SentEvent, type SentRun } from './channel.ts';

/** Limits of Slack for one text of a section, and for each of its fields. */
const MOST_IN_TEXT = 3_000;
const MOST_IN_FIELD = 2_000;

/** The title of each event type, and a sign for those that need attention. */
const TITLES: Readonly<Record<string, { title: string; sign?: string }>> = {
  'run.started': { title: 'Run started' },
  'run.progress': { title: 'Run goes on' },
  'run.resumed': { title: 'Run resumed' },
  'run.stalled': { title: 'Run is stalled', sign: ':hourglass:' },
  'run.recovered': { title: 'Run moves on again' },
  'run.awaiting_human_feedback': { title: 'Run waits for a human', sign: ':raised_hand:' },
  'run.completed': { title: 'Run completed', sign: ':white_check_mark:' },
  'run.failed': { title: 'Run failed', sign: ':red_circle:' },
  'run.stopped': { title: 'Run stopped', sign: ':warning:' },
  'run.gone': { title: 'Run is gone', sign: ':warning:' },
  'run.status_unknown': { title: 'Run has an unknown status', sign: ':warning:' },
  'watch.expired': { title: 'Watch expired', sign: ':warning:' },
  'watch.unreachable': { title: 'Noxus does not answer', sign: ':warning:' },
  'watch.recovered': { title: 'Noxus answers again' },
  'source.unreachable': { title: 'Noxus gives no answer to anything', sign: ':warning:' },
  'source.recovered': { title: 'Noxus answers again' },
};

/**
 * A message for an incoming webhook of Slack, and for those that take the same.
 * Source: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and
 * https://docs.slack.dev/reference/block-kit/blocks/section-block (limits).
 */
export const slackBody: BodyKind = {
  contentType: 'application/json',
  render(eventText) {
    const event = parseEvent(eventText);
    return JSON.stringify({ text: fallbackOf(event), blocks: blocksOf(event) });
  },
};

/** The title of a reminder, in place of that of its type; null for other events. */
function reminderTitle({ reminder }: SentEvent['data']): string | null {
  return reminder === undefined ? null : 'Run still waits for a human';
}

/** For notifications and screen readers, which do not show blocks. */
function fallbackOf({ type, data }: SentEvent): string {
  const title = reminderTitle(data) ?? TITLES[type]?.title ?? type;
  const about = data.run_id === undefined ? '' : `: ${data.run_id}`;
  const workflow = data.run?.workflow_id ? ` of workflow ${data.run.workflow_id}` : '';
  return clip(`${title}${about}${workflow}`, MOST_IN_TEXT);
}

function blocksOf(event: SentEvent): object[] {
  const { data } = event;
  const fields = fieldsOf(data);
  return [
    section(headOf(event)),
    ...(fields.length === 0 ? [] : [{ type: 'section', fields }]),
    ...(data.error ? [section(`*Why*\n${clip(data.error.message, 2_900)}`)] : []),
    ...listBlock('Metadata', data.watch?.metadata ?? {}),
    ...listBlock('Details', data.run_id === undefined ? data : {}),
    { type: 'context', elements: [markdown(`${escapeText(event.timestamp)} · ${event.id}`)] },
  ];
}

function headOf({ type, data }: SentEvent): string {
  const { title, sign } = TITLES[type] ?? { title: escapeText(type) };
  const first = `${sign === undefined ? '' : `${sign} `}*${reminderTitle(data) ?? title}*`;
  return data.run_id === undefined ? first : `${first}\n${inlineText(data.run_id, 200)}`;
}

function fieldsOf({ run, watch, waited_ms, lasted_ms }: SentEvent['data']): object[] {
  const duration = run ? durationOf(run) : null;
  const shown: [string, string | null][] = [
    ['Status', run ? clip(run.status, MOST_IN_FIELD - 100) : null],
    ['Workflow', run?.workflow_id ? inlineText(run.workflow_id, MOST_IN_FIELD - 100) : null],
    ['Progress', run ? percentText(run.progress, ' %') : null],
    ['Duration', duration === null ? null : spanText(duration)],
    ['Waited', waited_ms === undefined ? null : spanText(waited_ms)],
    ['In one state', lasted_ms === undefined ? null : spanText(lasted_ms)],
    ['Source', watch ? escapeText(watch.source) : null],
  ];
  return shown.flatMap(([name, value]) =>
    value === null ? [] : [markdown(`*${name}*\n${value}`)],
  );
}

/** How long the run has been running, or ran; null before it has started. */
function durationOf({ started_at: start, finished_at: end, observed_at: seen }: SentRun) {
  return start === null ? null : Math.max(0, Date.parse(end ?? seen) - Date.parse(start));
}

/** One line for each entry with a plain value, clipped to the limit. */
function listBlock(title: string, entries: object): object[] {
  const lines = Object.entries(entries).flatMap(([key, value]: [string, unknown]) =>
    ['string', 'number', 'boolean'].includes(typeof value) ? [`${key}: ${String(value)}`] : [],
  );
  return lines.length === 0 ? [] : [section(`*${title}*\n${clip(lines.join('\n'), 2_900)}`)];
}

function section(text: string): object {
  return { type: 'section', text: markdown(text) };
}

/** `verbatim` keeps Slack from turning plain text into links. */
function markdown(text: string): object {
  return { type: 'mrkdwn', text, verbatim: true };
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };

/**
 * The three characters by which Slack marks links, mentions and entities.
 * Source: https://docs.slack.dev/messaging/formatting-message-text#escaping
 */
export function escapeText(text: string): string {
  return text.replaceAll(/[&<>]/g, (character) => ENTITIES[character] ?? character);
}

/** Escaped text of at most `most` characters, never cut within an entity or a character. */
export function clip(text: string, most: number): string {
  const escaped = escapeText(text);
  if (escaped.length <= most) return escaped;
  let kept = '';
  for (const character of text) {
    const next = escapeText(character);
    if (kept.length + next.length > most - 1) break;
    kept += next;
  }
  return `${kept}…`;
}

/** Text as inline code, where no other mark applies. A backtick would end it, so it is replaced. */
export function inlineText(text: string, most: number): string {
  return `\`${clip(text.replaceAll(/[`\r\n]/g, "'"), most - 2)}\``;
}

/** A time span for people, in its two largest units: `1h 3m`, `2m 5s`, `0.8s`. @param ms 0 or more */
export function spanText(ms: number): string {
  if (ms < 10_000) return `${(Math.floor(ms / 100) / 10).toString()}s`;
  const seconds = Math.floor(ms / 1_000);
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  return parts
    .slice(first, first + 2)
    .filter(([amount]) => amount > 0)
    .map(([amount, unit]) => `${amount}${unit}`)
    .join(' ');
}
