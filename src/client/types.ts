import { z } from 'zod';
import type { RunwatchEvent } from '../core/event/event.ts';
import type { RunSnapshot } from '../core/run/snapshot.ts';

/*
 * The daemon's answers as far as the command line shows them. The schemas check answers and are not
 * used to rewrite them, so that what an older command line does not know passes through it.
 */

const time = z.string();
const trouble = z.object({ code: z.string(), message: z.string() });

const run = z.object({ id: z.string(), status: z.string(), progress: z.number().nullable() });

export const watchSchema = z.object({
  run_id: z.string(),
  source: z.string(),
  state: z.string(),
  run: run.nullable(),
  metadata: z.record(z.string(), z.string()),
  subscriptions: z.array(
    z.object({
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

/** What a registration is answered with. */
const registeredSchema = watchSchema.extend({ webhook_secret: z.string().optional() });

export interface WatchView extends Omit<z.infer<typeof watchSchema>, 'run'> {
  run: RunSnapshot | null;
}

export const deliverySchema = z.object({
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
    .object({
      status: z.number().nullable(),
      error: trouble.nullable(),
      duration_ms: z.number(),
    })
    .nullable(),
});

export type DeliveryView = z.infer<typeof deliverySchema>;

const attempt = z.object({
  at: time,
  status: z.number().nullable(),
  error: trouble.nullable(),
  duration_ms: z.number(),
  response: z.string().nullable(),
});

export const deliveryDetailSchema = deliverySchema.extend({ attempts: z.array(attempt) });

export type DeliveryDetailView = z.infer<typeof deliveryDetailSchema>;

export const redeliveredSchema = z.object({
  id: z.string(),
  event_id: z.string(),
  state: z.string(),
});

export type RedeliveredView = z.infer<typeof redeliveredSchema>;

export const countSchema = z.object({ count: z.number() });

export const endpointSchema = z.object({
  name: z.string(),
  type: z.string(),
  url: z.string().nullish(),
  events: z.array(z.string()).nullish(),
  default: z.boolean(),
  counts: z.record(z.string(), z.number()),
  health: z.object({
    state: z.string(),
    reason: z.string().nullable(),
    failing_since: time.nullable(),
    next_probe_at: time.nullable(),
    throttled_until: time.nullable(),
  }),
});

export type EndpointView = z.infer<typeof endpointSchema>;

export const endpointTestSchema = z.object({ delivered: z.boolean(), attempt });

export type EndpointTestView = z.infer<typeof endpointTestSchema>;

export const rotatedSchema = z.object({
  secret: z.string(),
  previous_expires_at: time.nullable(),
});

export type RotatedView = z.infer<typeof rotatedSchema>;

export const sourceSchema = z.object({
  name: z.string(),
  state: z.string(),
  since: time.nullable(),
  message: z.string().nullable(),
  paused_until: time.nullable(),
  last_answer_at: time.nullable(),
  rate_limit: z.object({ requests: z.number(), per: z.string(), used: z.number() }),
});

export type SourceView = z.infer<typeof sourceSchema>;

const perRun = z.object({ requests: z.number(), delay_ms: z.number() });

export const workflowSchema = z.object({
  source: z.string(),
  workflow_id: z.string(),
  runs: z.number(),
  duration: z.object({ median_ms: z.number(), p90_ms: z.number() }).nullable(),
  measured: perRun.nullable(),
  expected: perRun.nullable(),
});

export type WorkflowView = z.infer<typeof workflowSchema>;

export const eventSchema = z.object({
  id: z.string(),
  type: z.string(),
  timestamp: time,
  data: z.object({
    run_id: z.string(),
    run: run.nullable(),
    sequence: z.number(),
    detected_at: time,
    watch: z.object({ source: z.string() }),
  }),
});

/** An event in the published shape; its type may be newer than this command line. */
export type EventView = Omit<RunwatchEvent, 'type'> & { type: string };

export const problemSchema = z
  .object({
    title: z.string().optional(),
    detail: z.string().optional(),
    code: z.string().optional(),
    errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  })
  .refine(({ title, detail, code }) => (title ?? detail ?? code) !== undefined);

export type Problem = z.infer<typeof problemSchema>;

/** What a registration is answered with where the token may write and not read. */
const receiptSchema = z.object({
  run_id: z.string(),
  source: z.string(),
  run: z.undefined(),
  webhook_secret: z.string().optional(),
});

export const batchSchema = z.object({
  results: z.array(
    z.object({
      run_id: z.string().nullish(),
      status: z.number(),
      watch: registeredSchema.or(receiptSchema).nullish(),
      error: z.union([problemSchema, z.string()]).nullish(),
    }),
  ),
});

export type BatchView = z.infer<typeof batchSchema>;

export const pageSchema = z.object({
  data: z.array(z.unknown()),
  next_cursor: z.string().nullish(),
});

/** A page of a listing, as the API gives it. */
export interface PageView<Item> {
  data: Item[];
  next_cursor: string | null;
}
