import { z } from 'zod';
import { boundedText, readDigits } from './common.ts';

/** Most ids that one answer holds. */
const MAX_FOUND = 50;

const LIMIT_HINT = `expected a whole number from 1 to ${MAX_FOUND}`;

const kind = z.enum(['run', 'event', 'delivery']).meta({ id: 'LookupKind' });

/** What can be found by the beginning of its id. */
export type LookupKind = z.output<typeof kind>;

export const lookupQuery = z.strictObject({
  kind,
  prefix: boundedText(256).meta({ description: 'How the id begins.', examples: ['5b0f'] }),
  limit: z
    .preprocess(
      readDigits,
      z.number(LIMIT_HINT).int().min(1, LIMIT_HINT).max(MAX_FOUND, LIMIT_HINT),
    )
    .default(10),
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
    description: 'Ids that begin so, an equal one first, else the newest first.',
  });
