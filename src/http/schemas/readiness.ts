import { z } from 'zod';

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
