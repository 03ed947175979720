import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { COMMON_PROBLEMS, jsonAnswer } from '../schemas/common.ts';
import { storeSchema } from '../schemas/store.ts';
import type { StoreService } from '../services.ts';

const schema = {
  tags: ['Processes'],
  operationId: 'describeStore',
  summary: 'Show how Redis keeps its data, and what its memory is used for',
  response: { 200: jsonAnswer('What is known of Redis.', storeSchema), ...COMMON_PROBLEMS },
};

/** The store. */
export const storeRoutes: FastifyPluginAsyncZod<{ storage: StoreService }> = async (
  app,
  { storage },
) => {
  app.get('/store', { schema, config: { sources: 'any' } }, async () => {
    const { server, memory } = await storage.describe();
    if (memory === null) return { server, memory };
    const { used, max, live, settled, indexes, daysLeft } = memory;
    const days = daysLeft === null ? null : Math.floor(daysLeft);
    return { server, memory: { used, max, live, settled, indexes, days_left: days } };
  });
};
