// Shows the messages of every kind of endpoint for people on one local page, as a picture too where there
// is a Chromium: `npm run preview-messages`.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import {
  ENDPOINT_TYPES,
  isForPeople,
  type AUDIENCES,
  type EndpointType,
} from '../src/core/delivery/delivery.ts';
import { discordMessage } from '../src/deliver/channels/discord.ts';
import { emailMessage } from '../src/deliver/channels/email.ts';
import { noticeOf } from '../src/deliver/channels/notice/describe.ts';
import type { SentEvent } from '../src/deliver/channels/notice/sent-event.ts';
import { slackMessage } from '../src/deliver/channels/slack.ts';
import { teamsMessage } from '../src/deliver/channels/teams.ts';
import {
  sampleAlert,
  sampleBatch,
  sampleEvent,
  sampleFailures,
  sampleSystemEvent,
} from '../test/support/sample-events.ts';

const FOLDER = resolve('dist/preview');
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

const MAILBOX = { from: 'runwatch@example.com', to: ['ops@example.com'], mentions: {} };
const USERS = { '@ana': 'U0456' };

const NODES = {
  executed: 7,
  remaining: 5,
  running: [],
  failed: ['n7'],
  names: { n7: 'Extract invoice' },
};

const ACKNOWLEDGED = { acknowledged: { by: 'Ana', comment: 'The supplier changed its form.' } };

const ABSENT = {
  rule: 'invoices-missing',
  count: 1,
  runs: [],
  annotations: { summary: 'No run.completed of invoices for 1 d 2 h' },
};

const DIGEST = {
  reason: 'muted',
  since: '2025-12-31T22:00:00.000Z',
  until: '2026-01-01T06:00:00.000Z',
  alerts: [
    { id: 'alr_1', labels: { workflow_id: 'wf-1' }, state: 'firing', count: 9, name: 'invoices' },
    { id: 'alr_2', labels: { workflow_id: 'wf-2' }, state: 'resolved', count: 3, name: 'reports' },
  ],
  by_type: { 'run.failed': 12 },
};

const SAMPLES: [SentEvent, ...SentEvent[]][] = [
  [sampleEvent('run.failed', { data: { nodes: NODES } })],
  [sampleEvent('run.awaiting_human_feedback', { data: { reminder: 1, waited_ms: 3_600_000 } })],
  [sampleEvent('run.completed', { run: { progress: 100 } })],
  sampleFailures(300),
  [sampleAlert('alert.firing')],
  [sampleAlert('alert.updated', { data: { repeat: true } })],
  [sampleAlert('alert.firing', { alert: ABSENT })],
  [sampleAlert('alert.firing', { alert: { labels: {} }, data: { digest: DIGEST } })],
  [sampleAlert('alert.acknowledged', { alert: ACKNOWLEDGED })],
  [sampleAlert('alert.resolved', { alert: { resolved_at: '2026-01-01T12:12:06.000Z' } })],
  [sampleBatch('batch.completed', { failures: 0, data: { reason: 'idle' } })],
  [sampleBatch('batch.completed', { failures: 39 })],
  [sampleBatch('batch.failed', { failures: 4 })],
  [
    sampleSystemEvent('endpoint.failing', {
      endpoint: 'ops',
      error: { code: 'status', message: 'answered 500 Internal Server Error' },
      failures: 10,
      help: 'Its deliveries wait and one at a time probes.',
    }),
  ],
];

interface Block {
  type: string;
  text?: { text: string };
  fields?: { text: string }[];
  elements?: { text: string }[];
}

function slackHtml(events: (typeof SAMPLES)[number]): string {
  const { text, blocks } = slackMessage(noticeOf(events), USERS);
  const shown = (blocks as Block[]).map((block) => {
    const parts = [block.text, ...(block.fields ?? [])].flatMap((one) => one?.text ?? []);
    const elements = (block.elements ?? []).map((one) => `<small>${mrkdwn(one.text)}</small>`);
    const html = parts.map((part) => `<div>${mrkdwn(part)}</div>`).join('') + elements.join(' ');
    return `<div class="${block.fields === undefined ? 'block' : 'fields'}">${html}</div>`;
  });
  return `<p class="lock">${text.slice(0, 80)}</p>${shown.join('')}`;
}

const EMOJI: Record<string, string> = {
  red_circle: '🔴',
  warning: '⚠️',
  white_check_mark: '✅',
  information_source: 'ℹ️',
};

/** The marks of Slack that messages have; text is escaped in Slack's way, which is HTML's too. */
function mrkdwn(text: string): string {
  return text
    .replaceAll(/<!date\^\d+\^[^|]*\|([^>]*)>/g, '$1')
    .replaceAll(/<@(\w+)>/g, '<b class="mention">@$1</b>')
    .replaceAll(/<(https?:[^|>]+)\|([^>]*)>/g, '<a href="$1">$2</a>')
    .replaceAll(/:(\w+):/g, (mark, name: string) => EMOJI[name] ?? mark)
    .replaceAll(/\*([^*\n]+)\*/g, '<b>$1</b>')
    .replaceAll('\n', '<br>');
}

