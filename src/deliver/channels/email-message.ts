import type { SendMailOptions } from 'nodemailer';
import { noticeOf } from './notice/describe.ts';
import { eventIdsText, titleOf, type Notice, type OwnerOf, type Tone } from './notice/notice.ts';
import type { SentEvent } from './notice/sent-event.ts';
import { oneLine } from './notice/text.ts';

interface Addresses {
  from: string;
  to: readonly string[];
  mentions: Readonly<Record<string, string>>;
  ownerOf?: OwnerOf;
}

/** The mail that one event becomes, or several of one type. */
export function emailMessage(
  events: readonly [SentEvent, ...SentEvent[]],
  { from, to, mentions, ownerOf }: Addresses,
): SendMailOptions {
  const [event] = events;
  const notice = noticeOf(events, ownerOf);
  const title = oneLine(titleOf(notice), 250);
  const domain = domainOf(from);
  const id = `<${event.id}@${domain}>`;
  const thread = threadOf(event, events.length);
  const root = thread === null ? null : `<${thread}@${domain}>`;
  const owner = notice.owner === null ? undefined : mentions[notice.owner];
  const shown = { ...notice, title };
  return {
    from,
    to: [...to, ...(owner === undefined || to.includes(owner) ? [] : [owner])],
    subject: title,
    text: textOf(shown),
    html: htmlOf(shown),
    // The same event has the same id in every attempt, so that mailboxes drop repeats.
    messageId: id,
    ...(root !== null && { references: [root], inReplyTo: root }),
    list: { id: { url: `runwatch.${domain}`, comment: 'runwatch' } },
    headers: { 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'All' },
  };
}

function domainOf(from: string): string {
  return /@([A-Za-z0-9.-]+)/.exec(from)?.[1] ?? 'runwatch.invalid';
}

/** Mails about one alert, or about one run, are one thread. */
function threadOf({ data }: SentEvent, count: number): string | null {
  if (count > 1 || data.digest) return null;
  if (data.alert !== undefined) return data.alert.id;
  return data.run_id === undefined ? null : `${data.watch?.source ?? 'default'}.${data.run_id}`;
}

function textOf(notice: Notice): string {
  const { title, lines, facts, runs, unlisted, links, owner } = notice;
  const listed = runs.map(({ text, url }) => (url === null ? `- ${text}` : `- ${text}\n  ${url}`));
  const rest = unlisted.url === null ? '' : `\n  ${unlisted.url}`;
  const more = unlisted.count === 0 ? [] : [`- and ${unlisted.count} more${rest}`];
  const parts = [
    [title, ...lines],
    [
      ...facts.map(([name, value]) => `${name}: ${value}`),
      ...(owner === null ? [] : [`Owner: ${owner}`]),
    ],
    [...listed, ...more],
    links.map(({ label, url }) => `${label}: ${url}`),
    [footerOf(notice)],
  ];
  return parts
    .filter((part) => part.length > 0)
    .map((part) => part.join('\n'))
    .join('\n\n');
}

function footerOf(notice: Notice): string {
  const { at, isTest } = notice;
  const test = isTest ? 'A test by runwatch endpoints test. ' : '';
  return `${test}${at.replace('T', ' ').replace(/\.\d+Z$/, ' UTC')} · ${eventIdsText(notice)}`;
}

const COLOURS: Readonly<Record<Tone, string>> = {
  bad: '#d92d20',
  attention: '#dc6803',
  good: '#079455',
  neutral: '#475467',
};

/** Styles stand on each element: clients of mail drop style sheets. */
function htmlOf(notice: Notice): string {
  const { title, tone, lines, facts, runs, unlisted, links, owner } = notice;
  const rows: (readonly [string, string])[] = [
    ...facts,
    ...(owner === null ? [] : [['Owner', owner] as const]),
  ];
  const items = [
    ...runs,
    ...(unlisted.count === 0 ? [] : [{ text: `and ${unlisted.count} more`, url: unlisted.url }]),
  ];
  return [
    '<div style="font-family:-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif;font-size:14px;line-height:20px;color:#101828;max-width:600px">',
    `<p style="margin:0 0 12px;padding-left:10px;border-left:4px solid ${COLOURS[tone]};font-size:17px;line-height:24px;font-weight:600">${escapeHtml(title)}</p>`,
    ...lines.map((line) => `<p style="margin:0 0 8px">${escapeHtml(line)}</p>`),
    rows.length === 0
      ? ''
      : `<table style="border-collapse:collapse;margin:0 0 12px">${rows.map(rowOf).join('')}</table>`,
    items.length === 0
      ? ''
      : `<ul style="margin:0 0 12px;padding-left:20px">${items.map(itemOf).join('')}</ul>`,
    links.length === 0 ? '' : `<p style="margin:0 0 16px">${links.map(buttonOf).join(' ')}</p>`,
    `<p style="margin:0;color:#667085;font-size:12px">${escapeHtml(footerOf(notice))}</p>`,
    '</div>',
  ]
    .filter((part) => part !== '')
    .join('\n');
}

function rowOf([name, value]: readonly [string, string]): string {
  return `<tr><td style="padding:2px 16px 2px 0;color:#667085;vertical-align:top;white-space:nowrap">${escapeHtml(name)}</td><td style="padding:2px 0;word-break:break-word">${escapeHtml(value)}</td></tr>`;
}

function itemOf({ text, url }: { text: string; url: string | null }): string {
  const shown = escapeHtml(text);
  const linked =
    url === null ? shown : `<a href="${escapeHtml(url)}" style="color:#175cd3">${shown}</a>`;
  return `<li style="margin:0 0 4px">${linked}</li>`;
}

function buttonOf({ label, url }: { label: string; url: string }): string {
  return `<a href="${escapeHtml(url)}" style="display:inline-block;padding:6px 12px;border:1px solid #d0d5dd;border-radius:6px;color:#344054;text-decoration:none">${escapeHtml(label)}</a>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
};

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"]/g, (character) => ENTITIES[character] ?? character);
}
