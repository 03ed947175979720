import { isIP, isIPv6 } from 'node:net';
import { z } from 'zod';
import { PER_WATCH } from '../core/delivery/receiver.ts';
import { MOST_STREAMS } from '../core/feed/stream-capacity.ts';
import { WORKFLOW_ENTRY_PATTERN } from '../core/run/id.ts';
import { PROFILES } from '../core/watch/watch.ts';
import { endpoint, webhookSecret, tls } from './endpoint-schema.ts';
import { ruleSections } from './rule-schema.ts';
import { source } from './source-schema.ts';
import {
  duration,
  encryptionKey,
  flag,
  integer,
  optionalSize,
  wholeNumber,
  name,
  runUrlTemplate,
  proxyUrl,
  secretText,
  serviceUrl,
  redisUrl,
  webhookUrl,
} from './fields.ts';
import type { PollPolicy } from '../core/watch/observation.ts';
import type { RegisterDefaults } from '../core/watch/register.ts';

const address = z
  .string({ error: 'expected host:port' })
  .regex(/^(\[[0-9a-fA-F:.]+\]|[^\s:/@[\]]+)(:\d{1,5})?$/, 'expected host:port');

const addresses = z
  .array(address, { error: 'expected a list such as [host:port, host:port]' })
  .min(1, 'expected at least one host:port')
  .max(30, 'expected at most 30 of them');

const password = secretText('expected a password', { min: 1 });

/** Which Redis: one of `url`, `sentinels` with `name`, and `cluster`; else the daemon's own. */
export const redis = z.strictObject({
  url: redisUrl.optional(),
  sentinels: addresses.optional(),
  name: z.string().min(1).optional(),
  cluster: addresses.optional(),
  username: z.string().min(1).optional(),
  password: password.optional(),
  sentinel_username: z.string().min(1).optional(),
  sentinel_password: password.optional(),
  tls: tls.extend({ server_name: z.string().min(1).optional() }).optional(),
  prefix: name.default('runwatch'),
  refuse_clock_skew: flag(false),
  /** Of the daemon's own Redis. */
  maxmemory: optionalSize({ min: '64mb' }),
});

export type RedisConfig = z.output<typeof redis>;

function isEgressEntry(entry: string): boolean {
  if (isIP(entry) !== 0) return true;
  const [, base = '', bits] = /^(.+)\/(\d{1,3})$/.exec(entry) ?? [];
  if (isIP(base) !== 0) return Number(bits) <= (isIPv6(base) ? 128 : 32);
  const [, host = '', port] = /^(\[[^\]]+\]|[\p{L}\p{N}._-]+):(\d{1,5})$/u.exec(entry) ?? [];
  return Number(port) > 0 && URL.canParse(`http://${host}:${port}`);
}

const egressEntry = z
  .string()
  .refine(isEgressEntry, 'expected an address, a CIDR such as 10.0.0.0/8, or host:port');

/** One for a source alone has the source's name and a slash before the id. */
const workflowEntryKey = z
  .string({ error: 'expected the id of a workflow' })
  .regex(WORKFLOW_ENTRY_PATTERN, 'expected the id of a workflow, or <source>/<id>');

/** What is said of a workflow, whatever its source says of it. */
const workflow = z.strictObject({
  name: z
    .string({ error: 'expected a name' })
    .min(1)
    .max(128, 'expected a name of at most 128 characters')
    .optional(),
  owner: z.string({ error: 'expected text such as "@ana"' }).min(1).max(128).optional(),
  /** Instead of that of the source. */
  run_url: runUrlTemplate.optional(),
});

/** What a token may be good for; none implies another. */
const SCOPES = ['read', 'write', 'admin'] as const;

/** What of the API needs no token, where the configuration says so. */
const PUBLIC_AREAS = ['metrics', 'docs'] as const;

/** Stands for every source, in the place of names. */
const ALL_SOURCES = '*';

const TOKEN_SOURCES = 'expected a list of names of sources, or ["*"] for all';

const token = z.strictObject({
  name,
  token: secretText('expected a token of at least 16 characters', { min: 16 }),
  scopes: z
    .array(z.enum(SCOPES))
    .min(1, 'expected at least one of read, write and admin')
    .default([...SCOPES]),
  /** What it sees and changes belongs to these. */
  sources: z
    .array(z.string({ error: TOKEN_SOURCES }), { error: TOKEN_SOURCES })
    .min(1, TOKEN_SOURCES)
    .default([ALL_SOURCES]),
  /** Active watches that it may have registered; absent, any number. */
  max_watches: wholeNumber(1, 10_000_000).optional(),
});

/** Requests under way in one process; `auto`: what rate limits can need, as far as process and Redis keep up. */
const pollConcurrency = z
  .union([z.literal('auto'), wholeNumber(1, 10_000)], {
    error: 'expected auto or a whole number from 1 to 10000',
  })
  .default('auto');

/** No endpoint has the name by which counters and metrics know all webhooks of watches. */
const endpointName = name.refine(
  (text) => text !== PER_WATCH,
  `${PER_WATCH} is what webhooks of watches are called together: choose another name`,
);

