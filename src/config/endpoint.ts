import { z } from 'zod';
import { BODY_KIND_NAMES } from '../core/delivery/delivery.ts';
import { parseDuration } from '../core/duration.ts';
import { auth, eventPatterns, headers, tls, webhookSecret, when } from './endpoint-fields.ts';
import { duration, flag, perSecond, wholeNumber } from './fields.ts';
import { webhookUrl } from './urls.ts';

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

export const webhookEndpoint = z.strictObject({
  type: z.literal('webhook'),
  url: webhookUrl,
  secret: webhookSecret.optional(),
  headers,
  auth: auth.optional(),
  tls: tls.optional(),
  body: z.enum(BODY_KIND_NAMES).default('standard'),
  timeout: duration('15s', { min: '1s', max: '30s' }),
  retry: retrySchedule,
  /** Attempts per second; absent, there is no limit. */
  rate: perSecond(10_000).optional(),
  /** Attempts at a time; absent, `delivery.per_endpoint`. */
  concurrency: wholeNumber(1, 100).optional(),
  ...endpointBase,
});

/** True where the URL itself is what lets a sender in, as with incoming webhooks of Slack. */
export function hasSecretUrl({ body }: Pick<z.output<typeof webhookEndpoint>, 'body'>): boolean {
  return body === 'slack';
}

export const logEndpoint = z.strictObject({
  type: z.literal('log'),
  level: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
  ...endpointBase,
});
