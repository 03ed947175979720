import { z } from 'zod';
import { boundedText, limitUpTo } from './common.ts';

/** Most ids that one answer holds. */
const MAX_FOUND = 50;

/** What can be found by the beginning of its id. */
const kind = z.enum(['run', 'event', 'delivery']).meta({ id: 'LookupKind' });

export const lookupQuery = z
  .strictObject({
    kind: kind.default('run'),
    prefix: boundedText(1_024)
      .meta({
        description: 'How the id begins; of a run also how the last part of its id begins.',
        examples: ['5b0f'],
      })
      .exactOptional(),
    q: boundedText(4_096)
      .meta({
        description:
          'The same, in white space or braces or not; or the URL of a run, such as one that was copied from a browser.',
        examples: ['https://app.noxus.ai/acme/runs/5b0f2f5e-8c1f-4a53-9a39-0f6f0a3f7f11'],
      })
      .exactOptional(),
    limit: limitUpTo(MAX_FOUND, 10),
  })
  .refine(({ prefix, q }) => (prefix === undefined) !== (q === undefined), {
    path: ['q'],
    error: 'expected either q or prefix',
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
    tried: z
      .array(z.string())
      .meta({ description: 'Of runs: the sources whose runs were looked through, or whose URLs.' }),
  })
  .meta({
    id: 'Lookup',
    description:
      'An equal id alone; else runs with an equal last part alone; else ids that begin so, the newest first. Of a URL the run that it is of, watched or not; several where sources share their URLs and none, or several, watch it.',
  });
