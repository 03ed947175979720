import { z } from 'zod';
import { isPlain } from '../../core/control-characters.ts';
import { webhookSecret } from '../../config/endpoint-schema.ts';
import {
  BATCH_EVENT_TYPES,
  EVENT_TYPES,
  familiesOf,
  isReservedHeader,
  SYSTEM_EVENT_TYPES,
  TEST_EVENT_TYPE,
  type SentEventType,
  type SystemEventType,
} from '../../core/event/event.ts';
import { isEventPattern } from '../../core/event/patterns.ts';
import { count, milliseconds, time } from './common.ts';

const MAX_URL_LENGTH = 2_048;
const MAX_HEADERS = 20;
const MAX_HEADER_LENGTH = 1_024;

/** A field name and a field value. Source: RFC 9110, sections 5.1 and 5.5; values are ASCII here. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;
const HEADER_VALUE = /^[\t\x20-\x7e]*$/;

const webhookUrl = z
  .string()
  .max(MAX_URL_LENGTH, `expected at most ${MAX_URL_LENGTH} characters`)
  .refine(isWebhookUrl, 'expected an http:// or https:// URL without user name and password')
  .meta({
    format: 'uri',
    pattern: '^[hH][tT][tT][pP][sS]?://[^\\s]+$',
    examples: ['https://example.com/hooks'],
  });

const NAMED_TYPES = [...EVENT_TYPES, ...BATCH_EVENT_TYPES];
const FAMILIES = new Set(familiesOf(NAMED_TYPES));

const eventPattern = z
  .string()
  .refine(isEventPattern, 'expected an event type, a family such as run.*, or "*"')
  .meta({
    id: 'EventPattern',
    description: 'An event type, a family of types, or `*`.',
    enum: [...NAMED_TYPES, ...FAMILIES, '*'],
  });

const eventPatterns = z
  .array(eventPattern)
  .min(1, 'expected at least one event type; leave it out for the default events')
  .max(50)
  .meta({ examples: [['run.completed', 'run.failed']] });

const headers = z
  .record(z.string(), z.string())
  .superRefine((given, context) => {
    for (const [header, value] of Object.entries(given)) {
      const message = complaintAbout(header, value);
      if (message !== null) context.addIssue({ code: 'custom', path: [header], message });
    }
    const names = Object.keys(given).map((header) => header.toLowerCase());
    if (names.length > MAX_HEADERS) {
      context.addIssue({ code: 'custom', message: `expected at most ${MAX_HEADERS} headers` });
    }
    if (new Set(names).size < names.length) {
      context.addIssue({ code: 'custom', message: 'expected each header once, whatever its case' });
    }
  })
  .meta({
    description:
      'Sent with each event. Never shown again. None may belong to the connection or the delivery, such as Host, Content-Type or Webhook-Id.',
    maxProperties: MAX_HEADERS,
    propertyNames: { type: 'string', pattern: HEADER_NAME.source },
    additionalProperties: {
      type: 'string',
      maxLength: MAX_HEADER_LENGTH,
      pattern: HEADER_VALUE.source,
    },
  });

/** A webhook that comes with a watch. */
export const webhook = z
  .strictObject({
    url: webhookUrl,
    secret: webhookSecret
      .meta({
        pattern: '^whsec_[A-Za-z0-9+/]{32,86}={0,2}$',
        description: 'Signs the events, by the Standard Webhooks specification. Never shown again.',
        writeOnly: true,
      })
      .exactOptional(),
    events: eventPatterns.exactOptional(),
    headers: headers.exactOptional(),
  })
  .meta({ id: 'WebhookRequest' });

function isWebhookUrl(text: string): boolean {
  if (!/^https?:\/\/[^\s\\]+$/i.test(text) || !isPlain(text) || !URL.canParse(text)) return false;
  const { username, password } = new URL(text);
  return username === '' && password === '';
}

function complaintAbout(header: string, value: string): string | null {
  if (!HEADER_NAME.test(header)) return 'expected the name of an HTTP header';
  if (isReservedHeader(header)) {
    return 'this header cannot be set: it belongs to the delivery';
  }
  return HEADER_VALUE.test(value) && value.length <= MAX_HEADER_LENGTH
    ? null
    : `expected up to ${MAX_HEADER_LENGTH} printable ASCII characters`;
}

/** The name of an event's schema in the document: `run.completed` → `RunCompletedEvent`. */
export function schemaNameOf(type: SentEventType): string {
  const words = type.split(/[._]/).map((word) => word.charAt(0).toUpperCase() + word.slice(1));
  return `${words.join('')}Event`;
}

