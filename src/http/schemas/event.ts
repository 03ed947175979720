import { z } from 'zod';
import {
  ALERT_EVENT_TYPES,
  BATCH_EVENT_TYPES,
  EVENT_TYPES,
  LOGGED_FAMILIES,
  LOGGED_TYPES,
  SYSTEM_EVENT_TYPES,
  type RunwatchEvent,
} from '../../core/event/event.ts';
import {
  RUN_FIELDS,
  RUN_FIELD_NAMES,
  type RunFieldKind,
  type RunFieldName,
} from '../../core/run/snapshot.ts';
import { loggedTypes } from '../../core/event/patterns.ts';
import {
  boundedText,
  count,
  integer,
  limit,
  milliseconds,
  pageOf,
  runId,
  time,
  several,
  severalIds,
  whenRange,
  workflowId,
} from './common.ts';
import { bodyOf } from './webhook.ts';

/** The values of a run's fields. */
const VALUES = {
  id: z.string(),
  status: z.string().meta({
    description:
      'queued, running, failed, completed, stopped, awaiting_human_feedback, or whatever else the source says.',
  }),
  text: z.string().nullable(),
  integer: integer.nullable(),
  time: time.nullable(),
  observed: time,
} satisfies Record<RunFieldKind, z.ZodType>;

type RunShape = {
  -readonly [Name in RunFieldName]: (typeof VALUES)[(typeof RUN_FIELDS)[Name]['kind']];
};

/** What is shown of a run: the snapshot, and nothing else. */
export const runSnapshot = z
  .object({
    ...(Object.fromEntries(
      RUN_FIELD_NAMES.map((name) => [name, VALUES[RUN_FIELDS[name].kind]]),
    ) as RunShape),
    source_status: z.string().optional().meta({
      description: "The source's own word for the status; of sources of `type: http` alone.",
    }),
    attempt: count.optional().meta({
      description:
        'Which attempt of the run this is, from 1; of sources of `type: http` alone that declare `run.attempt`.',
    }),
  })
  .meta({
    id: 'Run',
    description:
      'A run as it was last seen. What the source does not give, or not readably, is null.',
  });

export const troubleSchema = z
  .object({ code: z.string(), message: z.string(), since: time })
  .meta({ id: 'Trouble', description: 'What is wrong, and since when.' });

const NODE_NAMES =
  'Names of these nodes by their ids, as far as they are known: in a webhook when the change was detected, in an answer now.';

const WORKFLOW_NAME =
  'The name of the workflow, if it is known: in a webhook when the change was detected, in an answer now.';

export const runNodes = z
  .object({
    executed: count,
    remaining: count,
    running: z.array(z.string()),
    failed: z.array(z.string()),
    names: z.record(z.string(), z.string()).exactOptional().meta({ description: NODE_NAMES }),
  })
  .meta({ id: 'RunNodes', description: 'Where the run stands, by the nodes of its workflow.' });

