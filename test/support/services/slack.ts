import { z } from 'zod';
import { createSlackBot, createSlackWebhook } from '../../../src/deliver/channels/slack.ts';
import { alertMessages } from '../messages.ts';
import {
  problemsOf,
  SENDING,
  startReceiver,
  type EndpointModel,
  type ServiceRequest,
  type ServiceRules,
} from './service.ts';

export const SLACK_PATH = '/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX';
export const SLACK_TOKEN = 'xoxb-1234-secret-token';
/** A channel by its name, and by the id that answers give. */
export const SLACK_CHANNEL = { name: '#runs', id: 'C024BE91L' };

const text = (most: number) => z.string().min(1).max(most);
const blockId = text(255).optional();

function mrkdwn(most: number) {
  return z.strictObject({
    type: z.literal('mrkdwn'),
    text: text(most),
    verbatim: z.boolean().optional(),
  });
}

function plainText(most: number) {
  return z.strictObject({
    type: z.literal('plain_text'),
    text: text(most),
    emoji: z.boolean().optional(),
  });
}

function anyText(most: number) {
  return z.discriminatedUnion('type', [mrkdwn(most), plainText(most)]);
}

const section = z
  .strictObject({
    type: z.literal('section'),
    text: anyText(3_000).optional(),
    fields: z.array(anyText(2_000)).min(1).max(10).optional(),
    block_id: blockId,
  })
  .refine((one) => one.text !== undefined || one.fields !== undefined, 'needs text or fields');

const button = z.strictObject({
  type: z.literal('button'),
  text: plainText(75),
  url: text(3_000).optional(),
  value: text(2_000).optional(),
  action_id: text(255).optional(),
});

const block = z.discriminatedUnion('type', [
  section,
  z.strictObject({
    type: z.literal('actions'),
    elements: z.array(button).min(1).max(25),
    block_id: blockId,
  }),
  z.strictObject({
    type: z.literal('context'),
    elements: z.array(anyText(3_000)).min(1).max(10),
    block_id: blockId,
  }),
  z.strictObject({ type: z.literal('header'), text: plainText(150), block_id: blockId }),
  z.strictObject({ type: z.literal('divider'), block_id: blockId }),
]);

const blocks = z.array(block).max(50);

/** Seen by others, not documented: https://github.com/slackapi/bolt-js/issues/2509 */
const MOST_IN_BLOCKS = 13_000;

const content = {
  text: z.string().optional(),
  blocks: z.unknown().optional(),
  unfurl_links: z.boolean().optional(),
  unfurl_media: z.boolean().optional(),
};

const webhookMessage = z.strictObject(content);
const postMessage = z.strictObject({
  ...content,
  channel: text(200),
  thread_ts: text(30).optional(),
  reply_broadcast: z.boolean().optional(),
});
const update = z.strictObject({ ...content, channel: text(200), ts: text(30) });

/** The code of Slack for what is wrong with a message, and why; null where it takes the message. */
function problemIn(schema: z.ZodType, body: ServiceRequest['body']): [string, string] | null {
  const { text: said = '', blocks: shown } = body;
  const size = JSON.stringify(shown ?? '').length;
  const problems: [code: string, why: string | null][] = [
    ['invalid_arguments', problemsOf(schema, body)],
    ['no_text', said === '' && shown === undefined ? 'neither text nor blocks' : null],
    ['msg_too_long', String(said).length > 40_000 ? 'a text of more than 40,000' : null],
    ['invalid_blocks', problemsOf(blocks.optional(), shown)],
    ['msg_blocks_too_long', size > MOST_IN_BLOCKS ? `blocks of ${size} characters` : null],
  ];
  for (const [code, why] of problems) if (why !== null) return [code, why];
  return null;
}

/** `/services/` with the ids of a workspace and a webhook, and the secret of the webhook. */
const WEBHOOK_PATH = /^\/services\/T\w+\/B\w+\/\w+$/;

