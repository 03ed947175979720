import type { AttemptOutcome } from '../../core/delivery/delivery.ts';
import { attemptPost, outcomeByStatus, type HttpDeps, type HttpResult } from '../http-attempt.ts';
import type { AlertMessages } from '../ports.ts';
import { eventsOf, type Channel } from './channel.ts';
import { failedAs } from './json-channel.ts';
import { noticeOf } from './notice/describe.ts';
import type { OwnerOf } from './notice/notice.ts';
import type { SentEvent } from './notice/sent-event.ts';
import { slackMessage, type Mentions, type SlackMessage } from './slack-message.ts';

interface SlackBot {
  /** The name of the endpoint, under which its messages are remembered. */
  endpoint: string;
  token: string;
  /** The id or name of a channel that the app is a member of. */
  channel: string;
  /** Where the Web API is, with its path. */
  apiUrl: string;
  mentions: Mentions;
  ownerOf?: OwnerOf;
  timeoutMs: number;
}

/** An answer of the Web API takes the message's blocks back, after the fields that are read here. */
const ANSWER_BYTES = 16_384;

/**
 * Sends messages as an app of Slack. An alert is one message, which is updated in place; what happens to
 * it later follows in its thread. Were the process killed right after the message was sent, it would be
 * sent once more.
 * Source: https://docs.slack.dev/reference/methods/chat.postMessage and chat.update
 */
export function createSlackBot(
  bot: SlackBot,
  deps: HttpDeps & { alertMessages: AlertMessages },
): Channel {
  const { endpoint } = bot;
  return {
    async send(message, signal, mayStart) {
      const call = (method: string, body: object) =>
        callSlack(bot, deps, { method, body, signal, mayStart });
      const post = (body: object) => call('chat.postMessage', body);
      const events = eventsOf(message);
      const [event] = events;
      const content = slackMessage(noticeOf(events, bot.ownerOf), bot.mentions);
      const alertId = events.length === 1 ? threadOf(event) : null;
      const place = alertId === null ? null : await deps.alertMessages.get(endpoint, alertId);
      const begin = async () => {
        const { outcome, posted } = await post({ channel: bot.channel, ...content });
        if (posted !== null && alertId !== null) {
          await deps.alertMessages.put(endpoint, alertId, posted);
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
  };
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

async function callSlack(bot: SlackBot, deps: HttpDeps, call: Call): Promise<Called> {
  const request = {
    url: new URL(`${bot.apiUrl.replace(/\/+$/, '')}/${call.method}`),
    headers: {
      authorization: `Bearer ${bot.token}`,
      'content-type': 'application/json; charset=utf-8',
      'user-agent': deps.userAgent,
    },
    body: JSON.stringify(call.body),
    mayStart: call.mayStart,
    timeoutMs: bot.timeoutMs,
    confidential: [bot.token],
    headBytes: ANSWER_BYTES,
  };
  const result = await attemptPost(request, deps, call.signal);
  const answer = readAnswer(result);
  return {
    outcome: outcomeOf(result, answer, deps.now()),
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

const LOST: ReadonlySet<string> = new Set([
  'message_not_found',
  'cant_update_message',
  'edit_window_closed',
]);

/** What passes by itself. */
const PASSING: ReadonlySet<string> = new Set([
  'fatal_error',
  'internal_error',
  'request_timeout',
  'service_unavailable',
  'team_added_to_org',
]);

/** The token is no good any more, for whatever message. */
const GONE: ReadonlySet<string> = new Set(['account_inactive', 'token_expired', 'token_revoked']);

/** Where Slack names no time, its limit of a message per second and channel is over by then, ms. */
const THROTTLED_MS = 30_000;

/**
 * The Web API says `ok` in the body of a 200; every other error than those that pass is about the token,
 * the channel or the message, and final.
 * Source: https://docs.slack.dev/reference/methods/chat.postMessage#errors
 */
function outcomeOf(result: HttpResult, answer: SlackAnswer | null, now: number): AttemptOutcome {
  const byStatus = outcomeByStatus(result, now);
  if (byStatus.kind !== 'delivered' || answer?.ok === true) return byStatus;
  if (answer === null) return failedAs('failed', result, 'the answer is not one of Slack');
  const { error } = answer;
  if (error === 'ratelimited' || error === 'rate_limited') {
    return {
      ...failedAs('failed', result, `Slack answered ${error}`),
      kind: 'throttled',
      retryAfterMs: THROTTLED_MS,
    };
  }
  const kind = PASSING.has(error) ? 'failed' : GONE.has(error) ? 'refused' : 'rejected';
  return failedAs(kind, result, `Slack answered ${error}`);
}