/** When to remind of a run that awaits human feedback: times since the wait began, in ascending order. */
const reminders = z
  .array(duration('1h', { min: '100ms', max: '365d' }), {
    error: 'expected a list of durations such as [1h, 24h]',
  })
  .max(10, 'expected at most 10 times')
  .refine((times) => times.every((ms, at) => ms > (times[at - 1] ?? 0)), {
    error: 'expected times in ascending order, such as [1h, 24h]',
  })
  .default([3_600_000, 86_400_000]);

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
      /** The address by which users reach this server, for links. */
      public_url: serviceUrl.optional(),
    })
    .prefault({}),
  auth: z
    .strictObject({
      tokens: z.array(token).default([]),
      public: z.array(z.enum(PUBLIC_AREAS)).default([...PUBLIC_AREAS]),
    })
    .prefault({}),
  redis: redis.prefault({}),
  sources: z.record(name, source).default({}),
  workflows: z.record(workflowEntryKey, workflow).default({}),
  polling: z
    .strictObject({
      min_interval: duration('1s', { min: '10ms', max: '1h' }),
      max_interval: duration('60s', { min: '10ms', max: '1d' }),
      profile: z.enum(PROFILES).default('normal'),
      concurrency: pollConcurrency,
      lists: z.enum(['auto', 'off']).default('auto'),
      unreachable_after: duration('2m', { min: '1s', max: '7d' }),
      gone_after: duration('60s', { min: '100ms', max: '1d' }),
      // Well under the time for which a refusal is remembered, so that it is logged once.
      unauthorized_probe: duration('60s', { min: '100ms', max: '5m' }),
      hints: z.enum(['auto', 'off'], { error: 'expected auto or off' }).default('auto'),
      hint_streams: integer(1_000, 1, MOST_STREAMS),
    })
    .prefault({}),
  watches: z
    .strictObject({
      timeout: duration('7d', { min: '1s', max: '365d' }),
      retention: duration('30d', { min: '1s', max: '3650d' }),
      stall_after: duration('30m', { min: '100ms', max: '365d' }),
      remind_feedback: reminders,
    })
    .prefault({}),
  /** Without any there is one that writes to the log: `allEndpoints` of `deliver/endpoints.ts`. */
  endpoints: z.record(endpointName, endpoint).default({}),
  rules: ruleSections.rules.default([]),
  time_intervals: ruleSections.time_intervals.default({}),
  inhibit_rules: ruleSections.inhibit_rules.default([]),
  delivery: z
    .strictObject({
      concurrency: integer(1_024, 1, 10_000),
      /** At the most; attempts at a time follow the receiver. */
      per_endpoint: integer(128, 1, 1_000),
      retention: duration('30d', { min: '1s', max: '3650d' }),
      /** Deliveries that have ended, kept at the most; the oldest go first. */
      keep: integer(1_000_000, 0, 100_000_000),
      /** Signs webhooks that have no secret of their own. */
      signing_secret: webhookSecret.optional(),
    })
    .prefault({}),
  egress: z
    .strictObject({
      allow: z.array(egressEntry).default([]),
      require_https: flag(true),
      /** All webhooks go through it. */
      proxy: proxyUrl.optional(),
    })
    .prefault({}),
  /** A GET while ready, for a service that notices its absence. */
  heartbeat: z
    .strictObject({
      /** Services put a key into its path. */
      url: webhookUrl,
      every: duration('30s', { min: '1s', max: '1h' }),
    })
    .optional(),
  encryption: z
    .strictObject({
      /** 32 bytes in base64 or hex each; the first encrypts, all decrypt. */
      keys: z.array(encryptionKey).default([]),
    })
    .prefault({}),
});

/** The sections that alert rules are made of. */
export type RuleSections = Pick<Config, 'rules' | 'time_intervals' | 'inhibit_rules'>;

export type Config = z.output<typeof configSchema>;
export type SourceConfig = Config['sources'][string];
export type HttpSourceConfig = Extract<SourceConfig, { type: 'http' }>;
export type NoxusSourceConfig = Exclude<SourceConfig, HttpSourceConfig>;
export type EndpointConfig = Config['endpoints'][string];
export type WebhookEndpointConfig = Extract<EndpointConfig, { type: 'webhook' }>;
export type PublicArea = Config['auth']['public'][number];
export type TokenConfig = Config['auth']['tokens'][number];

/** The options of watches that set none themselves, both registered and discovered ones. */
export function registerDefaults({ watches, polling }: Config): RegisterDefaults {
  return {
    timeoutMs: watches.timeout,
    minIntervalMs: polling.min_interval,
    profile: polling.profile,
  };
}

/** The configured limits by which a poll result is judged, ms. */
export function pollPolicy({ polling, watches }: Config): PollPolicy {
  return {
    minIntervalMs: polling.min_interval,
    maxIntervalMs: polling.max_interval,
    unreachableAfterMs: polling.unreachable_after,
    goneAfterMs: polling.gone_after,
    remindAfterMs: watches.remind_feedback,
    stallAfterMs: watches.stall_after,
  };
}