function markdown(text: string): string {
  return text
    .replaceAll(/\\([\\*_~`|>[\]#<])/g, (_, mark: string) => `&#${mark.charCodeAt(0)};`)
    .replaceAll(/\*\*([^*]+)\*\*/g, '<b>$1</b>')
    .replaceAll(/\[([^\]]+)\]\(([^)]+)\)/g, '<a href="$2">$1</a>')
    .replaceAll(/\r|\n/g, '<br>');
}

function discordHtml(events: (typeof SAMPLES)[number]): string {
  const { content, embeds } = discordMessage(noticeOf(events)) as {
    content: string;
    embeds: [
      {
        color: number;
        description?: string;
        fields: { name: string; value: string }[];
        footer: { text: string };
      },
    ];
  };
  const [{ color, description = '', fields, footer }] = embeds;
  const rows = fields.map(({ name, value }) => `<div><b>${name}</b><br>${markdown(value)}</div>`);
  const edge = `border-left:4px solid #${color.toString(16).padStart(6, '0')};padding-left:8px`;
  return `<p>${markdown(content)}</p><div style="${edge}">${markdown(description)}<div class="fields">${rows.join('')}</div><small>${footer.text}</small></div>`;
}

interface CardPart {
  type: string;
  text?: string;
  weight?: string;
  facts?: { title: string; value: string }[];
}

function teamsHtml(events: (typeof SAMPLES)[number]): string {
  const message = teamsMessage(noticeOf(events)) as {
    attachments: [{ content: { body: CardPart[]; actions: { title: string }[] } }];
  };
  const { body, actions } = message.attachments[0].content;
  const parts = body.map(({ text, weight, facts }) => {
    if (facts === undefined) return `<p>${weight ? '<b>' : ''}${markdown(text ?? '')}</b></p>`;
    const rows = facts.map(({ title, value }) => `<div><b>${title}</b> ${markdown(value)}</div>`);
    return rows.join('');
  });
  const buttons = actions.map(({ title }) => `<button>${title}</button>`);
  return parts.join('') + buttons.join(' ');
}

function mailHtml(events: (typeof SAMPLES)[number]): string {
  const { subject, html } = emailMessage(events, MAILBOX);
  return `<p class="lock">${subject}</p>${typeof html === 'string' ? html : ''}`;
}

const STYLE = `body{font:14px/20px sans-serif;margin:16px;color:#1d1c1d;background:#f2f4f7}
table{border-spacing:12px}td.m{vertical-align:top;width:360px;background:#fff;border-radius:8px;padding:12px}
.fields{display:grid;grid-template-columns:1fr 1fr;gap:6px;margin:6px 0}.block{margin:6px 0}
.lock{background:#101828;color:#fff;border-radius:6px;padding:4px 8px;font-size:12px}
small{color:#667085}.mention{background:#e8f5fa;color:#1264a3}div{overflow-wrap:anywhere}`;

type PeopleType = {
  [Type in EndpointType]: (typeof AUDIENCES)[Type] extends 'people' ? Type : never;
}[EndpointType];

/** A kind without a column of its own is named on the page. */
const COLUMNS: Partial<Record<PeopleType, { title: string; html: typeof slackHtml }>> = {
  slack: { title: 'Slack', html: slackHtml },
  email: { title: 'Mail', html: mailHtml },
  teams: { title: 'Teams', html: teamsHtml },
  discord: { title: 'Discord', html: discordHtml },
};

function pageHtml(): string {
  const columns = Object.values(COLUMNS);
  const rows = SAMPLES.map((events) => {
    const cells = columns.map(({ html }) => `<td class="m">${html(events)}</td>`);
    return `<tr><th>${events[0].type}${events.length > 1 ? ` × ${events.length}` : ''}</th></tr><tr>${cells.join('')}</tr>`;
  });
  const head = columns.map(({ title }) => `<th>${title}</th>`).join('');
  const others = ENDPOINT_TYPES.filter((type) => isForPeople(type) && !(type in COLUMNS));
  const note = others.length === 0 ? '' : `<p>Not shown: ${others.join(', ')}</p>`;
  return `<!doctype html><meta charset="utf-8"><title>Messages</title><style>${STYLE}</style>${note}<table><tr>${head}</tr>${rows.join('')}</table>`;
}

await mkdir(FOLDER, { recursive: true });
const page = resolve(FOLDER, 'messages.html');
await writeFile(page, pageHtml());
process.stdout.write(`${page}\n`);
const chromium = CHROMIUM.find((path) => existsSync(path));
if (chromium !== undefined) {
  const picture = resolve(FOLDER, 'messages.png');
  const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars'];
  spawnSync(chromium, [...flags, '--window-size=1600,3000', `--screenshot=${picture}`, page]);
  process.stdout.write(`${picture}\n`);
}
