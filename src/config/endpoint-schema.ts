import { isIP } from 'node:net';
import { z } from 'zod';
import { BODY_KIND_NAMES } from '../core/delivery/delivery.ts';
import { DEFAULT_RETRY_MS, DEFAULT_TIMEOUT_MS } from '../core/delivery/retry.ts';
import {
  isReservedHeader,
  EVENT_TYPES,
  familiesOf,
  ALERT_EVENT_TYPES,
  BATCH_EVENT_TYPES,
  SYSTEM_EVENT_TYPES,
} from '../core/event/event.ts';
import { ALL_SYSTEM_EVENTS, isEndpointPattern } from '../core/event/patterns.ts';
import { formatDuration } from '../core/time.ts';
import {
  duration,
  EXPECTED_PERCENT,
  flag,
  hasReadableUserinfo,
  optionalFlag,
  perSecond,
  wholeNumber,
  presentations,
  secretUrl,
  serviceUrl,
  webhookUrl,
} from './fields.ts';
import { headerName, HEADER_VALUE, isHeaderValue } from './headers.ts';

const ALL_TYPES = [
  ...EVENT_TYPES,
  ...BATCH_EVENT_TYPES,
  ...SYSTEM_EVENT_TYPES,
  ...ALERT_EVENT_TYPES,
];

const EVENT_PATTERNS: readonly string[] = [
  ...ALL_TYPES,
  ...familiesOf(ALL_TYPES),
  ALL_SYSTEM_EVENTS,
  '*',
];

const eventPatterns = z
  .array(
    z.string().refine(isEndpointPattern, {
      error: 'expected an event type, a family such as run.*, or "*"',
      params: { options: EVENT_PATTERNS },
    }),
  )
  .min(1, 'expected at least one event type, a family such as run.*, or "*"');

/** Symmetric secrets of the Standard Webhooks specification: 24 to 64 bytes, base64, prefixed. */
export const webhookSecret = z
  .string()
  .refine(
    (text) => {
      if (!/^whsec_[A-Za-z0-9+/]+={0,2}$/.test(text)) return false;
      const { length } = Buffer.from(text.slice('whsec_'.length), 'base64');
      return length >= 24 && length <= 64;
    },
    { error: 'expected whsec_ followed by the base64 of 24 to 64 bytes' },
  )
  .register(presentations, { as: 'secret' });

const ownHeaderName = headerName.refine(
  (text) => !isReservedHeader(text),
  'this header is reserved',
);

const headerValue = z
  .string()
  .refine(isHeaderValue, HEADER_VALUE)
  .register(presentations, { as: 'secret' });

/** Header values often are credentials, so all of them are treated as such. */
const headers = z.record(ownHeaderName, headerValue).default({});

/** Text that is held to a pattern and never shown. */
function secretMatching(pattern: RegExp, expected: string) {
  return z
    .string({ error: expected })
    .regex(pattern, expected)
    .register(presentations, { as: 'secret' });
}

/** Both parts are secret: services that have one key take it as the user name (RFC 7617). */
const basicAuth = z.strictObject({
  username: secretMatching(
    /^[^:\p{Cc}]+$/u,
    'expected a user name without colons and control characters',
  ),
  password: secretMatching(/^\P{Cc}*$/u, 'expected a password without control characters'),
});

const bearerToken = secretMatching(/^[\x21-\x7e]+$/, 'expected a token: ASCII without spaces');

/** How a webhook authenticates to its receiver, besides the signature: one way or the other. */
const auth = z
  .strictObject({ bearer: bearerToken.optional(), basic: basicAuth.optional() })
  .refine(({ bearer, basic }) => bearer !== undefined || basic !== undefined, {
    error: 'expected either bearer or basic',
    path: ['bearer'],
  })
  .refine(({ bearer, basic }) => bearer === undefined || basic === undefined, {
    error: 'expected either bearer or basic',
    path: ['basic'],
  });

const path = z
  .string({ error: 'expected the path of a file' })
  .min(1, 'expected the path of a file');

/** Files in PEM; `tls-files.ts` reads them. */
export const tls = z.strictObject({
  ca_file: path.optional(),
  cert_file: path.optional(),
  key_file: path.optional(),
});

function listOfOne(input: unknown): unknown {
  return typeof input === 'string' && input !== '' ? [input] : input;
}

/** One text, or a list of texts of which one has to be found. */
const oneOf = z.preprocess(
  listOfOne,
  z
    .array(z.string({ error: 'expected text' }).min(1), {
      error: 'expected text or a list of texts',
    })
    .min(1, 'expected text or a list of texts'),
);

/**
 * Which watches' events an endpoint gets; the keys are those of `WatchMatch` in `core/event/event.ts`.
 */
export const when = z.strictObject({
  workflow_id: oneOf.optional(),
  source: oneOf.optional(),
  metadata: z.record(z.string().min(1), oneOf).optional(),
});

const retrySchedule = z
  .array(duration('5s', { min: '1ms', max: '30d' }))
  .max(50, 'expected at most 50 delays')
  .default([...DEFAULT_RETRY_MS]);

/** What every kind of endpoint has. */
const endpointBase = {
  events: eventPatterns.optional(),
  when: when.optional(),
  /** Absent, the same as false; see `unusedEndpoints`. */
  default: optionalFlag,
};

/** What every kind of endpoint has that is reached over a network. */
const sendingBase = {
  timeout: duration(formatDuration(DEFAULT_TIMEOUT_MS), { min: '1s', max: '30s' }),
  retry: retrySchedule,
  /** Attempts per second; absent, there is no limit. */
  rate: perSecond(10_000).optional(),
  /** Attempts at a time; absent, `delivery.per_endpoint`. */
  concurrency: wholeNumber(1, 100).optional(),
  ...endpointBase,
};

