import { z } from 'zod';
import { time } from './common.ts';

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
