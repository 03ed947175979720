import { z } from 'zod';
import { createPagerDutyChannel } from '../../../src/deliver/channels/pagerduty.ts';
import {
  problemsOf,
  SENDING,
  startReceiver,
  type EndpointModel,
  type ServiceRules,
} from './service.ts';

export const ROUTING_KEY = 'R0123456789abcdef0123456789abcde';

const MOST_BYTES = 512 * 1_024;

const required = z.string().refine((text) => text.trim() !== '', 'is missing or blank');

const payload = z.strictObject({
  summary: required.max(1_024),
  source: required,
  severity: z.enum(['critical', 'error', 'warning', 'info']),
  timestamp: z.iso.datetime({ offset: true }).optional(),
  component: z.string().optional(),
  group: z.string().optional(),
  class: z.string().optional(),
  custom_details: z.record(z.string(), z.unknown()).optional(),
});

const common = {
  routing_key: z.string().length(32, "Length of 'routing_key' is incorrect"),
  links: z
    .array(z.strictObject({ href: z.url({ protocol: /^https?$/ }), text: z.string().optional() }))
    .optional(),
  client: z.string().optional(),
  client_url: z.url({ protocol: /^https?$/ }).optional(),
};

const dedupKey = required.max(255);

const event = z.discriminatedUnion('event_action', [
  z.strictObject({
    ...common,
    event_action: z.literal('trigger'),
    dedup_key: dedupKey.optional(),
    payload,
  }),
  z.strictObject({
    ...common,
    event_action: z.enum(['acknowledge', 'resolve']),
    dedup_key: dedupKey,
    payload: payload.optional(),
  }),
]);

/**
 * The Events API v2 of PagerDuty.
 * Source: https://developer.pagerduty.com/docs/send-alert-event and
 * https://developer.pagerduty.com/docs/events-api-v2-overview
 */
export const PAGERDUTY: ServiceRules = {
  refuse({ path, body }) {
    if (path !== '/v2/enqueue') return { why: path, status: 404, body: 'not found' };
    const isTooLarge = Buffer.byteLength(JSON.stringify(body)) > MOST_BYTES;
    const problems = isTooLarge ? 'the event exceeds 512 KB' : problemsOf(event, body);
    const why = problems ?? (body['routing_key'] === ROUTING_KEY ? null : 'Invalid routing key');
    if (why === null) return null;
    const said = { status: 'invalid event', message: 'Event object is invalid', errors: [why] };
    return { why, status: 400, body: said };
  },
  take({ body }) {
    const said = { status: 'success', message: 'Event processed', dedup_key: body['dedup_key'] };
    return { status: 202, body: said };
  },
};

const CANARY_KEY = 'canaryKeyOf32LettersAndDigits012';

export const MODEL: EndpointModel = {
  configured: {
    PagerDuty: {
      settings: ({ http }) => ({ routing_key: CANARY_KEY, api_url: `${http}/canary-api` }),
      arrives: {
        routing_key: [CANARY_KEY, 'body.routing_key'],
        api_url: ['/canary-api/v2/enqueue', 'path'],
      },
    },
  },
  receivers: {
    PagerDuty: () =>
      startReceiver(
        PAGERDUTY,
        { status: 400, body: { status: 'invalid event' } },
        ({ url, http }) =>
          createPagerDutyChannel({ routingKey: ROUTING_KEY, apiUrl: url, ...SENDING }, http),
      ),
  },
};
