import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { isoTime } from '../../core/event/event.ts';
import { COMMON_PROBLEMS, jsonAnswer } from '../schemas/common.ts';
import { processList } from '../schemas/process.ts';
import type { ProcessService } from '../services.ts';

const schema = {
  tags: ['Processes'],
  operationId: 'listProcesses',
  summary: 'List the daemons on this store, the one that started first first',
  response: { 200: jsonAnswer('The processes.', processList), ...COMMON_PROBLEMS },
};

/** Which daemons share the work. */
export const processRoutes: FastifyPluginAsyncZod<{ processes: ProcessService }> = async (
  app,
  { processes },
) => {
  app.get('/processes', { schema, config: { sources: 'any' } }, async () => {
    const found = await processes.list();
    return {
      data: found.map(({ id, name, version, startedAt, heartbeatAt, skewMs }) => ({
        id,
        name,
        version,
        since: isoTime(startedAt),
        heartbeat: isoTime(heartbeatAt),
        clock_skew_ms: skewMs,
      })),
    };
  });
};
