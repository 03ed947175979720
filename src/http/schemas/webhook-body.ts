import { z } from 'zod';
import { SYSTEM_EVENT_TYPES, TEST_EVENT_TYPE, type SentEventType } from '../../core/event/event.ts';
import { time } from './common.ts';

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

const systemData = z.record(z.string(), z.unknown()).meta({
  id: 'SystemEventData',
  description: 'What happened to runwatch, since when, how many it concerns, and what would help.',
});

const testData = z
  .object({ endpoint: z.string() })
  .meta({ id: 'TestEventData', description: 'The endpoint that is tested.' });

/*
 * Bodies that only webhooks have. No route answers them: the document finds them by their names.
 */

const [firstBody, ...otherBodies] = [
  ...SYSTEM_EVENT_TYPES.map((type) =>
    bodyOf(type, /^(endpoint|delivery)\./.test(type) ? endpointData : systemData),
  ),
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

z.object({
  text: z.string().meta({ description: 'For notifications, which show no blocks.' }),
  blocks: z.array(z.record(z.string(), z.unknown())),
}).meta({ id: 'SlackMessage', description: 'The body where `body: slack` is configured.' });
