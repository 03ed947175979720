import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { isoTime } from '../../core/event/event.ts';
import type { Processes } from '../../daemon/processes.ts';
import { COMMON_PROBLEMS, jsonAnswer } from '../schemas/common.ts';
import { processList, storeSchema } from '../schemas/system.ts';
import type { StorageService, StorageView } from '../storage.ts';

const tags = ['Processes'];

const processesSchema = {
  tags,
  operationId: 'listProcesses',
  summary: 'List the daemons on this store, the one that started first first',
  response: { 200: jsonAnswer('The processes.', processList), ...COMMON_PROBLEMS },
};

const describeSchema = {
  tags,
  operationId: 'describeStore',
  summary: 'Show how Redis keeps its data, and what its memory is used for',
  response: { 200: jsonAnswer('What is known of Redis.', storeSchema), ...COMMON_PROBLEMS },
};

interface SystemOptions {
  processes: Pick<Processes, 'list'>;
  storage: StorageService;
}

/** The daemons that share the work, and the store that they share. */
export const systemRoutes: FastifyPluginAsyncZod<SystemOptions> = async (
  app,
  { processes, storage },
) => {
  const config = { sources: 'any' as const };

  app.get('/processes', { schema: processesSchema, config }, async () => {
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

  app.get('/store', { schema: describeSchema, config }, async () => {
    const { server: found, memory } = await storage.describe();
    const server = found && presentServer(found);
    if (memory === null) return { server, memory };
    const { used, max, live, settled, indexes, daysLeft } = memory;
    const days = daysLeft === null ? null : Math.floor(daysLeft);
    return { server, memory: { used, max, live, settled, indexes, days_left: days } };
  });
};

/** No more of it than the schema says: the daemon knows further figures of the server. */
function presentServer({ version, policy, persistence }: NonNullable<StorageView['server']>) {
  return { version, policy, persistence };
}
