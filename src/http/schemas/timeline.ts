import { z } from 'zod';
import { POLL_MODES, POLL_OUTCOMES } from '../../core/watch/poll-history.ts';
import { alertDetail } from './alert.ts';
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

const timelineAlert = alertDetail
  .pick({
    id: true,
    rule: true,
    state: true,
    acknowledged: true,
    suppressed_by: true,
    notified: true,
  })
  .extend({
    event_ids: z.array(z.string()).meta({
      description: 'The events of the run, among those in `events`, that the alert has counted.',
    }),
  })
  .meta({
    id: 'TimelineAlert',
    description: 'An alert that goes on and has the run among its runs.',
  });

export const timelineSchema = z
  .object({
    states: z.array(runState),
    polls: z.array(poll).meta({ description: 'The last 60.' }),
    events: z.array(timelineEvent),
    deliveries: z.array(timelineDelivery),
    alerts: z.array(timelineAlert).meta({
      description:
        'Alerts that go on and have the run among their runs, 20 at the most, the newest last. A token that is limited to sources sees those that are grouped by one of these.',
    }),
    truncated: z.boolean().meta({
      description: 'True where there are more events or deliveries: these are the newest.',
    }),
  })
  .meta({ id: 'Timeline', description: 'What happened around a run, each list oldest first.' });