const eventData = z
  .object({
    run_id: z.string().meta({ description: 'The run, by the id that the source gives.' }),
    run: runSnapshot.nullable(),
    previous: z
      .object({ status: z.string(), progress: integer.nullable() })
      .meta({ id: 'PreviousRun', description: 'Where the run stood before the change.' })
      .nullable(),
    nodes: runNodes.nullable(),
    sequence: count.meta({ description: 'Orders the events of one watch; grows by one.' }),
    detected_at: time.meta({ description: 'When runwatch detected the change.' }),
    detection_delay_ms: integer.nullable().meta({
      description:
        'From `finished_at` to `detected_at`, in ms; null where the source gives no `finished_at`, or where it lies before the registration.',
    }),
    workflow_name: z.string().nullable().meta({ description: WORKFLOW_NAME }),
    run_url: z
      .string()
      .nullable()
      .meta({ description: 'The run in the app of its source, if `run_url` is set.' }),
    watch_url: z
      .string()
      .nullable()
      .meta({ description: 'The run in the dashboard, if `server.public_url` is set.' }),
    watch: z
      .object({
        source: z.string(),
        metadata: z.record(z.string(), z.string()),
        registered_at: time,
      })
      .meta({ id: 'EventWatch', description: 'The watch that the event is of.' }),
    error: troubleSchema.exactOptional(),
    reminder: count
      .exactOptional()
      .meta({ description: 'Of run.awaiting_human_feedback: its number among the reminders.' }),
    waited_ms: milliseconds
      .exactOptional()
      .meta({ description: 'How long the run has waited for a human, or had when it went on.' }),
    lasted_ms: milliseconds
      .exactOptional()
      .meta({ description: 'Of run.stalled and run.recovered: how long the state has lasted.' }),
    usual_ms: milliseconds.nullable().exactOptional().meta({
      description: 'Of run.stalled: in how long 99 of 100 runs leave the state, if known.',
    }),
  } satisfies Record<keyof RunwatchEvent['data'], z.ZodType>)
  .meta({ id: 'EventData', description: 'What changed, and of which run.' });

/** For readers of events, to which a newer runwatch may send a type that they do not know. */
export const eventOfAnyType = z.object({
  id: z.string(),
  type: z.string(),
  timestamp: time,
  data: eventData,
});

const [firstEvent, ...otherEvents] = EVENT_TYPES.map((type) => bodyOf(type, eventData));
if (firstEvent === undefined) throw new Error('there are no event types');

const eventSchema = z.discriminatedUnion('type', [firstEvent, ...otherEvents]).meta({
  id: 'Event',
  description: 'A change that was observed. Webhooks carry these and others: see `webhooks`.',
});

/** Of a batch, of an alert, or about runwatch itself. */
const ownEvent = z
  .object({
    id: z.string(),
    type: z.enum([...BATCH_EVENT_TYPES, ...ALERT_EVENT_TYPES, ...SYSTEM_EVENT_TYPES]),
    timestamp: time,
    data: z.record(z.string(), z.unknown()),
  })
  .meta({
    id: 'OwnEvent',
    description: 'A `BatchEvent`, an `AlertEvent`, or a `SystemEvent`.',
  });

/** For readers, as {@link eventOfAnyType}. */
export const ownEventOfAnyType = ownEvent.extend({
  type: z.string().regex(/^(?!(run|watch)\.)/),
});

const after = boundedText(1_024).meta({
  description: 'A cursor or the id of an event: only what came later.',
});

const typePattern = z
  .enum([...LOGGED_TYPES, ...LOGGED_FAMILIES])
  .meta({ id: 'EventTypePattern', description: 'A type of event, or a family such as `run.*`.' });

const filters = {
  run_id: runId.exactOptional(),
  type: several(typePattern)
    .transform(loggedTypes)
    .meta({
      description:
        'Types or families, several by comma. Without it, what `*` names in the configuration: `run.*`, `watch.*`, `workflow.*`, `batch.*`, `source.unreachable`, `source.recovered`, `source.inconsistent`, `source.consistent` and `discovery.waiting`; other events of runwatch itself (`system.*`) and those of alerts (`alert.*`) must be named.',
    })
    .exactOptional(),
  workflow_id: severalIds(workflowId, 'Workflows of the run').exactOptional(),
};

const order = z.enum(['oldest', 'newest']).meta({ id: 'EventOrder' }).default('oldest').meta({
  description: 'Which end of the log to begin at.',
});

export const eventQuery = z.strictObject({
  ...filters,
  ...whenRange('Observed'),
  after: after.exactOptional(),
  limit,
  order,
});
export const eventPage = pageOf(z.union([eventSchema, ownEvent]), 'EventPage');
export const streamQuery = z.strictObject({ ...filters, after: after.exactOptional() });
export const streamHeaders = z.object({
  'last-event-id': after
    .meta({ description: 'The `id:` of the last event that was received; wins over `after`.' })
    .exactOptional(),
});
