import { z } from 'zod';
import { ATTENTION_KINDS } from '../../core/attention.ts';
import { suppressor } from './alert.ts';
import { acknowledgement, count, countsBy, time } from './common.ts';

const kind = z.enum(ATTENTION_KINDS).meta({
  id: 'AttentionKind',
  description:
    'Of a run: it waits for a human, has stalled, is gone, or has no answer. A firing alert. Deliveries to an endpoint that are dead, or parked. An endpoint that fails or is disabled. A source that refuses or does not answer, its overdue polls, or lists of runs that cannot be read.',
});

const attentionItem = z
  .object({
    kind,
    since: time,
    message: z.string(),
    run_id: z.string().exactOptional(),
    source: z.string().exactOptional(),
    workflow_id: z.string().nullable().exactOptional(),
    workflow_name: z.string().nullable().exactOptional(),
    run_url: z.string().nullable().exactOptional(),
    endpoint: z.string().exactOptional(),
    count: count.meta({ description: 'Deliveries, polls, or events of an alert.' }).exactOptional(),
    alert_id: z.string().exactOptional(),
    rule: z.string().exactOptional(),
    severity: z.string().exactOptional(),
    acknowledged: acknowledgement.nullable().exactOptional(),
    suppressed_by: z.array(suppressor).exactOptional(),
  })
  .meta({ id: 'AttentionItem', description: 'Something that needs a person.' });

export const attentionQuery = z.strictObject({
  acknowledged: z
    .enum(['exclude', 'include'])
    .meta({ id: 'AcknowledgedFilter' })
    .meta({
      description:
        'Whether runs and alerts are listed that a user has acknowledged, and alerts that a silence, a mute or another alert suppresses.',
    })
    .default('exclude'),
});

export const attentionPage = z
  .object({
    data: z.array(attentionItem).meta({ description: 'The oldest 200, oldest first.' }),
    counts: countsBy(ATTENTION_KINDS).meta({
      id: 'AttentionCounts',
      description: 'How many of each kind; each up to 10,000.',
    }),
    total: count,
    total_capped: z.boolean().meta({ description: 'There are more than `total`.' }),
  })
  .meta({ id: 'AttentionPage' });