/** The standard body of a webhook. */
export function bodyOf<Type extends SentEventType, Data extends z.ZodType>(type: Type, data: Data) {
  return z
    .object({
      id: z.string().meta({ description: 'Belongs to the change: a repeat has the same.' }),
      type: z.literal(type),
      timestamp: time,
      data,
    })
    .meta({ id: schemaNameOf(type), description: `The body of a webhook of type \`${type}\`.` });
}

const endpointData = z
  .looseObject({
    endpoint: z.string().meta({ description: 'The name, or a webhook of watches, masked.' }),
    delivery_id: z
      .string()
      .exactOptional()
      .meta({ description: 'The delivery that gave rise to it.' }),
    error: z
      .object({ code: z.string(), message: z.string() })
      .nullable()
      .exactOptional()
      .meta({ description: 'The error of the last attempt.' }),
    failing_since: time
      .nullable()
      .exactOptional()
      .meta({ description: 'Since when attempts have failed.' }),
  })
  .meta({ id: 'EndpointEventData', description: 'What happened to an endpoint.' });

const systemData = z
  .looseObject({
    source: z.string().exactOptional().meta({ description: 'The source that it is about.' }),
    message: z.string().exactOptional().meta({ description: 'What happened.' }),
    since: time.nullable().exactOptional().meta({
      description: 'Since when; of a recovery: since when the trouble lasted. Null if unknown.',
    }),
    lasted_ms: milliseconds
      .nullable()
      .exactOptional()
      .meta({ description: 'How long the trouble lasted. Null if unknown.' }),
    help: z.string().exactOptional().meta({ description: 'What would help.' }),
  })
  .meta({
    id: 'SystemEventData',
    description:
      'What happened to runwatch, since when, how many it concerns, and what would help.',
  });

const backlogData = z
  .looseObject({
    source: z.string(),
    workflow_id: z.string(),
    workflow_name: z
      .string()
      .nullable()
      .meta({ description: 'The name of the workflow, if known.' }),
    state: z.string().meta({ description: 'The status in which most of the stalled runs stand.' }),
    count: count.meta({ description: 'How many of its runs are stalled at that moment.' }),
    in_state: count.meta({
      description: 'How many of its watched runs have that status, stalled or not.',
    }),
    since: time.meta({ description: 'Since when the oldest of the stalled runs stands there.' }),
    message: z.string(),
    help: z.string().meta({ description: 'What would help.' }),
  })
  .meta({ id: 'WorkflowEventData', description: 'The stalled runs of a workflow.' });

const waitingData = z
  .looseObject({
    source: z.string(),
    workflow_id: z
      .string()
      .nullable()
      .meta({ description: 'The workflow whose list it is about; null for the list of all.' }),
    count: count.meta({ description: 'How many runs waited, each as a read of it confirmed.' }),
    runs: z
      .array(
        z.object({
          run_id: z.string(),
          workflow_id: z.string().nullable(),
          workflow_name: z.string().nullable(),
          run_url: z.string().nullable(),
          watch_url: z.string().nullable(),
        }),
      )
      .meta({ description: 'The first 100 of them.' }),
    message: z.string(),
    help: z.string().meta({ description: 'What would help.' }),
  })
  .meta({
    id: 'DiscoveryWaitingEventData',
    description: 'Runs that have waited for a human since before discovery began.',
  });

const testData = z
  .object({ endpoint: z.string() })
  .meta({ id: 'TestEventData', description: 'The endpoint that is tested.' });

/*
 * Bodies that only webhooks have. No route answers them: the document finds them by their names.
 */

function dataOf(type: SystemEventType): z.ZodType {
  if (/^(endpoint|delivery)\./.test(type)) return endpointData;
  if (type === 'discovery.waiting') return waitingData;
  return type.startsWith('workflow.') ? backlogData : systemData;
}

const [firstBody, ...otherBodies] = [
  ...SYSTEM_EVENT_TYPES.map((type) => bodyOf(type, dataOf(type))),
  bodyOf(TEST_EVENT_TYPE, testData),
];
if (firstBody === undefined) throw new Error('there are no system events');

z.discriminatedUnion('type', [firstBody, ...otherBodies]).meta({
  id: 'SystemEvent',
  description: 'Something about runwatch itself, sent to endpoints that name its type; or a test.',
});

z.object({
  specversion: z.literal('1.0'),
  id: z.string(),
  source: z.string().meta({ examples: ['/runwatch/default'] }),
  type: z.string().meta({ examples: ['runwatch.run.completed'] }),
  subject: z.string().exactOptional().meta({ description: 'The id of the run.' }),
  time,
  datacontenttype: z.literal('application/json'),
  data: z.record(z.string(), z.unknown()).meta({ description: 'As in the standard body.' }),
}).meta({ id: 'CloudEvent', description: 'The body where `body: cloudevents` is configured.' });
