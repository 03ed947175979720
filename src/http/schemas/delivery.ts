import { z } from 'zod';
import { DELIVERY_STATES } from '../../core/delivery/delivery.ts';
import { isEmptyRange } from '../../core/time.ts';
import { askedReceiver } from '../../core/delivery/receiver.ts';
import {
  ALERT_EVENT_TYPES,
  BATCH_EVENT_TYPES,
  EVENT_TYPES,
  SYSTEM_EVENT_TYPES,
  TEST_EVENT_TYPE,
} from '../../core/event/event.ts';
import {
  boundedText,
  count,
  countedPageOf,
  cursor,
  EMPTY_RANGE,
  limit,
  milliseconds,
  runId,
  several,
  source,
  time,
  whenRange,
} from './common.ts';

export const deliveryState = z.enum(DELIVERY_STATES).meta({ id: 'DeliveryState' });

const attemptError = z.object({ code: z.string(), message: z.string() }).meta({
  id: 'AttemptError',
  description: 'Why an attempt failed, or did not reach all recipients.',
});

const attemptResult = {
  status: count.nullable().meta({ description: 'The HTTP status; null without one.' }),
  error: attemptError.nullable(),
  duration_ms: milliseconds,
};

/** A delivery as it stands beside its run. */
export const deliverySchema = z.object({
  id: z.string(),
  event_id: z.string(),
  event_type: z
    .enum([
      ...EVENT_TYPES,
      ...BATCH_EVENT_TYPES,
      ...SYSTEM_EVENT_TYPES,
      ...ALERT_EVENT_TYPES,
      TEST_EVENT_TYPE,
    ])
    .meta({ id: 'SentEventType' }),
  run_id: z.string().meta({ description: 'Empty for events that are about no run.' }),
  alert_id: z.string().nullable().meta({ description: 'The alert that the event is about.' }),
  batch_id: z.string().nullable().meta({ description: 'The batch that the event is about.' }),
  endpoint: z
    .string()
    .meta({ description: 'The name, or the masked URL of a webhook of a watch.' }),
  state: deliveryState,
  attempt_count: count,
  next_attempt_at: time.nullable(),
  created_at: time,
  delivered_at: time.nullable(),
  last: z.object(attemptResult).meta({ id: 'AttemptResult' }).nullable(),
});

const requestPhases = z
  .object({
    connect_ms: milliseconds.nullable().meta({
      description:
        'Until it could be sent: a free connection, DNS, connection and TLS. Null on a connection that was kept alive.',
    }),
    wait_ms: milliseconds.nullable().meta({
      description:
        'From there, or from the start, until the answer began or the request failed. Null if it was not sent.',
    }),
    receive_ms: milliseconds.nullable().meta({
      description: 'From there until the answer was read. Null if none came.',
    }),
  })
  .meta({ id: 'RequestPhases', description: 'How long each part of an HTTP request took.' });

export const attemptSchema = z
  .object({
    at: time,
    ...attemptResult,
    phases: requestPhases.nullable().meta({ description: 'Null without an HTTP request.' }),
    response: z.string().nullable().meta({ description: 'The first 1 KiB of what was answered.' }),
  })
  .meta({ id: 'Attempt', description: 'One try at delivering.' });

const deliveryAttempt = attemptSchema
  .extend({
    request_headers: z.record(z.string(), z.string()).nullable().meta({
      description:
        'What was sent, with secrets as `…`. Not stored: made of the event, the time and the present configuration, without `traceparent` and what belongs to the connection. Null if no request was sent.',
    }),
  })
  .meta({ id: 'DeliveryAttempt', description: 'One try at delivering, and what was sent.' });

export const namedDelivery = deliverySchema
  .extend({
    workflow_name: z
      .string()
      .nullable()
      .meta({ description: 'What the workflow of the run is called, where it is known.' }),
    alert_rule: z
      .string()
      .nullable()
      .meta({ description: 'The rule of the alert; null where the alert is kept no more.' }),
    batch: z
      .string()
      .nullable()
      .meta({ description: 'The name of the batch; null where the batch is kept no more.' }),
  })
  .meta({ id: 'Delivery', description: 'One event to one subscription.' });

export const deliveryWithAttempts = namedDelivery
  .extend({ attempts: z.array(deliveryAttempt) })
  .meta({ id: 'DeliveryWithAttempts' });

export const deliveryParams = z.strictObject({
  id: z.string().regex(/^[\w~-]{1,1024}$/, 'expected the id of a delivery'),
});

const receiver = boundedText(2_048)
  .meta({
    description:
      'The name of an endpoint, or the URL of a webhook of a watch, masked as it is shown or whole.',
    examples: ['ops', 'https://hooks.example.com/…#3f9a1c'],
  })
  .transform(askedReceiver);

export const deliveryQuery = z.strictObject({
  state: several(deliveryState).exactOptional(),
  endpoint: receiver.exactOptional(),
  run_id: runId.exactOptional(),
  source: source.exactOptional(),
  event_id: boundedText(1_024).exactOptional(),
  ...whenRange('Created'),
  limit,
  cursor: cursor.exactOptional(),
});
export const deliveryPage = countedPageOf(namedDelivery, 'DeliveryPage');

export const redelivered = deliverySchema
  .pick({ id: true, event_id: true, state: true })
  .meta({ id: 'Redelivered' });

export const redeliverOne = z
  .strictObject({
    endpoint: boundedText(256)
      .meta({ description: 'Another endpoint, which gets the event instead.' })
      .exactOptional(),
  })
  .meta({ id: 'RedeliverOne', examples: [{ endpoint: 'ops' }] });

export const redeliverRange = z
  .strictObject({
    endpoint: receiver.exactOptional(),
    state: z
      .union([deliveryState, z.array(deliveryState).min(1)], {
        error: `expected one or several of ${DELIVERY_STATES.join(', ')}`,
      })
      .meta({ description: 'One or several; without it, those that are dead or were skipped.' })
      .transform((states) => [states].flat())
      .exactOptional(),
    ...whenRange('Created'),
    to: boundedText(256)
      .meta({
        description:
          'Another endpoint, which gets the events instead; those that wait are meant by default, too.',
      })
      .exactOptional(),
  })
  .refine((range) => !isEmptyRange(range), EMPTY_RANGE)
  .meta({
    id: 'RedeliverRange',
    description: 'Which deliveries go out again; an empty object means all dead and skipped ones.',
    examples: [{ endpoint: 'ops', since: '2025-05-04T10:00:00Z' }],
  });

export const redeliverCount = z.object({ count }).meta({ id: 'RedeliverCount' });
