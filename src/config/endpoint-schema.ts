import { validateHeaderName, validateHeaderValue } from 'node:http';
import { z } from 'zod';
import { BODY_KIND_NAMES } from '../core/delivery/delivery.ts';
import { parseDuration } from '../core/duration.ts';
import {
  isReservedHeader,
  EVENT_TYPES,
  ALERT_EVENT_TYPES,
  SYSTEM_EVENT_TYPES,
  ALL_SYSTEM_EVENTS,
  isEndpointPattern,
} from '../core/event/event.ts';
import {
  duration,
  flag,
  perSecond,
  wholeNumber,
  presentations,
  secretUrl,
  webhookUrl,
} from './fields.ts';

const ALL_TYPES = [...EVENT_TYPES, ...SYSTEM_EVENT_TYPES, ...ALERT_EVENT_TYPES];

const EVENT_PATTERNS: readonly string[] = [
  ...ALL_TYPES,
  ...new Set(ALL_TYPES.map((type) => `${type.slice(0, type.indexOf('.'))}.*`)),
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

function passes(check: () => void): boolean {
  try {
    check();
    return true;
  } catch {
    return false;
  }
}

const headerName = z
  .string()
  .refine((text) => passes(() => validateHeaderName(text)), 'expected the name of a header')
  .refine((text) => !isReservedHeader(text), 'this header is reserved');

const headerValue = z
  .string()
  .refine(
    (text) => passes(() => validateHeaderValue('x', text)),
    'expected the value of a header: one line of printable characters',
  )
  .register(presentations, { as: 'secret' });

/** Header values often are credentials, so all of them are treated as such. */
const headers = z.record(headerName, headerValue).default({});

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
  .default(
    ['5s', '1m', '5m', '30m', '2h', '5h', '10h', '14h', '20h', '24h'].map(
      (d) => parseDuration(d) ?? 0,
    ),
  );

/** What every kind of endpoint has. */
const endpointBase = {
  events: eventPatterns.optional(),
  when: when.optional(),
  default: flag(false),
};

/** What every kind of endpoint has that is reached over a network. */
const sendingBase = {
  timeout: duration('15s', { min: '1s', max: '30s' }),
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

/** What kinds of endpoints have whose messages people read. */
const peopleBase = {
  /** Users of the service by the names of owners, such as `@ana`. */
  mentions: z
    .record(z.string().min(1), z.string({ error: 'expected the id of a user' }).min(1).max(200))
    .default({}),
  /** Whether a backlog of events of one type becomes one message. */
  fold: flag(true),
  ...sendingBase,
  rate: perSecond(10_000).default(1),
};

const slackEndpoint = z.strictObject({
  type: z.literal('slack'),
  url: secretUrl,
  ...peopleBase,
});

const logEndpoint = z.strictObject({
  type: z.literal('log'),
  level: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
  ...endpointBase,
});

/** One endpoint, of any kind. */
export const endpoint = z.discriminatedUnion('type', [webhookEndpoint, logEndpoint, slackEndpoint]);
