import { z } from 'zod';
import { boundedText, limitUpTo } from './common.ts';

/** Most ids that one answer holds. */
const MAX_FOUND = 50;

/** What can be found by the beginning of its id. */
const kind = z.enum(['run', 'event', 'delivery']).meta({ id: 'LookupKind' });

export const lookupQuery = z.strictObject({
  kind,
  prefix: boundedText(256).meta({
    description: 'How the id begins; of a run also how the last part of its id begins.',
    examples: ['5b0f'],
  }),
  limit: limitUpTo(MAX_FOUND, 10),
});

export const lookupAnswer = z
  .object({
    data: z.array(
      z.object({
        kind,
        id: z.string(),
        source: z.string().exactOptional().meta({ description: 'Of a run: its source.' }),
      }),
    ),
    more: z.boolean().meta({ description: 'There are, or may be, others that begin so.' }),
  })
  .meta({
    id: 'Lookup',
    description:
      'An equal id alone; else runs with an equal last part alone; else ids that begin so, the newest first.',
  });
