import { z } from 'zod';
import { EVENT_TYPES } from '../../core/event.ts';
import { boundedText, count, limit, pageOf, runId, time } from './common.ts';

/** What is shown of a run: the snapshot, and nothing else. */
export const runSnapshot = z
  .object({
    id: z.string(),
    workflow_id: z.string().nullable(),
    group_id: z.string().nullable(),
    workflow_version_id: z.string().nullable(),
    status: z.string().meta({
      description:
        'queued, running, failed, completed, stopped, awaiting_human_feedback, or whatever else Noxus says.',
    }),
    progress: z.number().nullable(),
    created_at: time.nullable(),
    started_at: time.nullable(),
    finished_at: time.nullable(),
    source: z.string().nullable(),
    user_id: z.string().nullable(),
    conversation_id: z.string().nullable(),
    observed_at: time,
  })
  .meta({
    id: 'Run',
    description: 'A run as it was last seen. What Noxus does not give, or not readably, is null.',
  });

export const troubleSchema = z.object({ code: z.string(), message: z.string(), since: time });

const eventType = z.enum(EVENT_TYPES);

const eventSchema = z
  .object({
    id: z.string(),
    type: eventType,
    timestamp: time,
    data: z.object({
      run_id: z.string(),
      run: runSnapshot.nullable(),
      previous: z.object({ status: z.string(), progress: z.number().nullable() }).nullable(),
      sequence: count,
      detected_at: time,
      detection_delay_ms: z.number().nullable().meta({
        description:
          'From the end of the run, by the account of Noxus, to our seeing it; null where Noxus tells of none.',
      }),
      watch: z.object({
        source: z.string(),
        metadata: z.record(z.string(), z.string()),
        registered_at: time,
      }),
      error: troubleSchema.exactOptional(),
      reminder: z
        .number()
        .exactOptional()
        .meta({ description: 'Of run.awaiting_human_feedback: its number among the reminders.' }),
      waited_ms: z
        .number()
        .exactOptional()
        .meta({ description: 'How long the run has waited for a human, or had when it went on.' }),
      lasted_ms: z
        .number()
        .exactOptional()
        .meta({ description: 'Of run.stalled and run.recovered: how long the state has lasted.' }),
      usual_ms: z.number().nullable().exactOptional().meta({
        description: 'Of run.stalled: in how long 99 of 100 runs leave the state, if known.',
      }),
    }),
  })
  .meta({ id: 'Event', description: 'A change that was observed; the body of a webhook.' });

const after = boundedText(512).meta({
  description: 'A cursor or the id of an event: only what came later.',
});

const filters = { run_id: runId.exactOptional(), type: eventType.exactOptional() };

const order = z.enum(['oldest', 'newest']).default('oldest').meta({
  description: 'Which end of the log to begin at.',
});

export const eventQuery = z.strictObject({
  ...filters,
  after: after.exactOptional(),
  limit,
  order,
});
export const eventPage = pageOf(eventSchema);
export const streamQuery = z.strictObject({ ...filters, after: after.exactOptional() });
export const streamHeaders = z.object({
  'last-event-id': after
    .meta({ description: 'The `id:` of the last event that was received; wins over `after`.' })
    .exactOptional(),
});
