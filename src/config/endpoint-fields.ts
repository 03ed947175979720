import {
  isReservedHeader,
  EVENT_TYPES,
  SYSTEM_EVENT_TYPES,
  ALL_SYSTEM_EVENTS,
  isEndpointPattern,
} from '../core/event/event.ts';
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { z } from 'zod';
import { presentations } from './fields.ts';

const ALL_TYPES = [...EVENT_TYPES, ...SYSTEM_EVENT_TYPES];

const EVENT_PATTERNS: readonly string[] = [
  ...ALL_TYPES,
  ...new Set(ALL_TYPES.map((type) => `${type.slice(0, type.indexOf('.'))}.*`)),
  ALL_SYSTEM_EVENTS,
  '*',
];

export const eventPatterns = z
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
export const headers = z.record(headerName, headerValue).default({});

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
export const auth = z
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
 * Which watches' events an endpoint gets; the keys are those of `WatchMatch` in `core/filter.ts`.
 */
export const when = z.strictObject({
  workflow_id: oneOf.optional(),
  source: oneOf.optional(),
  metadata: z.record(z.string().min(1), oneOf).optional(),
});
