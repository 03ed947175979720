import { z } from 'zod';
import { createDiscordChannel } from '../../../src/deliver/channels/discord.ts';
import {
  problemsOf,
  SENDING,
  startReceiver,
  type EndpointModel,
  type ServiceRules,
} from './service.ts';

export const DISCORD_PATH = '/api/webhooks/1234/secret-token-of-discord';

/** Discord trims texts, of some control characters too, and misses those of which nothing is left. */
function required(most: number) {
  return z
    .string()
    .max(most, `Must be ${most} or fewer in length.`)
    .refine((text) => !BLANK.test(text), 'This field is required');
}

const BLANK = /^[\s\p{Cc}]*$/u;

const snowflakes = z
  .array(z.string().regex(/^\d{1,20}$/))
  .max(100)
  .optional();

const embedShape = z.strictObject({
  title: z.string().max(256).optional(),
  description: z.string().max(4_096).optional(),
  url: z.url().optional(),
  timestamp: z.iso.datetime({ offset: true }).optional(),
  color: z.number().int().min(0).max(0xffffff).optional(),
  footer: z.strictObject({ text: required(2_048) }).optional(),
  fields: z
    .array(
      z.strictObject({
        name: required(256),
        value: required(1_024),
        inline: z.boolean().optional(),
      }),
    )
    .max(25)
    .optional(),
});

type Embed = z.output<typeof embedShape>;

function textsOf({ title = '', description = '', footer, fields = [] }: Embed): string[] {
  return [title, description, footer?.text ?? ''].concat(
    fields.flatMap(({ name, value }) => [name, value]),
  );
}

const embed = embedShape.refine((one) => textsOf(one).join('') !== '', 'This field is required');

const message = z
  .strictObject({
    content: z.string().max(2_000).optional(),
    embeds: z.array(embed).max(10).optional(),
    allowed_mentions: z
      .strictObject({
        parse: z.array(z.enum(['roles', 'users', 'everyone'])),
        users: snowflakes,
        roles: snowflakes,
      })
      .optional(),
  })
  .refine(
    ({ content = '', embeds = [] }) => content.trim() !== '' || embeds.length > 0,
    'Cannot send an empty message',
  )
  .refine(
    ({ embeds = [] }) => embeds.flatMap(textsOf).join('').length <= 6_000,
    'Embed size exceeds maximum size of 6000',
  );

/**
 * A webhook of Discord.
 * Source: https://discord.com/developers/docs/resources/webhook#execute-webhook and
 * https://discord.com/developers/docs/resources/message#embed-object-embed-limits
 */
export const DISCORD: ServiceRules = {
  refuse({ path, body }) {
    if (path !== DISCORD_PATH) {
      return { why: path, status: 404, body: { message: 'Unknown Webhook', code: 10_015 } };
    }
    const why = problemsOf(message, body);
    if (why === null) return null;
    return { why, status: 400, body: { message: 'Invalid Form Body', code: 50_035 } };
  },
  take: () => ({ status: 204 }),
};

export const MODEL: EndpointModel = {
  configured: {
    Discord: {
      settings: ({ http }) => ({ url: `${http}/api/webhooks/1/canary` }),
      arrives: { url: ['/api/webhooks/1/canary', 'path'] },
    },
  },
  receivers: {
    Discord: () =>
      startReceiver(DISCORD, { status: 400, body: { code: 50_006 } }, ({ url, http }) =>
        createDiscordChannel(
          { url: url + DISCORD_PATH, mentions: { '@ana': '&80351110' }, ...SENDING },
          http,
        ),
      ),
  },
};
