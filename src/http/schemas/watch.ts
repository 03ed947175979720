import { z } from 'zod';
import { isPlain, PLAIN_HINT } from '../../core/control-characters.ts';
import { WATCH_STATES } from '../../core/watch/watch.ts';
import { batchNamed, batchName } from './batch.ts';
import {
  acknowledgement,
  boundedText,
  count,
  cursor,
  duration,
  issues,
  limit,
  name,
  countedPageOf,
  metadataText,
  profile,
  runId,
  several,
  severalIds,
  source,
  time,
  whenRange,
  workflowId,
} from './common.ts';
import { runSnapshot, troubleSchema } from './event.ts';
import { webhook } from './webhook.ts';

const MAX_METADATA_ENTRIES = 32;
const MAX_METADATA_BYTES = 4_096;

/** Most watches that one batch may register. */
const MAX_BATCH = 1_000;

const metadataName = z.string().refine(isPlain, PLAIN_HINT);

const metadata = z
  .record(metadataName, metadataText(MAX_METADATA_BYTES))
  .superRefine((entries, context) => {
    const pairs = Object.entries(entries);
    if (pairs.length > MAX_METADATA_ENTRIES) {
      context.addIssue({
        code: 'custom',
        message: `expected at most ${MAX_METADATA_ENTRIES} strings`,
      });
    }
    if (Buffer.byteLength(pairs.flat().join('')) > MAX_METADATA_BYTES) {
      context.addIssue({ code: 'custom', message: 'expected at most 4 KiB of names and values' });
    }
  });

const endpointNames = z
  .array(name)
  .max(50)
  .transform((names) => [...new Set(names)]);

export const watchRequest = z
  .strictObject({
    run_id: runId,
    source: source.exactOptional(),
    endpoints: endpointNames
      .meta({
        description:
          'Names of configured endpoints that are notified. An empty list means none; without list and webhook the default ones are notified.',
      })
      .exactOptional(),
    webhook: webhook
      .meta({ description: 'A webhook that is notified, besides the endpoints.' })
      .exactOptional(),
    metadata: metadata
      .meta({
        description:
          'Up to 32 strings, 4 KiB in all; they come with each event. Values may have line feeds, and no other control characters.',
        maxProperties: MAX_METADATA_ENTRIES,
      })
      .exactOptional(),
    batch: batchName
      .meta({ description: 'The batch that the run joins; it begins with its first run.' })
      .exactOptional(),
    timeout: duration('1s', '365d', '2h')
      .meta({ description: 'How long to watch, from 1s to 365d.' })
      .exactOptional(),
    profile: profile.exactOptional(),
    max_delay: duration('1s', '1d', '10s')
      .meta({ description: 'Longest time between two polls, from 1s to 1d.' })
      .exactOptional(),
  })
  .meta({
    id: 'WatchRequest',
    examples: [
      {
        run_id: '5b0f2f5e-8c1f-4a53-9a39-0f6f0a3f7f11',
        endpoints: ['ops'],
        metadata: { order: '4711' },
        timeout: '2h',
      },
    ],
  });

/** Items are checked one by one, so that a bad one spoils no other. */
export const batchRequest = z
  .strictObject({
    watches: z
      .array(z.unknown().meta({ $ref: '#/components/schemas/WatchRequestInput' }))
      .min(1, 'expected at least one watch')
      .max(MAX_BATCH, `expected at most ${MAX_BATCH} watches`),
    batch: batchName
      .meta({ description: 'The batch that those join which name none themselves.' })
      .exactOptional(),
    open: z
      .boolean('expected true or false')
      .meta({
        description:
          'Leaves the batches open that the list names: more runs will join. Else it closes them, once all are registered.',
      })
      .exactOptional(),
  })
  .meta({ id: 'WatchBatchRequest' });

const endpointSubscription = z
  .object({ endpoint: z.string() })
  .meta({ id: 'EndpointSubscription', description: 'A configured endpoint that is notified.' });

const webhookSubscription = z
  .object({
    url: z.string().meta({ description: 'Masked: the path may be a secret.' }),
    events: z.array(z.string()),
  })
  .meta({ id: 'WebhookSubscription', description: 'A webhook that came with the watch.' });

const watchState = z.enum(WATCH_STATES).meta({ id: 'WatchState' });

const subscription = z
  .union([endpointSubscription, webhookSubscription])
  .meta({ id: 'Subscription' });

export const watchSchema = z
  .object({
    run_id: z.string(),
    source: z.string(),
    registered_by: z
      .array(z.string())
      .meta({ description: 'Names of the tokens that registered it.' }),
    state: watchState,
    run: runSnapshot.nullable(),
    workflow_name: z
      .string()
      .nullable()
      .meta({ description: 'The name of the workflow, if known.' }),
    run_url: z
      .string()
      .nullable()
      .meta({ description: 'The run in the app of its source, if `run_url` is set.' }),
    changed_at: time.meta({
      description:
        'When the status of the run, or the state of the watch, last changed: `finished_at` where the source gives it, else when that was seen.',
    }),
    acknowledged: acknowledgement.nullable(),
    metadata: z.record(z.string(), z.string()),
    subscriptions: z.array(subscription),
    batches: z
      .array(z.string())
      .meta({
        description:
          'Names of the batches that the run is in, only where one watch is shown alone. A name may stand for a later batch by now.',
      })
      .exactOptional(),
    sequence: count.meta({ description: 'Number of events so far.' }),
    polls: count.meta({ description: 'Number of reads of the run.' }),
    registered_at: time,
    last_polled_at: time.nullable(),
    next_poll_at: time.nullable(),
    timeout_at: time,
    error: troubleSchema
      .nullable()
      .meta({ description: 'Why the state of the run is unknown, and since when.' }),
  })
  .meta({ id: 'Watch', description: 'The interest in one run of one source.' });

