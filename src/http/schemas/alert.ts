import { z } from 'zod';
import { ruleSections, severity } from '../../config/rule-schema.ts';
import { ALERT_STATES, END_REASONS, SUPPRESSIONS } from '../../core/alert/alert.ts';
import { MOMENT_KINDS } from '../../core/alert/moment.ts';
import { SUPPRESSOR_KINDS } from '../../core/alert/suppression.ts';
import { ALERT_EVENT_TYPES } from '../../core/event/event.ts';
import {
  acknowledgement,
  boundedText,
  count,
  countsBy,
  cursor,
  limit,
  pageOf,
  several,
  time,
  when,
} from './common.ts';
import { deliveryState } from './delivery.ts';
import { runNodes } from './event.ts';
import { bodyOf } from './webhook.ts';

const labels = z
  .record(z.string(), z.string())
  .meta({ description: 'What the events of the alert have in common, by `group_by`.' });

const state = z
  .enum(ALERT_STATES, `expected one of: ${ALERT_STATES.join(', ')}`)
  .meta({ id: 'AlertState' });

const alertRun = z
  .object({
    run_id: z.string(),
    workflow_id: z.string().nullable(),
    name: z.string().nullable().meta({ description: 'The name of the workflow.' }),
    url: z
      .string()
      .nullable()
      .meta({ description: 'Where the run is shown in the app of its source.' }),
    status: z.string().nullable(),
    at: time,
  })
  .meta({ id: 'AlertRun' });

export const suppressor = z
  .object({
    kind: z.enum(SUPPRESSOR_KINDS),
    id: z.string().nullable().meta({
      description:
        'Of the silence, the time interval by its name, or the alert that inhibits. Null where it belongs to sources that the token may not use.',
    }),
    by: z.string().nullable().meta({
      description: 'The user of a silence, or the rule of the alert that inhibits.',
    }),
    until: time.nullable().meta({ description: 'When it ends, where that is known.' }),
  })
  .meta({ id: 'Suppressor' });

export const alertSchema = z
  .object({
    id: z.string().meta({ description: 'The same from firing to resolved.' }),
    rule: z.string(),
    labels,
    state,
    severity,
    owner: z.string().nullable(),
    annotations: z.record(z.string(), z.string()),
    count: count.meta({ description: 'Matching events.' }),
    runs_total: count.meta({ description: 'Distinct runs of these; 500 stands for 500 or more.' }),
    runs: z.array(alertRun).meta({ description: 'The newest runs, as many as the rule shows.' }),
    started_at: time,
    updated_at: time,
    resolved_at: time.nullable(),
    resolved_by: z
      .object({ by: z.string(), comment: z.string().nullable() })
      .nullable()
      .meta({ id: 'ResolvedBy', description: 'The user that ended it by hand.' }),
    reason: z.enum(END_REASONS).meta({ id: 'AlertEndReason' }).nullable().meta({
      description:
        'Why it has ended where no event says so: its rule makes it no more, or nothing has matched for long.',
    }),
    acknowledged: acknowledgement.nullable(),
    suppressed_by: z.array(suppressor).meta({
      description: 'What keeps its notifications back now. Empty in events.',
    }),
    notified: z
      .array(z.object({ endpoint: z.string(), at: time, event_id: z.string() }))
      .meta({ description: 'The last event that was sent to each endpoint.' }),
    url: z.string().nullable().meta({ description: 'Where runwatch shows the alert.' }),
  })
  .meta({ id: 'Alert', description: 'What a rule makes of events with the same labels.' });

const sent = {
  delivery_id: z.string().nullable().meta({
    description: 'Null where it is kept no more, or the token may not see it.',
  }),
  delivery_state: deliveryState.nullable().meta({ description: 'Null where it is kept no more.' }),
  delivery_text: z.string().meta({
    description: 'The same in words: `delivered`, `waiting for chat: status 503`, `given up: …`.',
  }),
};

const alertMoment = z
  .object({
    kind: z.enum(MOMENT_KINDS).meta({ id: 'AlertMomentKind' }),
    at: time.meta({ description: 'Of several alike in a row, the time of the last.' }),
    first_at: time,
    times: count.meta({ description: 'How many alike came in a row.' }),
    by: z.string().nullable().meta({
      description:
        'The user; of a mute the time intervals, of an inhibition the rule of the alert that inhibits. Null where it belongs to sources that the token may not use.',
    }),
    comment: z.string().nullable(),
    until: time.nullable().meta({ description: 'Of an acknowledgement, a silence, or a mute.' }),
    text: z.string().meta({
      description:
        'The same in words, without comment and end: `acknowledged by ana`, `updated 12 times`.',
    }),
    event_id: z.string().nullable().meta({ description: 'Of its notification; null without one.' }),
    deliveries: z.array(z.object({ endpoint: z.string(), ...sent }).meta({ id: 'AlertDelivery' })),
  })
  .meta({ id: 'AlertMoment', description: 'Something that happened to an alert.' });

