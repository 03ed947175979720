import { z } from 'zod';
import { DURATION_HINT, parseDuration } from '../core/duration.ts';
import { isEventPattern } from '../core/filter.ts';
import { PROFILES } from '../core/watch.ts';

/** A duration string within bounds, as milliseconds behind the schema. */
function duration(fallback: string, { min, max }: { min: string; max: string }) {
  const [least, most] = [parseDuration(min) ?? 0, parseDuration(max) ?? Infinity];
  return z
    .string({ error: `expected ${DURATION_HINT}` })
    .default(fallback)
    .transform((text, context) => {
      const ms = parseDuration(text);
      if (ms !== null && ms >= least && ms <= most) return ms;
      const expected = ms === null ? DURATION_HINT : `a duration from ${min} to ${max}`;
      context.addIssue({ code: 'custom', message: `expected ${expected}, got "${text}"` });
      return z.NEVER;
    });
}

const integer = (fallback: number, min: number, max: number) =>
  z.coerce
    .number({ error: `expected a whole number from ${min} to ${max}` })
    .int(`expected a whole number from ${min} to ${max}`)
    .min(min, `expected at least ${min}`)
    .max(max, `expected at most ${max}`)
    .default(fallback);

/** Names become parts of Redis keys, job ids and metric labels. */
const name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_-]{0,62}$/i, 'expected a name of up to 63 letters, digits, _ and -');

const httpUrl = z.url({ protocol: /^https?$/, error: 'expected an http:// or https:// URL' });

const eventPatterns = z
  .array(
    z.string().refine(isEventPattern, {
      error: ({ input }) => `no event is ever of type "${String(input)}"`,
    }),
  )
  .min(1, 'expected at least one event type, a family such as run.*, or "*"');

/** Symmetric secrets of the Standard Webhooks specification: 24 to 64 bytes, base64, prefixed. */
export const webhookSecret = z.string().refine(
  (text) => {
    if (!/^whsec_[A-Za-z0-9+/]+={0,2}$/.test(text)) return false;
    const { length } = Buffer.from(text.slice('whsec_'.length), 'base64');
    return length >= 24 && length <= 64;
  },
  { error: 'expected whsec_ followed by the base64 of 24 to 64 bytes' },
);

const retrySchedule = z
  .array(duration('5s', { min: '1ms', max: '30d' }))
  .max(50)
  .default(
    ['5s', '1m', '5m', '30m', '2h', '5h', '10h', '14h', '20h', '24h'].map(
      (d) => parseDuration(d) ?? 0,
    ),
  );

const endpointBase = {
  events: eventPatterns.optional(),
  default: z.boolean().default(false),
};

const webhookEndpoint = z.strictObject({
  type: z.literal('webhook'),
  url: httpUrl,
  secret: webhookSecret.optional(),
  headers: z.record(z.string(), z.string()).default({}),
  timeout: duration('15s', { min: '1s', max: '30s' }),
  retry: retrySchedule,
  ...endpointBase,
});

const logEndpoint = z.strictObject({
  type: z.literal('log'),
  level: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
  ...endpointBase,
});

const source = z.strictObject({
  base_url: httpUrl.default('https://backend.noxus.ai'),
  api_key: z.string({ error: 'expected the API key of a Noxus workspace' }).min(1),
  timeout: duration('10s', { min: '100ms', max: '60s' }),
  rate_limit: z
    .strictObject({
      requests: integer(10, 1, 100_000),
      per: duration('1s', { min: '100ms', max: '1h' }),
    })
    .prefault({}),
});

const token = z.strictObject({
  name,
  token: z.string().min(8, 'expected a token of at least 8 characters'),
  scopes: z
    .array(z.enum(['read', 'write']))
    .min(1)
    .default(['read', 'write']),
});

/** The whole configuration: keys as in the file, durations as milliseconds behind the schema. */
export const configSchema = z.strictObject({
  data_dir: z.string().min(1),
  log: z
    .strictObject({
      level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
    })
    .prefault({}),
  server: z
    .strictObject({
      host: z.string().min(1).default('127.0.0.1'),
      port: integer(8787, 0, 65_535),
      shutdown_timeout: duration('20s', { min: '1s', max: '10m' }),
    })
    .prefault({}),
  auth: z.strictObject({ tokens: z.array(token).default([]) }).prefault({}),
  redis: z
    .strictObject({
      url: z
        .string()
        .regex(/^(rediss?|unix):\/\/|^\//, 'expected a redis://, rediss:// or unix:// URL')
        .optional(),
      prefix: name.default('runwatch'),
    })
    .prefault({}),
  sources: z.record(name, source).default({}),
  polling: z
    .strictObject({
      min_interval: duration('1s', { min: '10ms', max: '1h' }),
      max_interval: duration('60s', { min: '10ms', max: '1d' }),
      profile: z.enum(PROFILES).default('normal'),
      concurrency: integer(64, 1, 10_000),
      unreachable_after: duration('2m', { min: '1s', max: '7d' }),
      gone_after: duration('60s', { min: '100ms', max: '1d' }),
    })
    .prefault({}),
  watches: z
    .strictObject({
      timeout: duration('7d', { min: '1s', max: '365d' }),
      retention: duration('30d', { min: '1s', max: '3650d' }),
    })
    .prefault({}),
  endpoints: z
    .record(name, z.discriminatedUnion('type', [webhookEndpoint, logEndpoint]))
    .default({}),
  delivery: z
    .strictObject({
      concurrency: integer(64, 1, 10_000),
      per_endpoint: integer(4, 1, 1_000),
      retention: duration('30d', { min: '1s', max: '3650d' }),
      /** Signs webhooks that have no secret of their own. */
      signing_secret: webhookSecret.optional(),
    })
    .prefault({}),
  egress: z
    .strictObject({
      allow: z.array(z.string().min(1)).default([]),
      require_https: z.boolean().default(true),
    })
    .prefault({}),
  encryption: z
    .strictObject({
      /** 32 bytes in base64 each; the first encrypts, all decrypt. */
      keys: z.array(z.string().min(1)).default([]),
    })
    .prefault({}),
});

export type Config = z.output<typeof configSchema>;
export type SourceConfig = Config['sources'][string];
export type EndpointConfig = Config['endpoints'][string];
export type WebhookEndpointConfig = Extract<EndpointConfig, { type: 'webhook' }>;
export type LogEndpointConfig = Extract<EndpointConfig, { type: 'log' }>;
export type TokenConfig = Config['auth']['tokens'][number];
