import { z } from 'zod';
import { parseDuration } from '../core/duration.ts';
import { PROFILES } from '../core/watch.ts';
import { egressEntry } from './egress-entry.ts';
import { eventPatterns, headers, webhookSecret } from './endpoint-fields.ts';
import { duration, encryptionKey, flag, integer, name, secretText } from './fields.ts';
import { redisUrl, serviceUrl, webhookUrl } from './urls.ts';

// The secret of a webhook that comes with a watch is held to the same rule.
export { webhookSecret } from './endpoint-fields.ts';

const retrySchedule = z
  .array(duration('5s', { min: '1ms', max: '30d' }))
  .max(50, 'expected at most 50 delays')
  .default(
    ['5s', '1m', '5m', '30m', '2h', '5h', '10h', '14h', '20h', '24h'].map(
      (d) => parseDuration(d) ?? 0,
    ),
  );

const endpointBase = {
  events: eventPatterns.optional(),
  default: flag(false),
};

const webhookEndpoint = z.strictObject({
  type: z.literal('webhook'),
  url: webhookUrl,
  secret: webhookSecret.optional(),
  headers,
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
  base_url: serviceUrl.default('https://backend.noxus.ai'),
  api_key: secretText('expected the API key of a Noxus workspace', { min: 1 }),
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
  token: secretText('expected a token of at least 8 characters', { min: 8 }),
  scopes: z
    .array(z.enum(['read', 'write']))
    .min(1, 'expected at least one of read and write')
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
      url: redisUrl.optional(),
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
      // Well under the time for which a refusal is remembered, so that it is logged once.
      unauthorized_probe: duration('60s', { min: '100ms', max: '5m' }),
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
      allow: z.array(egressEntry).default([]),
      require_https: flag(true),
    })
    .prefault({}),
  encryption: z
    .strictObject({
      /** 32 bytes in base64 or hex each; the first encrypts, all decrypt. */
      keys: z.array(encryptionKey).default([]),
    })
    .prefault({}),
});

export type Config = z.output<typeof configSchema>;
export type SourceConfig = Config['sources'][string];
export type EndpointConfig = Config['endpoints'][string];
export type WebhookEndpointConfig = Extract<EndpointConfig, { type: 'webhook' }>;
export type LogEndpointConfig = Extract<EndpointConfig, { type: 'log' }>;
export type TokenConfig = Config['auth']['tokens'][number];