const webhookEndpoint = z.strictObject({
  type: z.literal('webhook'),
  url: webhookUrl,
  secret: webhookSecret.optional(),
  headers,
  auth: auth.optional(),
  tls: tls.optional(),
  body: z.enum(BODY_KIND_NAMES).default('standard'),
  ...sendingBase,
});

/** Users of a service by the names of owners, such as `@ana`. */
const mentions = z
  .record(z.string().min(1), z.string({ error: 'expected the id of a user' }).min(1).max(200))
  .default({});

/** The keys of endpoints with messages for people. */
const peopleBase = {
  /** Whether a backlog of events of one type becomes one message. */
  fold: flag(true),
  ...sendingBase,
  rate: perSecond(10_000).default(1),
};

/** Settings that say which events an endpoint gets and when, rather than how its receiver is reached. */
export const COMMON_KEYS: ReadonlySet<string> = new Set([...Object.keys(peopleBase), 'mentions']);

/** An address of a service's API, without its path; another one than the default is for tests and proxies. */
function apiUrl(fallback: string) {
  return serviceUrl.default(fallback);
}

const slackEndpoint = z
  .strictObject({
    type: z.literal('slack'),
    url: secretUrl.optional(),
    bot_token: secretMatching(
      /^xox[a-z]-[\x21-\x7e]+$/,
      'expected the token of an app, which begins with xoxb-',
    ).optional(),
    channel: z.string({ error: 'expected the id or name of a channel' }).min(1).max(200).optional(),
    api_url: apiUrl('https://slack.com/api'),
    mentions,
    ...peopleBase,
  })
  .refine(({ url, bot_token: token }) => url !== undefined || token !== undefined, {
    error: 'expected either url, of an incoming webhook, or bot_token and channel',
    path: ['url'],
  })
  .refine(({ url, bot_token: token }) => url === undefined || token === undefined, {
    error: 'expected either url or bot_token',
    path: ['bot_token'],
  })
  .refine(({ bot_token: token, channel }) => (token === undefined) === (channel === undefined), {
    error: 'bot_token and channel go together',
    path: ['channel'],
  });

const discordEndpoint = z.strictObject({
  type: z.literal('discord'),
  url: secretUrl,
  mentions,
  ...peopleBase,
});

const teamsEndpoint = z.strictObject({
  type: z.literal('teams'),
  url: secretUrl,
  mentions,
  ...peopleBase,
});

const emailAddress = z
  .string({ error: 'expected an address such as ops@example.com' })
  .regex(
    /^([^<>\r\n]* <[^\s<>@]+@[^\s<>@]+>|[^\s<>@]+@[^\s<>@]+)$/,
    'expected an address such as ops@example.com',
  );

const EXPECTED_HOST =
  'expected the name or address of a server alone; a port belongs to port, and a whole URL to url';

/** Source: RFC 1123, section 2.1; underscores stand in names of containers. */
const HOST_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*\.?$/;

/** An SMTP server as one URL, or as host and port; user name and password belong to both. */
const smtpUrl = z
  .string()
  .regex(/^smtps?:\/\/[^\s/]+\/?$/, 'expected an smtp:// or smtps:// URL')
  .refine((text) => URL.canParse(text), 'expected an smtp:// or smtps:// URL')
  .refine(hasReadableUserinfo, EXPECTED_PERCENT)
  .register(presentations, { as: 'url' });

const smtpHost = z
  .string({ error: EXPECTED_HOST })
  .refine((text) => isIP(text) !== 0 || HOST_NAME.test(text), EXPECTED_HOST);

const emailEndpoint = z
  .strictObject({
    type: z.literal('email'),
    url: smtpUrl.optional(),
    host: smtpHost.optional(),
    port: wholeNumber(1, 65_535).optional(),
    username: z.string().min(1).optional(),
    password: secretMatching(
      /^\P{Cc}+$/u,
      'expected a password without control characters',
    ).optional(),
    tls: tls.optional(),
    from: emailAddress,
    to: z.preprocess(
      listOfOne,
      z
        .array(emailAddress, { error: 'expected an address or a list of addresses' })
        .min(1, 'expected at least one address')
        .max(50, 'expected at most 50 addresses'),
    ),
    mentions,
    ...peopleBase,
  })
  .refine(({ url, host }) => url !== undefined || host !== undefined, {
    error: 'expected either url or host',
    path: ['url'],
  })
  .refine(({ url, host }) => url === undefined || host === undefined, {
    error: 'expected either url or host',
    path: ['host'],
  })
  .refine(({ username, password }) => (username === undefined) === (password === undefined), {
    error: 'username and password go together',
    path: ['password'],
  });

const pagerDutyEndpoint = z.strictObject({
  type: z.literal('pagerduty'),
  routing_key: secretMatching(
    /^[A-Za-z0-9]{32}$/,
    'expected the integration key of a service: 32 letters and digits',
  ),
  api_url: apiUrl('https://events.pagerduty.com'),
  ...sendingBase,
});

const logEndpoint = z.strictObject({
  type: z.literal('log'),
  level: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
  ...endpointBase,
});

/** One endpoint, of any kind. */
export const endpoint = z.discriminatedUnion('type', [
  webhookEndpoint,
  logEndpoint,
  slackEndpoint,
  pagerDutyEndpoint,
  emailEndpoint,
  teamsEndpoint,
  discordEndpoint,
]);