const ruleText = z
  .object({ watches: z.string(), fires: z.string(), notifies: z.string(), ends: z.string() })
  .meta({
    id: 'RuleText',
    description:
      'What the rule is about, when its alerts fire, which endpoints are notified and when, and when an alert ends.',
  });

/** An alert shown alone. */
export const alertDetail = alertSchema
  .extend({
    runs: z
      .array(
        alertRun
          .extend({
            nodes: runNodes.nullable().meta({
              description: 'Where the run stood at its newest event that says so.',
            }),
          })
          .meta({ id: 'AlertRunDetail' }),
      )
      .meta({ description: 'The newest runs, as many as the rule shows.' }),
    notified: z
      .array(z.object({ endpoint: z.string(), at: time, event_id: z.string(), ...sent }))
      .meta({ description: 'The last event that was sent to each endpoint.' }),
    rule_text: ruleText.nullable().meta({
      description: 'What the rule does now, in words; null where it is configured no more.',
    }),
    history: z.array(alertMoment).meta({
      description: 'What has happened to it, oldest first: the first of all, and the last 50.',
    }),
  })
  .meta({ id: 'AlertDetail', description: 'An alert with its rule and its history.' });

export const alertPage = pageOf(alertSchema, 'AlertPage')
  .extend({
    counts: countsBy(ALERT_STATES).meta({
      description: 'Alerts in each state, under the other filters of the query.',
    }),
  })
  .meta({ id: 'AlertPage' });

export const rulePage = z
  .object({ data: z.array(z.object({ name: z.string(), severity }).meta({ id: 'Rule' })) })
  .meta({ id: 'RuleList', description: 'In the order of the configuration.' });

export const alertParams = z.strictObject({
  id: z.string().regex(/^[\w-]{1,64}$/, 'expected the id of an alert'),
});

export const alertQuery = z.strictObject({
  state: several(state).exactOptional(),
  rule: boundedText(63).exactOptional(),
  limit,
  cursor: cursor.exactOptional(),
});

/** An alert for tokens that may write and not read. */
export const alertOrReceipt = z.union([alertSchema, alertSchema.pick({ id: true, state: true })]);

const digest = z
  .object({
    reason: z.enum(['muted', 'schedule']),
    since: time,
    until: time,
    alerts: z.array(
      z.object({
        id: z.string(),
        labels,
        state,
        count,
        name: z.string().nullable().meta({ description: 'The name of the workflow.' }),
      }),
    ),
    by_type: z.record(z.string(), count),
  })
  .meta({ id: 'AlertDigest', description: 'Several events or alerts in one notification.' });

const alertData = z
  .object({
    alert: alertSchema,
    repeat: z.boolean().meta({ description: 'A reminder of an alert that still fires.' }),
    digest: digest.nullable(),
    escalation: z
      .object({ step: count, after: z.string() })
      .nullable()
      .meta({ description: 'The step of the escalation that sends it.' }),
  })
  .meta({ id: 'AlertEventData' });

/*
 * Bodies that only webhooks have. No route answers them: the document finds them by their names.
 */

const [firstBody, ...otherBodies] = ALERT_EVENT_TYPES.map((type) => bodyOf(type, alertData));
if (firstBody === undefined) throw new Error('there are no events of alerts');

z.discriminatedUnion('type', [firstBody, ...otherBodies]).meta({
  id: 'AlertEvent',
  description: 'What happens to an alert, sent to the endpoints that its rule names.',
});

export const rehearseRequest = z
  .strictObject({
    since: when
      .meta({
        description: 'Since when stored events are judged: a time, or a duration ago; absent: 24h.',
      })
      .exactOptional(),
    rules: ruleSections.rules
      .meta({ description: 'Rules, as the configuration has them, in place of those in force.' })
      .exactOptional(),
    time_intervals: ruleSections.time_intervals.exactOptional(),
    inhibit_rules: ruleSections.inhibit_rules.exactOptional(),
  })
  .meta({
    id: 'RehearseRequest',
    examples: [
      { since: '24h' },
      { since: '7d', rules: [{ name: 'failed-runs', events: ['run.failed'], notify: ['chat'] }] },
    ],
  });

export const rehearsal = z
  .object({
    since: time,
    until: time,
    events: count.meta({ description: 'Stored events that were judged.' }),
    rules: z.array(
      z.object({
        rule: z.string(),
        matched: count,
        notified: count,
        waiting: count,
        suppressed: countsBy(SUPPRESSIONS),
        notifications: count,
        not_rehearsed: z.string().nullable().meta({
          description:
            'What it needs to be rehearsed, or rehearsed to its full extent; null where nothing is missing.',
        }),
      }),
    ),
    notifications: z
      .array(
        z.object({
          at: time,
          type: z.enum(ALERT_EVENT_TYPES).meta({ id: 'AlertEventType' }),
          rule: z.string(),
          labels,
          count,
          repeat: z.boolean(),
          alert_id: z.string(),
          notify: z.array(z.string()),
        }),
      )
      .meta({ description: 'What would have been sent, oldest first.' }),
    truncated: z.boolean().meta({ description: 'There would have been more notifications.' }),
  })
  .meta({ id: 'Rehearsal' });
