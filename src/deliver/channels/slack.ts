import type { EndpointConfig } from '../../config/schema.ts';
import { withoutEndSlash } from '../../core/end-slash.ts';
import type { AttemptOutcome } from '../../core/delivery/delivery.ts';
import { isRetriable } from '../../core/errors.ts';
import type { HttpAttempts, HttpResult } from '../http-attempt.ts';
import type { AlertMessageStore } from '../../redis/stores/alert-store.ts';
import { eventsOf, type Channel } from './channel.ts';
import {
  createHttpChannel,
  judgedAs,
  secretWebhook,
  sendJson,
  shownHeadersOf,
  throttledBy,
  type SecretWebhook,
  type Verdict,
} from './http-channel.ts';
import { noticeOf } from './notice/describe.ts';
import {
  calledOwner,
  eventIdsText,
  oneLine,
  titleOf,
  type Notice,
  type NoticeLink,
  type NoticeRun,
  type Wording,
  type Tone,
} from './notice/notice.ts';
import type { SentEvent } from './notice/sent-event.ts';

/** The settings of a Slack endpoint, and what every channel for people has. */
type SlackEndpoint = Extract<EndpointConfig, { type: 'slack' }> &
  Pick<SlackBot, 'endpoint' | 'wording' | 'timeoutMs'>;

/** A channel by the endpoint's incoming webhook, else by the token of its app. */
export function createSlackChannel(
  { url, bot_token: token = '', channel = '', api_url: apiUrl, ...shared }: SlackEndpoint,
  http: HttpAttempts,
  alertMessages: Pick<AlertMessageStore, 'get' | 'put'>,
): Channel {
  return url === undefined
    ? createSlackBot({ ...shared, token, channel, apiUrl }, http, alertMessages)
    : createSlackWebhook({ ...shared, url }, http);
}

/**
 * Sends messages to an incoming webhook of Slack, and to services that take the same.
 * Source: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
 */
export function createSlackWebhook(webhook: SecretWebhook, http: HttpAttempts): Channel {
  return createHttpChannel({ ...secretWebhook(webhook, slackMessage), verdictOn }, http);
}

/**
 * Why Slack takes no message of a webhook, by the code that is the body of its answer.
 * Source: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors
 */
const REFUSALS: Readonly<Record<string, string>> = {
  action_prohibited: 'an administrator of the workspace forbids it',
  channel_is_archived: 'the channel is archived',
  channel_not_found: 'the channel of the webhook does not exist any more',
  invalid_payload: 'Slack does not understand the message',
  invalid_token: 'the URL of the webhook is wrong or was revoked',
  no_active_hooks: 'the webhook is disabled',
  no_service: 'the webhook was removed or disabled',
  no_service_id: 'the URL of the webhook is incomplete',
  no_team: 'the workspace does not exist',
  posting_to_general_channel_denied: 'the webhook may not post to #general',
  team_disabled: 'the workspace is disabled',
};

/** The webhook itself is no more: no later message will do better. */
const WEBHOOK_GONE: ReadonlySet<string> = new Set([
  'channel_is_archived',
  'no_active_hooks',
  'no_service',
  'no_team',
  'team_disabled',
]);

/** Slack names the reason in one word; a proxy on the way does not, and may pass. */
function verdictOn({ answer }: HttpResult, status: number): Verdict | null {
  const reason = answer?.head.toString('latin1').trim() ?? '';
  if (!/^[a-z][a-z_]{2,60}$/.test(reason)) return null;
  const why = REFUSALS[reason] ?? 'it does not take the message';
  const isGone = WEBHOOK_GONE.has(reason) || status === 410;
  const message = `Slack answered ${status} ${reason}: ${why}`;
  return { kind: isGone ? 'refused' : 'rejected', message };
}

interface SlackBot {
  /** The name of the endpoint, under which its messages are remembered. */
  endpoint: string;
  token: string;
  /** The id or name of a channel that the app is a member of. */
  channel: string;
  /** Where the Web API is, with its path. */
  apiUrl: string;
  mentions: Mentions;
  wording?: Wording;
  timeoutMs: number;
}

