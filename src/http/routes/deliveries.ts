import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import type { TokenConfig } from '../../config/schema.ts';
import type { Attempt, Delivery } from '../../core/delivery/delivery.ts';
import type { Complete } from '../../core/records.ts';
import {
  LIMITED,
  LIMITED_HEAVY,
  LIMITED_OR_ADMIN,
  mayConcern,
  requireScope,
  sourcesMeant,
  sourcesOf,
} from '../auth.ts';
import type { DeliveryQuery, DeliveryService, RedeliverRange } from '../deliveries.ts';
import type { EndpointService, EndpointView } from '../endpoints.ts';
import { presentDelivery, presentCountedPage, presentAttempt } from '../present.ts';
import { refusal, InvalidRequest } from '../problem.ts';
import {
  COMMON_PROBLEMS,
  CURSOR_PROBLEMS,
  jsonAnswer,
  problemAnswer,
  BODY_PROBLEMS,
} from '../schemas/common.ts';
import {
  deliveryPage,
  deliveryParams,
  deliveryQuery,
  deliveryWithAttempts,
  redeliverCount,
  redelivered,
  redeliverOne,
  redeliverRange,
} from '../schemas/delivery.ts';
import { unknownEndpoint } from './endpoints.ts';

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
  app.get('/deliveries', { schema: listSchema, config: LIMITED_HEAVY }, async ({ query, token }) =>
    presentCountedPage(await deliveries.list(insideOf(query, token)), presentDelivery),
  );

  app.get('/deliveries/:id', { schema: readSchema, config: LIMITED }, async ({ params, token }) => {
    const found = await deliveries.get(params.id);
    if (found === null || !mayConcern(token, found.delivery.source)) {
      throw refusal('delivery_not_found', `there is no delivery ${params.id}`);
    }
    const headersAt = await deliveries.headersOf(found.delivery);
    return presentDeliveryWithAttempts(found, headersAt);
  });
};

/** A query in the words of the inside, all of it. */
function insideOf(
  query: z.output<typeof deliveryQuery>,
  token: TokenConfig | null,
): Complete<DeliveryQuery> {
  const { state, endpoint, run_id: runId, source, event_id: eventId, ...others } = query;
  const { since, until, limit, cursor, ...rest } = others;
  rest satisfies Record<string, never>;
  const { sources } = sourcesMeant(token, source);
  return { state, endpoint, sources, runId, eventId, since, until, limit, cursor };
}

const oneSchema = {
  tags,
  operationId: 'redeliver',
  summary: 'Deliver again',
  description:
    'With the same event id, so that receivers see a repeat. It is due at once, whatever its state; one that is behind others in the order of its run makes the first of these due. With `endpoint` that endpoint gets the event, and the delivery, if it waits, is superseded; this needs the scope `admin` instead.',
  params: deliveryParams,
  body: redeliverOne.optional(),
  response: {
    202: jsonAnswer('What goes out: with `endpoint`, the delivery there.', redelivered),
    ...BODY_PROBLEMS,
    ...COMMON_PROBLEMS,
    404: problemAnswer('There is no such delivery.'),
  },
};

const rangeSchema = {
  tags,
  operationId: 'redeliverRange',
  summary: 'Deliver many again',
  description:
    'All that match go out again, as fast as their receivers take them. Without a state those are meant that are dead or were skipped. With `to` that endpoint gets the events; then those that wait are meant, too, and are superseded. This needs the scope `admin` instead.',
  body: redeliverRange,
  response: {
    202: jsonAnswer('How many go out again.', redeliverCount),
    ...BODY_PROBLEMS,
    ...COMMON_PROBLEMS,
  },
};

interface RedeliverOptions {
  deliveries: DeliveryService;
  endpoints: EndpointService;
}

/** Delivering again what was delivered, given up or skipped. */
export const redeliverRoutes: FastifyPluginAsyncZod<RedeliverOptions> = async (
  app,
  { deliveries, endpoints },
) => {
  const one = { schema: oneSchema, config: LIMITED_OR_ADMIN };
  app.post('/deliveries/:id/redeliver', one, async (request, reply) => {
    const { params, body } = request;
    const to = body?.endpoint;
    requireScope(request, reply, to === undefined ? 'write' : 'admin');
    if (to !== undefined) await refuseUnconfigured('endpoint', to, endpoints);
    const isMeant = await isWithinSources(request.token, deliveries, params.id);
    const id = isMeant ? await deliveries.redeliver(params.id, to) : null;
    const found = id === null ? null : await deliveries.get(id);
    if (found === null) throw refusal('delivery_not_found', `there is no delivery ${params.id}`);
    reply.code(202);
    const { eventId, state } = found.delivery;
    return { id: found.delivery.id, event_id: eventId, state };
  });

  const range = { schema: rangeSchema, config: LIMITED_OR_ADMIN };
  app.post('/deliveries/redeliver', range, async (request, reply) => {
    const { body } = request;
    requireScope(request, reply, body.to === undefined ? 'write' : 'admin');
    if (body.to !== undefined) await refuseUnconfigured('to', body.to, endpoints);
    if (body.endpoint !== undefined) {
      refuseUnknown(body.endpoint, await endpoints.list(sourcesOf(request.token)));
    }
    reply.code(202);
    return { count: await deliveries.redeliverMany(rangeOf(body, request.token)) };
  });
};

/** {@link insideOf} of a range. */
function rangeOf(
  { endpoint, state, since, until, to, ...rest }: z.output<typeof redeliverRange>,
  token: TokenConfig | null,
): Complete<RedeliverRange> {
  rest satisfies Record<string, never>;
  return { endpoint, state, sources: sourcesMeant(token).sources, since, until, to };
}

async function isWithinSources(
  token: TokenConfig | null,
  deliveries: DeliveryService,
  id: string,
): Promise<boolean> {
  if (sourcesOf(token) === undefined) return true;
  const found = await deliveries.get(id);
  return found !== null && mayConcern(token, found.delivery.source);
}

/** Only what is configured can be sent something else's deliveries. */
async function refuseUnconfigured(
  path: string,
  name: string,
  endpoints: EndpointService,
): Promise<void> {
  const views = await endpoints.list();
  const configured = views.filter((view) => view.type !== 'unconfigured' && view.name !== view.url);
  if (configured.some((view) => view.name === name)) return;
  throw new InvalidRequest([{ path, message: unknownEndpoint(name, configured) }]);
}

/** A name with a slip in it would match nothing, and pass for a range with nothing in it. */
function refuseUnknown(endpoint: string, views: readonly EndpointView[]): void {
  if (/^https?:\/\//i.test(endpoint)) return;
  if (views.some(({ name }) => name === endpoint)) return;
  throw new InvalidRequest([{ path: 'endpoint', message: unknownEndpoint(endpoint, views) }]);
}

/** A delivery shown alone, with everything that was tried. */
export function presentDeliveryWithAttempts(
  { delivery, attempts }: { delivery: Delivery; attempts: readonly Attempt[] },
  headersAt: ((atMs: number) => Record<string, string>) | null,
): z.output<typeof deliveryWithAttempts> {
  return {
    ...presentDelivery(delivery),
    attempts: attempts.map((attempt) => ({
      ...presentAttempt(attempt),
      request_headers: wasSent(attempt) ? (headersAt?.(attempt.at) ?? null) : null,
    })),
  };
}

/** Whether the request of an attempt left: without a connection none did. */
function wasSent({ phases }: Attempt): boolean {
  return phases?.[1] !== undefined;
}
