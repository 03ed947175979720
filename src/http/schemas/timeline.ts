import { z } from 'zod';
import { POLL_MODES, POLL_OUTCOMES } from '../../core/watch/poll-history.ts';
import { integer, milliseconds, time } from './common.ts';
import { attemptSchema, deliverySchema } from './delivery.ts';
import { eventOfAnyType } from './event.ts';

const runState = z
  .object({
    at: time.meta({ description: 'By the account of the source where it gives one.' }),
    until: time.nullable().meta({ description: 'Null for the last state.' }),
    status: z.string(),
    progress: integer.nullable().meta({ description: 'Null where it was not seen.' }),
  })
  .meta({ id: 'RunState', description: 'How long the run had one status and one progress.' });

const poll = z
  .object({
    at: time.meta({ description: 'When it began.' }),
    kind: z.enum(POLL_MODES).meta({
      description:
        'Why the run was read: it was due (`single`), or a list or an event stream showed a change.',
    }),
    outcome: z.enum(POLL_OUTCOMES),
    duration_ms: milliseconds,
    lag_ms: milliseconds.meta({ description: 'From when it was due to its start.' }),
  })
  .meta({ id: 'Poll', description: 'One read of the run.' });

const timelineEvent = eventOfAnyType
  .extend({
    at: time.meta({ description: 'When the change was detected.' }),
    waiting_ms: milliseconds
      .nullable()
      .meta({ description: 'From the change to the start of the poll; null where not known.' }),
    poll_ms: milliseconds
      .nullable()
      .meta({ description: 'From then on to the event; null where the poll is kept no more.' }),
  })
  .meta({ id: 'TimelineEvent', description: 'An event, and how its detection took its time.' });

const timelineDelivery = deliverySchema
  .extend({
    relay_ms: milliseconds
      .nullable()
      .meta({ description: 'From the event to the start of the first attempt.' }),
    receiver_ms: milliseconds
      .nullable()
      .meta({ description: 'From the start of the first attempt to the consent of the receiver.' }),
    attempts: z.array(
      attemptSchema.omit({ phases: true, response: true }).meta({ id: 'TimelineAttempt' }),
    ),
  })
  .meta({ id: 'TimelineDelivery', description: 'A delivery with its attempts.' });

export const timelineSchema = z
  .object({
    states: z.array(runState),
    polls: z.array(poll).meta({ description: 'The last 60.' }),
    events: z.array(timelineEvent),
    deliveries: z.array(timelineDelivery),
    truncated: z.boolean().meta({
      description: 'True where there are more events or deliveries: these are the newest.',
    }),
  })
  .meta({ id: 'Timeline', description: 'What happened around a run, each list oldest first.' });
