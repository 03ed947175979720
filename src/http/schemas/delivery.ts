import { z } from 'zod';
import { DELIVERY_STATES } from '../../core/delivery.ts';
import { EVENT_TYPES, OPERATOR_EVENT_TYPES, TEST_EVENT_TYPE } from '../../core/event.ts';
import { boundedText, count, cursor, limit, pageOf, runId, time } from './common.ts';

const attemptResult = {
  status: count.nullable().meta({ description: 'The HTTP status; null without one.' }),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  duration_ms: z.number(),
};

export const deliverySchema = z
  .object({
    id: z.string(),
    event_id: z.string(),
    event_type: z.enum([...EVENT_TYPES, ...OPERATOR_EVENT_TYPES, TEST_EVENT_TYPE]),
    run_id: z.string().meta({ description: 'Empty for what tells of an endpoint.' }),
    endpoint: z.string().meta({ description: 'The name, or the URL of a per-watch webhook.' }),
    state: z.enum(DELIVERY_STATES),
    attempt_count: count,
    next_attempt_at: time.nullable(),
    created_at: time,
    delivered_at: time.nullable(),
    last: z.object(attemptResult).nullable(),
  })
  .meta({ id: 'Delivery', description: 'One event to one subscription.' });

export const deliveryWithAttempts = deliverySchema
  .extend({
    attempts: z.array(z.object({ at: time, ...attemptResult, response: z.string().nullable() })),
  })
  .meta({ id: 'DeliveryWithAttempts' });

export const deliveryParams = z.strictObject({
  id: z.string().regex(/^[A-Za-z0-9_-]{1,128}$/, 'expected the id of a delivery'),
});

export const deliveryQuery = z.strictObject({
  state: z.enum(DELIVERY_STATES).exactOptional(),
  endpoint: boundedText(2_048).exactOptional(),
  run_id: runId.exactOptional(),
  event_id: boundedText(128).exactOptional(),
  limit,
  cursor: cursor.exactOptional(),
});
export const deliveryPage = pageOf(deliverySchema);
