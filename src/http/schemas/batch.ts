import { z } from 'zod';
import {
  BATCH_ID_MARK,
  BATCH_STATES,
  CLOSE_REASONS,
  FAILED_MEMBERS,
  MEMBER_STATUSES,
  MOST_MEMBERS,
} from '../../core/batch.ts';
import { BATCH_EVENT_TYPES } from '../../core/event/event.ts';
import { count, cursor, limit, milliseconds, name, pageOf, several, time } from './common.ts';
import { bodyOf, webhook } from './webhook.ts';

const HINT =
  'expected a name of up to 63 letters, digits, ., _ and -, that does not begin with bat_';

/** The name of a batch, by which runs join it. */
export const batchName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, HINT)
  .refine((text) => !text.startsWith(BATCH_ID_MARK), HINT)
  .meta({
    description:
      'The name of a batch: runs that are waited for together. Where a token is limited to sources, it is one of its own.',
    examples: ['nightly'],
  });

/** A batch by its name, or one of those that had that name by its id. */
export const batchNamed = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'expected the name or the id of a batch')
  .meta({ description: 'The name of a batch, or its id.', examples: ['nightly'] });

const batchState = z.enum(BATCH_STATES).meta({
  id: 'BatchState',
  description:
    '`open`: runs may join. `closed`: none may, and it completes once all have ended. `completed`: all have ended.',
});

const byStatus = z.partialRecord(z.enum(MEMBER_STATUSES), count).meta({
  id: 'BatchCounts',
  description:
    'How many of its runs have which status; `gone`, `expired` and `cancelled` are those of their watches, `unseen` are runs before their first poll. What no run has is absent.',
});

const failed = z.array(z.string()).meta({
  description: 'The first 100 runs that failed, are gone, or whose watch has expired.',
});

const closeReason = z.enum(CLOSE_REASONS).meta({
  id: 'BatchCloseReason',
  description: 'A call, as many runs as `expected`, or an hour without an active run (`idle`).',
});

const counts = {
  total: count.meta({ description: 'How many runs it has.' }),
  expected: count.nullable().meta({ description: 'How many runs close it.' }),
  max_failed: count.nullable().meta({
    description: 'Where more have failed, `batch.failed` is sent. Null: it is never sent.',
  }),
  by_status: byStatus,
  failed,
};

export const batchSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    sources: z.array(z.string()).nullable().meta({
      description:
        'What the tokens are limited to that it belongs to; null for those that are not.',
    }),
    state: batchState,
    closed_by: closeReason.nullable().meta({ description: 'Null while it is open.' }),
    ...counts,
    endpoints: z.array(z.string()).nullable().meta({
      description:
        'The endpoints that hear of it. Null: its runs’ subscriptions hear of it, each receiver once.',
    }),
    webhook: z.string().nullable().meta({ description: 'The webhook that hears of it, masked.' }),
    created_at: time,
    failed_at: time.nullable().meta({ description: 'When more had failed than may fail.' }),
    completed_at: time.nullable(),
  })
  .meta({ id: 'Batch', description: 'Runs that are waited for together.' });

/** What a change is answered with. */
export const batchOrReceipt = z
  .union([
    batchSchema.extend({ webhook_secret: z.string().exactOptional() }).meta({ id: 'ChangedBatch' }),
    z
      .object({ id: z.string(), name: z.string(), webhook_secret: z.string().exactOptional() })
      .meta({ id: 'BatchReceipt', description: 'A batch as tokens see it that may not read.' }),
  ])
  .meta({ id: 'BatchOrReceipt' });

export const batchParams = z.strictObject({ name: batchNamed });

export const newBatchParams = z.strictObject({ name: batchName });

export const batchQuery = z.strictObject({
  state: several(batchState).exactOptional(),
  limit,
  cursor: cursor.exactOptional(),
});

export const batchPage = pageOf(batchSchema, 'BatchPage');

const MEMBERS_HINT = `expected a whole number from 1 to ${MOST_MEMBERS}`;
const FAILED_HINT = `expected a whole number from 0 to ${MOST_MEMBERS}`;

export const batchSettings = z
  .strictObject({
    expected: z
      .number(MEMBERS_HINT)
      .int(MEMBERS_HINT)
      .min(1, MEMBERS_HINT)
      .max(MOST_MEMBERS, MEMBERS_HINT)
      .meta({ description: 'How many runs close it. Absent: a call closes it.' })
      .exactOptional(),
    max_failed: z
      .number(FAILED_HINT)
      .int(FAILED_HINT)
      .min(0, FAILED_HINT)
      .max(MOST_MEMBERS, FAILED_HINT)
      .meta({ description: 'Where more fail, `batch.failed` is sent, once. Absent: never.' })
      .exactOptional(),
    endpoints: z
      .array(name)
      .min(1, 'expected at least one endpoint; leave it out for those of the runs')
      .max(50)
      .transform((names) => [...new Set(names)])
      .meta({
        description:
          'Names of the endpoints that hear of it, whatever their `events`. Without them and a webhook, its runs’ subscriptions hear of it.',
      })
      .exactOptional(),
    webhook: webhook
      .omit({ events: true })
      .meta({ id: 'BatchWebhookRequest', description: 'A webhook that hears of it.' })
      .exactOptional(),
  })
  .meta({ id: 'BatchSettings', examples: [{ expected: 40, max_failed: 3, endpoints: ['ops'] }] });

const failedRun = z
  .object({
    run_id: z.string(),
    source: z.string(),
    workflow_id: z.string().nullable(),
    workflow_name: z.string().nullable(),
    status: z.enum(FAILED_MEMBERS),
    run_url: z.string().nullable(),
    watch_url: z.string().nullable(),
  })
  .meta({
    id: 'BatchFailedRun',
    description: 'A run that failed, is gone, or whose watch has expired.',
  });

const batchData = z
  .looseObject({
    batch: z.string().meta({ description: 'The name of the batch.' }),
    batch_id: z.string(),
    sources: z.array(z.string()).exactOptional(),
    reason: closeReason
      .exactOptional()
      .meta({ description: 'Of batch.completed: what had closed it.' }),
    ...counts,
    failed_runs: z.array(failedRun).meta({
      description: 'The first 10 of those that failed, with their workflows and addresses.',
    }),
    batch_url: z.string().nullable().meta({
      description: 'The page of the batch in the dashboard, if `server.public_url` is set.',
    }),
    created_at: time,
    duration_ms: milliseconds.meta({ description: 'From its beginning to the event.' }),
  })
  .meta({ id: 'BatchEventData', description: 'How the runs of a batch went.' });

/* A body that only webhooks have: the document finds it by its name. */
const [firstBody, ...otherBodies] = BATCH_EVENT_TYPES.map((type) => bodyOf(type, batchData));
if (firstBody === undefined) throw new Error('there are no events of batches');

z.discriminatedUnion('type', [firstBody, ...otherBodies]).meta({
  id: 'BatchEvent',
  description: 'How a batch ended, or that more of it has failed than may fail.',
});