/** An answer of the Web API takes the message's blocks back, after the fields that are read here. */
const ANSWER_BYTES = 16_384;

/**
 * Sends messages as an app of Slack. An alert is one message, which is updated in place; what happens to
 * it later follows in its thread. Were the process killed right after the message was sent, it would be
 * sent once more. Where Redis is away then, it is sent all the same, and the next update is a new message.
 * Source: https://docs.slack.dev/reference/methods/chat.postMessage and chat.update
 */
export function createSlackBot(
  bot: SlackBot,
  http: HttpAttempts,
  alertMessages: Pick<AlertMessageStore, 'get' | 'put'>,
): Channel {
  const { endpoint } = bot;
  return {
    async send(message, signal, mayStart) {
      const call = (method: string, body: object) =>
        callSlack(bot, http, { method, body, signal, mayStart });
      const post = (body: object) => call('chat.postMessage', body);
      const events = eventsOf(message);
      const [event] = events;
      const content = slackMessage(noticeOf(events, bot.wording), bot.mentions);
      const alertId = events.length === 1 ? threadOf(event) : null;
      const place = alertId === null ? null : await alertMessages.get(endpoint, alertId);
      const begin = async () => {
        const { outcome, posted } = await post({ channel: bot.channel, ...content });
        if (posted !== null && alertId !== null) {
          await alertMessages.put(endpoint, alertId, posted).catch(unlessRetriable);
        }
        return outcome;
      };
      if (place === null) return begin();
      const [channel = '', ts = ''] = place.split(' ');
      const updated = await call('chat.update', { channel, ts, ...content });
      if (updated.isLost) return begin();
      if (updated.outcome.kind !== 'delivered') return updated.outcome;
      return (await post(replyTo({ channel, ts }, event, content))).outcome;
    },
    shownHeaders: () => shownHeadersOf(serviceOf(bot), http),
  };
}

function unlessRetriable(error: unknown): void {
  if (!isRetriable(error)) throw error;
}

/** The alert of the message that an event updates; null for events that are messages of their own. */
function threadOf({ type, data }: SentEvent): string | null {
  if (data.alert === undefined || data.digest) return null;
  return type.startsWith('alert.') ? data.alert.id : null;
}

/** A short message in the thread; what wants attention again is shown in the channel, too. */
function replyTo(
  { channel, ts }: { channel: string; ts: string },
  { data }: SentEvent,
  { text, unfurl_links, unfurl_media }: SlackMessage,
): object {
  const isAgain = data.repeat === true || !!data.escalation;
  return { channel, thread_ts: ts, reply_broadcast: isAgain, text, unfurl_links, unfurl_media };
}

interface Call {
  method: string;
  body: object;
  signal: AbortSignal | undefined;
  mayStart: (() => boolean) | undefined;
}

interface Called {
  outcome: AttemptOutcome;
  /** The channel's id and the message's time, which name a message; null where none was posted. */
  posted: string | null;
  /** The message to update is there no more. */
  isLost: boolean;
}

/** Without the character set Slack adds a warning to each answer. The body of a 200 says what is wrong. */
function serviceOf({ token, timeoutMs }: SlackBot) {
  return {
    bearer: token,
    contentType: 'application/json; charset=utf-8',
    confidential: [],
    timeoutMs,
    headBytes: ANSWER_BYTES,
    verdictOn: () => null,
  };
}

async function callSlack(bot: SlackBot, http: HttpAttempts, call: Call): Promise<Called> {
  const url = new URL(`${withoutEndSlash(bot.apiUrl)}/${call.method}`);
  const sent = await sendJson({ ...serviceOf(bot), url }, call, http);
  const answer = readAnswer(sent.result);
  return {
    outcome: outcomeOf(sent, answer),
    posted: answer?.ok === true ? `${answer.channel} ${answer.ts}` : null,
    isLost: answer?.ok === false && LOST.has(answer.error),
  };
}

interface SlackAnswer {
  ok: boolean;
  error: string;
  channel: string;
  ts: string;
}

