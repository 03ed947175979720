import { z } from 'zod';
import type { RunwatchEvent } from '../core/event.ts';
import type { RunSnapshot } from '../core/run.ts';

/*
 * The daemon's answers as far as the command line shows them. Unknown fields pass, so that an older
 * command line works with a newer daemon.
 */

const time = z.string();
const trouble = z.looseObject({ code: z.string(), message: z.string() });

const run = z.looseObject({ id: z.string(), status: z.string(), progress: z.number() });

export const watchSchema = z.looseObject({
  run_id: z.string(),
  source: z.string(),
  state: z.string(),
  run: run.nullable(),
  metadata: z.record(z.string(), z.string()),
  subscriptions: z.array(
    z.looseObject({
      endpoint: z.string().optional(),
      url: z.string().optional(),
      events: z.array(z.string()).nullish(),
    }),
  ),
  sequence: z.number(),
  polls: z.number(),
  registered_at: time,
  last_polled_at: time.nullable(),
  next_poll_at: time.nullable(),
  timeout_at: time,
  error: trouble.extend({ since: time }).nullable(),
});

export type WatchView = Omit<z.infer<typeof watchSchema>, 'run'> & { run: RunSnapshot | null };

export const deliverySchema = z.looseObject({
  id: z.string(),
  event_id: z.string(),
  event_type: z.string(),
  run_id: z.string(),
  endpoint: z.string(),
  state: z.string(),
  attempt_count: z.number(),
  next_attempt_at: time.nullable(),
  created_at: time,
  delivered_at: time.nullable(),
  last: z
    .looseObject({
      status: z.number().nullable(),
      error: trouble.nullable(),
      duration_ms: z.number(),
    })
    .nullable(),
});

export type DeliveryView = z.infer<typeof deliverySchema>;

export const deliveryDetailSchema = deliverySchema.extend({
  attempts: z.array(
    z.looseObject({
      at: time,
      status: z.number().nullable(),
      error: trouble.nullable(),
      duration_ms: z.number(),
      response: z.string().nullable(),
    }),
  ),
});

export type DeliveryDetailView = z.infer<typeof deliveryDetailSchema>;

export const endpointSchema = z.looseObject({
  name: z.string(),
  type: z.string(),
  url: z.string().nullish(),
  events: z.array(z.string()).nullish(),
  default: z.boolean(),
  counts: z.record(z.string(), z.number()),
});

export type EndpointView = z.infer<typeof endpointSchema>;

export const eventSchema = z.looseObject({
  id: z.string(),
  type: z.string(),
  timestamp: time,
  data: z.looseObject({
    run_id: z.string(),
    run: run.nullable(),
    sequence: z.number(),
    detected_at: time,
    watch: z.looseObject({ source: z.string() }),
  }),
});

/** An event in the published shape; its type may be newer than this command line. */
export type EventView = Omit<RunwatchEvent, 'type'> & { type: string };

export const problemSchema = z.looseObject({
  title: z.string().optional(),
  detail: z.string().optional(),
  code: z.string().optional(),
  errors: z.array(z.looseObject({ path: z.string(), message: z.string() })).optional(),
});

export type Problem = z.infer<typeof problemSchema>;

export const batchSchema = z.looseObject({
  results: z.array(
    z.looseObject({
      run_id: z.string().nullish(),
      status: z.number(),
      watch: watchSchema.nullish(),
      error: z.union([problemSchema, z.string()]).nullish(),
    }),
  ),
});

export type BatchView = z.infer<typeof batchSchema>;

export const pageSchema = z.looseObject({
  data: z.array(z.unknown()),
  next_cursor: z.string().nullish(),
});

/** A page of a listing, as the API gives it. */
export interface PageView<Item> {
  data: Item[];
  next_cursor: string | null;
}