/** What a registration is answered with. */
const registeredWatch = watchSchema
  .extend({
    webhook_secret: z
      .string()
      .meta({
        description:
          'What signs for the webhook, which came without a secret. Only the answer to a registration has it.',
      })
      .exactOptional(),
  })
  .meta({ id: 'RegisteredWatch' });

/** A registration as it is answered to a token that may not read. */
const watchReceipt = registeredWatch
  .pick({ run_id: true, source: true, webhook_secret: true })
  .meta({
    id: 'WatchReceipt',
    description: 'Which run is watched: what others gave is shown only to tokens that may read.',
  });

/** A watch as it is answered to a token that may not read. */
export const watchOrReceipt = z.union([watchSchema, watchReceipt]).meta({ id: 'WatchOrReceipt' });

export const registration = z.union([registeredWatch, watchReceipt]).meta({ id: 'Registration' });

const batchError = z
  .object({
    code: z
      .enum([
        'invalid_request',
        'too_many_watches',
        'several_sources',
        'batch_closed',
        'batch_full',
        'too_many_batches',
      ])
      .meta({ id: 'BatchErrorCode' }),
    detail: z.string(),
    errors: issues,
  })
  .meta({ id: 'BatchError' });

export const batchResults = z
  .object({
    results: z.array(
      z
        .object({
          run_id: z
            .string()
            .nullable()
            .meta({ description: 'As it was given; null where it was not.' }),
          status: z
            .union([z.literal(200), z.literal(201), z.literal(409), z.literal(422)])
            .meta({ type: 'integer', enum: [200, 201, 409, 422], anyOf: undefined }),
          watch: registration.exactOptional(),
          error: batchError.exactOptional(),
        })
        .meta({ id: 'BatchResult' }),
    ),
  })
  .meta({ id: 'BatchResults' });

export const pollAnswer = z.object({
  paused_until: time.nullable().meta({
    description: 'Before this the source is asked for nothing; null where it takes requests.',
  }),
  message: z.string().nullable().meta({ description: 'Why the source is paused.' }),
});

export const stopAnswer = z
  .object({
    status: z.string().nullable().meta({
      description: "The status of the run in the source's answer; null where it shows none.",
    }),
    polled: z.boolean().meta({
      description: 'Whether the run is polled now; it is not where its watch has ended.',
    }),
  })
  .meta({ id: 'StopAnswer' });

export const watchParams = z.strictObject({ run_id: runId });

const knownSource = source.meta({
  description: 'The name of a source; absent means the one source that has the run.',
});

export const watchKeyQuery = z.strictObject({ source: knownSource.exactOptional() });

export const unwatchQuery = watchKeyQuery
  .extend({
    purge: z
      .enum(['true', 'false'], { error: 'expected true or false' })
      .meta({
        description:
          'Also erases the watch, its events and deliveries. Needs the scope `admin` instead of `write`.',
      })
      .exactOptional(),
    endpoint: boundedText(2_048)
      .meta({
        description:
          'Ends only this subscription: the name of an endpoint, or the URL of a webhook, masked or not.',
      })
      .exactOptional(),
  })
  .refine(({ purge, endpoint }) => purge !== 'true' || endpoint === undefined, {
    path: ['purge'],
    error: 'expected either purge or endpoint',
  });

export const watchQuery = z.strictObject({
  state: several(watchState).exactOptional(),
  status: several(boundedText(64)).meta({ description: 'Statuses of the run.' }).exactOptional(),
  source: source.exactOptional(),
  workflow_id: severalIds(workflowId, 'Workflows of the run').exactOptional(),
  batch: batchNamed
    .meta({ description: 'The name or the id of a batch that the run is in.' })
    .exactOptional(),
  metadata: z
    .record(boundedText(MAX_METADATA_BYTES), metadataText(MAX_METADATA_BYTES))
    .meta({
      description: 'An entry of metadata: `metadata.team=ml`. A watch has all that are given.',
      patternProperties: { '^metadata\\.': { type: 'string' } },
    })
    .exactOptional(),
  ...whenRange('Changed last'),
  order: z
    .enum(['registered', 'changed'])
    .meta({ id: 'WatchOrder' })
    .meta({
      description: 'By the time of registration, the default, or of the last change of the status.',
    })
    .exactOptional(),
  limit,
  cursor: cursor.exactOptional(),
});
export const watchPage = countedPageOf(watchSchema, 'WatchPage');