/** The four fields that are needed; the rest of a long answer may be cut off. */
function readAnswer({ answer }: HttpResult): SlackAnswer | null {
  if (answer?.status !== 200) return null;
  const text = answer.head.toString();
  const field = (name: string) => new RegExp(`"${name}"\\s*:\\s*"([^"]*)"`).exec(text)?.[1] ?? '';
  const ok = /"ok"\s*:\s*(true|false)/.exec(text)?.[1];
  if (ok === undefined) return null;
  return { ok: ok === 'true', error: field('error'), channel: field('channel'), ts: field('ts') };
}

/** The message of an alert cannot be changed any more, in a channel that is gone neither. */
const LOST: ReadonlySet<string> = new Set([
  'channel_not_found',
  'is_inactive',
  'message_not_found',
  'cant_update_message',
  'edit_window_closed',
]);

/** What passes by itself. */
const PASSING: ReadonlySet<string> = new Set([
  'external_channel_migrating',
  'fatal_error',
  'internal_error',
  'request_timeout',
  'service_unavailable',
  'team_added_to_org',
]);

/** Too many messages came in too short a time. */
const THROTTLED: ReadonlySet<string> = new Set([
  'message_limit_exceeded',
  'rate_limited',
  'ratelimited',
]);

/** The token is no good any more, for whatever message. */
const TOKEN_GONE: ReadonlySet<string> = new Set([
  'account_inactive',
  'token_expired',
  'token_revoked',
]);

/**
 * The Web API says `ok` in the body of a 200; every other error than those that pass is about the token,
 * the channel or the message, and final.
 * Source: https://docs.slack.dev/reference/methods/chat.postMessage#errors
 */
function outcomeOf(
  { outcome, result }: Awaited<ReturnType<typeof sendJson>>,
  answer: SlackAnswer | null,
): AttemptOutcome {
  if (outcome.kind !== 'delivered' || answer?.ok === true) return outcome;
  if (answer === null) {
    return judgedAs({ kind: 'failed', message: 'the answer is not one of Slack' }, result);
  }
  const { error } = answer;
  const message = `Slack answered ${error}`;
  if (THROTTLED.has(error)) {
    return throttledBy(judgedAs({ kind: 'failed', message }, result));
  }
  const kind = PASSING.has(error) ? 'failed' : TOKEN_GONE.has(error) ? 'refused' : 'rejected';
  return judgedAs({ kind, message }, result);
}

/** Limits of Block Kit. Source: https://docs.slack.dev/reference/block-kit/blocks */
const MOST_IN_TEXT = 3_000;
const MOST_IN_FIELD = 2_000;
const MOST_FIELDS = 10;

const SIGNS: Readonly<Record<Tone, string>> = {
  bad: ':red_circle:',
  attention: ':warning:',
  good: ':white_check_mark:',
  neutral: ':information_source:',
};

/** Which user of Slack stands behind a name of the configuration, such as `@ana`. */
type Mentions = Readonly<Record<string, string>>;

interface SlackMessage {
  /** For notifications and screen readers, which do not show blocks. */
  text: string;
  blocks: object[];
  unfurl_links: false;
  unfurl_media: false;
}

/** The message that a notice becomes in Slack. */
export function slackMessage(notice: Notice, mentions: Mentions = {}): SlackMessage {
  const title = titleOf(notice);
  return {
    text: clip([unmarked(title), ...notice.lines].join('. '), MOST_IN_TEXT),
    blocks: blocksOf(notice, title, mentions),
    // The links lead to pages behind a sign-in: previews of them are noise.
    unfurl_links: false,
    unfurl_media: false,
  };
}

function blocksOf(notice: Notice, title: string, mentions: Mentions): object[] {
  const { facts, runs, lines, owner } = notice;
  const links = linksText(notice.links);
  const head = [
    `${SIGNS[notice.tone]} *${bold(title)}*`,
    ...lines.map((line) => clip(line, 600)),
    ...(owner === null ? [] : [mentionOf(owner, calledOwner(notice, mentions))]),
  ];
  return [
    section(head.join('\n')),
    ...(facts.length === 0 ? [] : [fieldsBlock(facts)]),
    ...(runs.length === 0 ? [] : [section(runsText(runs, notice.unlisted))]),
    ...(links === '' ? [] : [section(links)]),
    { type: 'context', elements: [markdown(contextText(notice))] },
  ];
}

