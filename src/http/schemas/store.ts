import { z } from 'zod';
import { count } from './common.ts';

const bytes = count.meta({ description: 'Bytes.' });

export const storeSchema = z
  .object({
    server: z
      .object({
        version: z.string(),
        policy: z.string().meta({
          description: 'What it does when its memory is full; only `noeviction` keeps everything.',
        }),
        persistence: z.enum(['append_only_file', 'snapshots', 'none']).meta({ id: 'Persistence' }),
      })
      .nullable()
      .meta({ description: 'Null where Redis does not say.' }),
    memory: z
      .object({
        used: bytes,
        max: bytes.nullable().meta({ description: 'Null for no limit.' }),
        live: bytes,
        settled: bytes,
        indexes: bytes,
        days_left: count.nullable().meta({
          description:
            'For how many whole days the limit lasts at the rate of the last day; null where it comes no nearer.',
        }),
      })
      .nullable()
      .meta({ description: 'Null where Redis does not say.' }),
  })
  .meta({ id: 'Store', description: 'The Redis that this daemon keeps everything in.' });
