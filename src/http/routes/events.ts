import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { presentPage } from '../present.ts';
import { COMMON_PROBLEMS, CURSOR_PROBLEMS, jsonAnswer } from '../schemas/common.ts';
import { eventPage, eventQuery } from '../schemas/event.ts';
import type { EventService } from '../services.ts';

const schema = {
  tags: ['Events'],
  operationId: 'listEvents',
  summary: 'List events, oldest first unless asked otherwise',
  querystring: eventQuery,
  response: {
    200: jsonAnswer('A page of events.', eventPage),
    ...COMMON_PROBLEMS,
    ...CURSOR_PROBLEMS,
  },
};

/** Reading events. */
export const eventRoutes: FastifyPluginAsyncZod<{ events: EventService }> = async (
  app,
  { events },
) => {
  app.get('/events', { schema }, async ({ query }) => {
    const { run_id: runId, ...same } = query;
    const page = await events.list({ ...same, ...(runId !== undefined && { runId }) });
    return presentPage(page, ({ event }) => event);
  });
};