function fieldsBlock(facts: Notice['facts']): object {
  const fields = facts
    .slice(0, MOST_FIELDS)
    .map(([name, value]) => markdown(`*${bold(name)}*\n${literal(value, MOST_IN_FIELD - 150)}`));
  return { type: 'section', fields };
}

/** Links are left off where they are so long that the text would be cut within one. */
function runsText(runs: readonly NoticeRun[], { count, url }: Notice['unlisted']): string {
  const linesWith = (isLinked: boolean) => [
    ...runs.map((run) => `• ${link(run.text, isLinked ? run.url : null)}`),
    ...(count === 0 ? [] : [link(`and ${count} more`, isLinked ? url : null)]),
  ];
  const linked = linesWith(true).join('\n');
  return linked.length <= MOST_IN_TEXT ? linked : linesWith(false).join('\n');
}

/**
 * Links in one line, without those that do not fit. A button with a URL would do, but Slack also sends
 * its click to the app, and shows a warning where the app takes none.
 */
function linksText(links: readonly NoticeLink[]): string {
  let text = '';
  for (const { label, url } of links) {
    const next = text === '' ? link(label, url) : `${text} · ${link(label, url)}`;
    if (next.length <= MOST_IN_TEXT) text = next;
  }
  return text;
}

function contextText(notice: Notice): string {
  const { at, isTest } = notice;
  const test = isTest ? 'This is a test by `runwatch endpoints test` · ' : '';
  return `${test}${dateText(at)} · ${literal(eventIdsText(notice), MOST_IN_TEXT / 2)}`;
}

/** A time that Slack shows in the zone of each reader; what follows the bar is for other clients. */
function dateText(iso: string): string {
  const seconds = Math.floor(Date.parse(iso) / 1_000);
  if (!Number.isFinite(seconds)) return escapeText(iso);
  return `<!date^${seconds}^{date_short_pretty} at {time_secs}|${escapeText(iso)}>`;
}

/** A user, a user group, or one of `here` and `channel`; the bare name where nothing is configured. */
function mentionOf(owner: string, id: string | null): string {
  if (id === null) return `Owner: ${clip(owner, 100)}`;
  if (id === 'here' || id === 'channel') return `<!${id}>`;
  return id.startsWith('S') ? `<!subteam^${id}>` : `<@${id}>`;
}

/** A link with at most 250 characters of text; the bare text where there is no URL. */
function link(text: string, url: string | null): string {
  const shown = clip(unmarked(text).replaceAll('|', '¦'), 250);
  if (url === null) return shown;
  const target = url.replaceAll(/[|<>]/g, encodeURIComponent);
  return `<${escapeText(target)}|${shown}>`;
}

function section(text: string): object {
  return { type: 'section', text: markdown(text) };
}

/** `verbatim` keeps Slack from turning plain text into links. */
function markdown(text: string): object {
  return { type: 'mrkdwn', text, verbatim: true };
}

/** Text between asterisks, which none may end early: Slack has no escape for them. */
function bold(text: string): string {
  return clip(unmarked(oneLine(text, 250)).replaceAll('*', '∗'), 1_000);
}

/** Where Slack begins to format what follows, and names of emojis. */
const MARKUP = /(?<![a-z0-9])[*_~`](?=\S)|:[a-z0-9_+'-]+:/gi;

const LOOK_ALIKES: Readonly<Record<string, string>> = {
  '*': '∗',
  _: 'ˍ',
  '~': '∼',
  '`': 'ˋ',
  ':': '∶',
};

/** The text with characters that look alike where Slack would take them for markup. */
function unmarked(text: string): string {
  return text.replaceAll(MARKUP, (mark) =>
    mark.replaceAll(/[*_~`:]/g, (character) => LOOK_ALIKES[character] ?? character),
  );
}

/** A value that users copy, such as an id: as code, where Slack would take some of it for markup. */
function literal(value: string, most: number): string {
  if (value.search(MARKUP) < 0) return clip(value, most);
  return `\`${clip(value.replaceAll('`', 'ˋ'), most - 2)}\``;
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