/**
 * An incoming webhook of Slack.
 * Source: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and
 * https://docs.slack.dev/reference/block-kit/blocks
 */
export const SLACK_WEBHOOK: ServiceRules = {
  refuse({ path, body }) {
    if (!WEBHOOK_PATH.test(path)) return { why: path, status: 404, body: 'no_service' };
    const [code, why] = problemIn(webhookMessage, body) ?? [];
    return code === undefined ? null : { why: `${code}: ${why}`, status: 400, body: code };
  },
  take: () => ({ status: 200, body: 'ok' }),
};

/**
 * The methods of the Web API of Slack by which an app posts and updates its messages.
 * Source: https://docs.slack.dev/reference/methods/chat.postMessage and chat.update
 */
export function slackWebApi(): ServiceRules {
  let posted: string[] = [];
  return {
    refuse(request) {
      const problem = problemOfCall(request, posted);
      if (problem === null) return null;
      const [error, why] = problem;
      return { why: `${error}: ${why}`, status: 200, body: { ok: false, error } };
    },
    take({ path, body }) {
      const isUpdate = path === UPDATE;
      const ts = isUpdate ? String(body['ts']) : `1503435956.00024${posted.length + 1}`;
      if (!isUpdate) posted = [...posted, ts];
      return { status: 200, body: { ok: true, channel: SLACK_CHANNEL.id, ts, message: body } };
    },
  };
}

const UPDATE = '/chat.update';

function problemOfCall(
  { path, headers, body }: ServiceRequest,
  posted: readonly string[],
): [string, string] | null {
  const isUpdate = path === UPDATE;
  if (!isUpdate && path !== '/chat.postMessage') return ['unknown_method', path];
  const { authorization = '' } = headers;
  if (authorization !== `Bearer ${SLACK_TOKEN}`) return ['invalid_auth', authorization];
  const { channel = '', ts = '', thread_ts: thread = '' } = body as Record<string, string>;
  const names = isUpdate ? [SLACK_CHANNEL.id] : Object.values(SLACK_CHANNEL);
  if (!names.includes(channel)) return ['channel_not_found', channel];
  if (isUpdate && !posted.includes(ts)) return ['message_not_found', ts];
  if (thread !== '' && !posted.includes(thread)) return ['cannot_reply_to_message', thread];
  return problemIn(isUpdate ? update : postMessage, body);
}

export const MODEL: EndpointModel = {
  configured: {
    'a webhook of Slack': {
      settings: ({ http }) => ({ url: `${http}/services/T0/B0/canary` }),
      arrives: { url: ['/services/T0/B0/canary', 'path'] },
    },
    'an app of Slack': {
      settings: ({ http }) => ({
        bot_token: 'xoxb-canary-token',
        channel: '#canary-channel',
        api_url: `${http}/canary-api`,
      }),
      arrives: {
        bot_token: ['Bearer xoxb-canary-token', 'authorization'],
        channel: ['#canary-channel', 'body.channel'],
        api_url: ['/canary-api/chat.postMessage', 'path'],
      },
    },
  },
  receivers: {
    'a webhook of Slack': () =>
      startReceiver(SLACK_WEBHOOK, { status: 400, body: 'invalid_payload' }, ({ url, http }) =>
        createSlackWebhook(
          { url: url + SLACK_PATH, mentions: { '@ana': 'U0456' }, ...SENDING },
          http,
        ),
      ),
    'an app of Slack': () =>
      startReceiver(
        slackWebApi(),
        { status: 200, body: { ok: false, error: 'invalid_blocks' } },
        ({ url: apiUrl, http }) => {
          const channel = SLACK_CHANNEL.name;
          const bot = { endpoint: 'chat', token: SLACK_TOKEN, channel, apiUrl, mentions: {} };
          return createSlackBot({ ...bot, ...SENDING }, http, alertMessages());
        },
      ),
  },
};
