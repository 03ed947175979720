import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { presentEndpoint } from '../present.ts';
import { COMMON_PROBLEMS, jsonAnswer } from '../schemas/common.ts';
import { endpointList } from '../schemas/endpoint.ts';
import type { EndpointService } from '../services.ts';

const schema = {
  tags: ['Endpoints'],
  operationId: 'listEndpoints',
  summary: 'List endpoints',
  response: {
    200: jsonAnswer('All configured endpoints.', endpointList),
    ...COMMON_PROBLEMS,
  },
};

/** Reading endpoints. */
export const endpointRoutes: FastifyPluginAsyncZod<{ endpoints: EndpointService }> = async (
  app,
  { endpoints },
) => {
  app.get('/endpoints', { schema }, async () => {
    const views = await endpoints.list();
    return { data: views.map(presentEndpoint) };
  });
};
