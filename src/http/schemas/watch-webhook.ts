import { z } from 'zod';
import { count, name, source } from './common.ts';
import { deliveryCounts, endpointHealth } from './endpoint.ts';

export const webhookQuery = z.strictObject({
  token: name
    .meta({ description: 'The name of a token: the webhooks that it registered.' })
    .exactOptional(),
  source: source
    .meta({ description: 'The source of the watches; batches that belong to it alone.' })
    .exactOptional(),
});

const webhookSchema = z
  .object({
    url: z.string().meta({ description: 'Masked: the path may be a secret.' }),
    sources: z.array(z.string()).meta({ description: 'The sources of the watches and batches.' }),
    registered_by: z
      .array(z.string())
      .meta({ description: 'Names of the tokens that registered it.' }),
    watches: count.meta({ description: 'How many active watches notify it.' }),
    batches: count.meta({ description: 'How many batches notify it that have not completed.' }),
    counts: deliveryCounts,
    health: endpointHealth,
  })
  .meta({
    id: 'WatchWebhook',
    description: 'A webhook of active watches or of batches, without its secrets.',
  });

export const webhookList = z
  .object({
    data: z.array(webhookSchema),
    more: z.boolean().meta({ description: 'There are, or may be, others.' }),
  })
  .meta({ id: 'WatchWebhookList' });

export const endedWebhooks = z
  .object({
    count: count.meta({ description: 'Webhooks that have ended, of all watches and batches.' }),
  })
  .meta({ id: 'EndedWebhooks' });
