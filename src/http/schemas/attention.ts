import { z } from 'zod';
import { ATTENTION_KINDS } from '../../core/attention.ts';
import { severity } from '../../config/rule-schema.ts';
import { suppressor } from './alert.ts';
import { acknowledgement, count, countsBy, time } from './common.ts';

const kind = z.enum(ATTENTION_KINDS).meta({
  id: 'AttentionKind',
  description:
    'Failures of a workflow that no alert is about. Runs that wait for a human, have stalled, are gone, or have no answer. A firing alert. Deliveries to an endpoint that are dead, or parked. An endpoint that fails or is disabled. A source that refuses or does not answer, its overdue polls, or lists of runs that cannot be read. A batch that is open, has no active run, and should be closed.',
});

const run = z
  .object({ run_id: z.string(), since: time, run_url: z.string().nullable() })
  .meta({ id: 'AttentionRun' });

const deliveries = z
  .object({
    waiting: count.meta({ description: 'Those that wait until the endpoint takes them.' }),
    dead: count.meta({ description: 'Those that were given up within a week.' }),
  })
  .meta({ id: 'AttentionDeliveries' });

const attentionItem = z
  .object({
    kind,
    severity,
    count: count.meta({
      description: 'How many things it is about: runs, events of an alert, deliveries, polls.',
    }),
    since: time,
    message: z.string(),
    run_id: z.string().exactOptional(),
    source: z.string().exactOptional(),
    workflow_id: z.string().nullable().exactOptional(),
    workflow_name: z.string().nullable().exactOptional(),
    run_url: z.string().nullable().exactOptional(),
    runs: z
      .array(run)
      .meta({
        description:
          'Of several runs, and of failures: the first 20, or the newest 10 that failed. `GET /v1/watches` has all.',
      })
      .exactOptional(),
    endpoint: z.string().exactOptional(),
    deliveries: deliveries.exactOptional(),
    alert_id: z.string().exactOptional(),
    rule: z.string().exactOptional(),
    batch: z.string().exactOptional(),
    acknowledged: acknowledgement.nullable().exactOptional(),
    suppressed_by: z.array(suppressor).exactOptional(),
  })
  .meta({
    id: 'AttentionItem',
    description:
      'One cause for which something needs a person: failures of a workflow, runs of a workflow that wait, an endpoint with its deliveries, an alert.',
  });

export const acknowledgedFailures = z
  .object({
    source: z.string(),
    workflow_id: z.string().nullable().meta({ description: 'Null for runs without a workflow.' }),
    acknowledged: acknowledgement.nullable().meta({ description: 'Null where they are over.' }),
  })
  .meta({ id: 'AcknowledgedFailures' });

export const attentionQuery = z.strictObject({
  acknowledged: z
    .enum(['exclude', 'include'])
    .meta({ id: 'AcknowledgedFilter' })
    .meta({
      description:
        'Whether runs, failures and alerts are listed that a user has acknowledged, and what a silence, a mute or another alert suppresses.',
    })
    .default('exclude'),
});

export const attentionPage = z
  .object({
    data: z.array(attentionItem).meta({
      description: 'The first 200: by severity, the heaviest first, then the longest ago.',
    }),
    counts: countsBy(ATTENTION_KINDS).meta({
      id: 'AttentionCounts',
      description: 'Entries of each kind.',
    }),
    total: count.meta({ description: 'Entries in all.' }),
    total_capped: z.boolean().meta({ description: 'There may be more than `total`.' }),
  })
  .meta({ id: 'AttentionPage' });
