import { z } from 'zod';
import { time, count } from './common.ts';

const processSchema = z
  .object({
    id: z.string().meta({ description: 'Another one at each start.' }),
    name: z.string().meta({ description: 'Host and process id.', examples: ['web-1:4711'] }),
    version: z.string(),
    since: time.meta({ description: 'When it started.' }),
    heartbeat: time.meta({ description: 'When it last showed that it lives.' }),
    clock_skew_ms: z.number().meta({
      type: 'integer',
      description:
        'By how much the clock of its host is ahead of that of Redis, by which all times go.',
    }),
  })
  .meta({ id: 'Process', description: 'A daemon on this store.' });

export const processList = z.object({ data: z.array(processSchema) });

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

export const readinessSchema = z
  .object({
    status: z.enum(['ready', 'unready']),
    checks: z.array(
      z.object({
        name: z.string(),
        status: z.enum(['ok', 'degraded', 'failed']),
        detail: z.string(),
      }),
    ),
  })
  .meta({ id: 'Readiness' });
