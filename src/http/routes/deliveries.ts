import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { presentDelivery, presentDeliveryWithAttempts, presentPage } from '../present.ts';
import { refusal } from '../problem.ts';
import { COMMON_PROBLEMS, CURSOR_PROBLEMS, jsonAnswer, problemAnswer } from '../schemas/common.ts';
import {
  deliveryPage,
  deliveryParams,
  deliveryQuery,
  deliveryWithAttempts,
} from '../schemas/delivery.ts';
import type { DeliveryService } from '../services.ts';

const tags = ['Deliveries'];

const listSchema = {
  tags,
  operationId: 'listDeliveries',
  summary: 'List deliveries, newest first',
  querystring: deliveryQuery,
  response: {
    200: jsonAnswer('A page of deliveries.', deliveryPage),
    ...COMMON_PROBLEMS,
    ...CURSOR_PROBLEMS,
  },
};

const readSchema = {
  tags,
  operationId: 'getDelivery',
  summary: 'Show one delivery with its attempts',
  params: deliveryParams,
  response: {
    200: jsonAnswer('The delivery.', deliveryWithAttempts),
    ...COMMON_PROBLEMS,
    404: problemAnswer('There is no such delivery.'),
  },
};

/** Reading deliveries. */
export const deliveryRoutes: FastifyPluginAsyncZod<{ deliveries: DeliveryService }> = async (
  app,
  { deliveries },
) => {
  app.get('/deliveries', { schema: listSchema }, async ({ query }) => {
    const { run_id: runId, event_id: eventId, ...same } = query;
    const page = await deliveries.list({
      ...same,
      ...(runId !== undefined && { runId }),
      ...(eventId !== undefined && { eventId }),
    });
    return presentPage(page, presentDelivery);
  });

  app.get('/deliveries/:id', { schema: readSchema }, async ({ params }) => {
    const found = await deliveries.get(params.id);
    if (found === null) {
      throw refusal('delivery_not_found', `there is no delivery ${params.id}`);
    }
    return presentDeliveryWithAttempts(found.delivery, found.attempts);
  });
};
