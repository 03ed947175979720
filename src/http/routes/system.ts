import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { isoTime } from '../../core/event/event.ts';
import type { MemoryFigures } from '../../core/redis-memory.ts';
import { COMMON_PROBLEMS, jsonAnswer } from '../schemas/common.ts';
import { processList, storeSchema } from '../schemas/system.ts';

/** What is known of Redis. Null for what it does not say. */
interface StoreView {
  server: {
    version: string;
    /** What it does when its memory is full; only `noeviction` keeps everything. */
    policy: string;
    persistence: 'append_only_file' | 'snapshots' | 'none';
  } | null;
  memory: MemoryFigures | null;
}

export interface StoreService {
  describe(): Promise<StoreView>;
}

/** A daemon on this store. Times are milliseconds since the epoch. */
export interface ProcessView {
  id: string;
  name: string;
  version: string;
  startedAt: number;
  heartbeatAt: number;
  /** By how much the clock of its host is ahead of the store's, ms. */
  skewMs: number;
}

export interface ProcessService {
  list(): Promise<ProcessView[]>;
}

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
  processes: ProcessService;
  storage: StoreService;
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
function presentServer({ version, policy, persistence }: NonNullable<StoreView['server']>) {
  return { version, policy, persistence };
}
