import type { HttpAttempts, HttpResult } from '../http-attempt.ts';
import type { Channel } from './channel.ts';
import {
  answeredJson,
  createHttpChannel,
  secretWebhook,
  type SecretWebhook,
  type Verdict,
} from './http-channel.ts';
import {
  calledOwner,
  eventIdsText,
  markdownLink,
  oneLine,
  titleOf,
  type Notice,
  type NoticeRun,
  type Tone,
} from './notice/notice.ts';

/**
 * Sends messages with an embed to a webhook of a channel of Discord. Mentions are ids of users, or of
 * roles with `&` before them.
 * Source: https://discord.com/developers/docs/resources/webhook#execute-webhook
 */
export function createDiscordChannel(webhook: SecretWebhook, http: HttpAttempts): Channel {
  const service = secretWebhook(webhook, discordMessage);
  return createHttpChannel({ ...service, verdictOn, pauseMs }, http);
}

/** Limits of embeds. Source: https://discord.com/developers/docs/resources/message#embed-object-embed-limits */
const MOST_IN_CONTENT = 2_000;
const MOST_IN_DESCRIPTION = 4_096;
const MOST_IN_VALUE = 1_024;
const MOST_IN_NAME = 256;
/** Of all texts of an embed together; the description gets what the others leave. */
const MOST_IN_EMBED = 6_000;

const COLOURS: Readonly<Record<Tone, number>> = {
  bad: 0xd92d20,
  attention: 0xf79009,
  good: 0x12b76a,
  neutral: 0x667085,
};

/** The message that a notice becomes in Discord. Its `content` is what a notification shows. */
export function discordMessage(
  notice: Notice,
  mentions: SecretWebhook['mentions'] = {},
): Record<string, unknown> {
  const { owner, at } = notice;
  const id = calledOwner(notice, mentions) ?? undefined;
  const title = titleOf(notice);
  const mention = id === undefined ? '' : ` <@${id}>`;
  const fields = fieldsOf(notice, id === undefined ? owner : null);
  const used = fields.reduce((sum, { name, value }) => sum + name.length + value.length, 200);
  const description = descriptionOf(notice, Math.min(MOST_IN_DESCRIPTION, MOST_IN_EMBED - used));
  return {
    content: `**${escapeMarkdown(oneLine(title, 900))}**`.slice(0, MOST_IN_CONTENT - 100) + mention,
    embeds: [
      {
        color: COLOURS[notice.tone],
        ...(description !== '' && { description }),
        fields,
        footer: { text: footerOf(notice) },
        ...(Number.isFinite(Date.parse(at)) && { timestamp: at }),
      },
    ],
    // Nothing that a run's name or metadata holds notifies users.
    allowed_mentions: allowedMentions(id),
  };
}

function allowedMentions(id: string | undefined): object {
  if (id === undefined) return { parse: [] };
  return id.startsWith('&') ? { parse: [], roles: [id.slice(1)] } : { parse: [], users: [id] };
}

function fieldsOf({ facts }: Notice, owner: string | null) {
  const all = owner === null ? facts : [...facts, ['Owner', owner] as const];
  return all.slice(0, 10).map(([name, value]) => ({
    name: oneLine(name, MOST_IN_NAME),
    value: escapeMarkdown(oneLine(value, 255)).slice(0, MOST_IN_VALUE),
    inline: value.length <= 40,
  }));
}

/**
 * As many runs as fit, and the number of the others. Then lines are left off from the end, so that none
 * is cut within a link.
 */
function descriptionOf(notice: Notice, most: number): string {
  for (let listed = notice.runs.length; listed > 0; listed -= 1) {
    const text = partsOf(notice, listed).join('\n');
    if (text.length <= most) return text;
  }
  let text = '';
  for (const part of partsOf(notice, 0)) {
    const next = text === '' ? part : `${text}\n${part}`;
    if (next.length > most) break;
    text = next;
  }
  return text;
}

function partsOf({ lines, runs, unlisted, links }: Notice, listed: number): string[] {
  const others = unlisted.count + runs.length - listed;
  return [
    ...lines.map((line) => escapeMarkdown(line)),
    ...(links.length === 0 ? [] : [links.map(({ label, url }) => link(label, url)).join(' · ')]),
    ...runs.slice(0, listed).map((run) => `• ${runText(run)}`),
    ...(others === 0 ? [] : [runText({ text: `and ${others} more`, url: unlisted.url })]),
  ];
}

function runText({ text, url }: NoticeRun): string {
  return url === null ? escapeMarkdown(oneLine(text, 200)) : link(oneLine(text, 200), url);
}

function link(text: string, url: string): string {
  return markdownLink(escapeMarkdown(text), url);
}

function footerOf(notice: Notice): string {
  return `${notice.isTest ? 'a test of runwatch' : 'runwatch'} · ${eventIdsText(notice)}`;
}

/** Source: https://support.discord.com/hc/articles/210298617 (escaping by a backslash) */
function escapeMarkdown(text: string): string {
  return text.replaceAll(/[\\*_~`|>[\]#<]/g, String.raw`\$&`);
}

/** A deleted webhook, or one with a wrong token. */
const GONE: ReadonlySet<unknown> = new Set([10_015, 50_027]);

/**
 * 400 is about the message, 404 and 401 about the webhook.
 * Source: https://discord.com/developers/docs/topics/opcodes-and-status-codes
 */
function verdictOn(result: HttpResult, status: number): Verdict | null {
  const { code, message: said } = answeredJson(result) ?? {};
  if (typeof code !== 'number') return null;
  const why = typeof said === 'string' ? oneLine(said, 200) : 'no reason';
  const message = `Discord answered ${status}: ${why} (${code})`;
  return { kind: GONE.has(code) ? 'refused' : 'rejected', message };
}

/**
 * The wait in seconds, with a fraction, that a body of 429 names.
 * Source: https://discord.com/developers/docs/topics/rate-limits#exceeding-a-rate-limit
 */
function pauseMs(result: HttpResult): number | null {
  const seconds = Number(answeredJson(result)?.['retry_after'] ?? NaN);
  return Number.isFinite(seconds) ? Math.ceil(seconds * 1_000) : null;
}
