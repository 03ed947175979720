import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import type { RunwatchError } from '../../core/errors.ts';
import { LIMITED_HEAVY, sourcesOf } from '../auth.ts';
import type { EndpointHealth, EndpointService, EndpointView } from '../endpoints.ts';
import { patternsInForce, presentAttempt, timeOrNull } from '../present.ts';
import { refusal } from '../problem.ts';
import { BODY_PROBLEMS, COMMON_PROBLEMS, jsonAnswer, problemAnswer } from '../schemas/common.ts';
import { redeliverCount } from '../schemas/delivery.ts';
import {
  DEFAULT_OVERLAP_MS,
  endpointList,
  endpointParams,
  endpointSchema,
  endpointSecret,
  endpointTest,
  rotatedSecret,
  rotateRequest,
} from '../schemas/endpoint.ts';

/** A test waits for the receiver, which has up to 30 s by configuration; ms. */
const TEST_TIMEOUT_MS = 45_000;

/** What changes the state of an endpoint, or its secret, is up to operators. */
const ADMIN = { scope: 'admin' as const };

const tags = ['Endpoints'];

const ONE_ENDPOINT_PROBLEMS = {
  ...COMMON_PROBLEMS,
  404: problemAnswer('No endpoint has this name.'),
  409: problemAnswer('Several webhooks of watches are shown by this name.'),
};

const listSchema = {
  tags,
  operationId: 'listEndpoints',
  summary: 'List endpoints',
  response: {
    200: jsonAnswer(
      'All configured endpoints, then webhooks of watches that are not well.',
      endpointList,
    ),
    ...COMMON_PROBLEMS,
  },
};

const testSchema = {
  tags,
  operationId: 'testEndpoint',
  summary: 'Send an event of the type runwatch.test now',
  description:
    'It goes out at once, also to an endpoint that is paused, failing or disabled. `delivered` says whether the receiver took it.',
  params: endpointParams,
  response: {
    200: jsonAnswer('What the receiver made of it.', endpointTest),
    ...ONE_ENDPOINT_PROBLEMS,
    409: problemAnswer('This daemon has not the key that the signing secret was encrypted with.'),
  },
};

/** What changes the state of an endpoint; each may be done again without harm. */
const SWITCHES = [
  { action: 'pause', summary: 'Keep the deliveries of an endpoint until it is resumed' },
  {
    action: 'resume',
    summary: 'Deliver again to an endpoint that is paused, disabled or throttled',
  },
] as const;

const retrySchema = {
  tags,
  operationId: 'retryEndpoint',
  summary: 'Make all that waits at an endpoint due now',
  description:
    'Where its circuit breaker is open, one delivery probes at once, and the others follow when that succeeds. Nothing goes to an endpoint that is paused.',
  params: endpointParams,
  response: {
    200: jsonAnswer('How many deliveries wait there and are due now.', redeliverCount),
    ...ONE_ENDPOINT_PROBLEMS,
  },
};

const secretSchema = {
  tags,
  operationId: 'getEndpointSecret',
  summary: 'Show the secret of an endpoint that has none of its own',
  description:
    'It is derived from the name of the endpoint and the signing secret of this installation. A secret that was configured, or made by a rotation, is shown nowhere.',
  params: endpointParams,
  response: {
    200: jsonAnswer('The secret that signs for it.', endpointSecret),
    ...ONE_ENDPOINT_PROBLEMS,
    409: problemAnswer('Its secret was configured or rotated, or it signs nothing.'),
  },
};

const rotateSchema = {
  tags,
  operationId: 'rotateEndpointSecret',
  summary: 'Make a new signing secret',
  description:
    'The new secret signs from now on; for as long as `overlap` says the old one signs too, so that the receiver takes either. Secrets of earlier rotations sign on until the time that was promised for each, three in all at the most; `now` ends all old ones at once, whatever `overlap` says.',
  params: endpointParams,
  body: rotateRequest,
  response: {
    200: jsonAnswer('The new secret, shown this once.', rotatedSecret),
    ...BODY_PROBLEMS,
    ...ONE_ENDPOINT_PROBLEMS,
    409: problemAnswer(
      'The endpoint has no secret of its own, three secrets sign already, or several webhooks of watches are shown by this name.',
    ),
  },
};

/** Reading, testing and switching endpoints. */
export const endpointRoutes: FastifyPluginAsyncZod<{ endpoints: EndpointService }> = async (
  app,
  { endpoints },
) => {
  app.get('/endpoints', { schema: listSchema, config: LIMITED_HEAVY }, async ({ token }) => {
    const views = await endpoints.list(sourcesOf(token));
    return { data: views.map(presentEndpoint) };
  });

  const testRoute = { schema: testSchema, config: { ...ADMIN, limitMs: TEST_TIMEOUT_MS } };
  app.post('/endpoints/:name/test', testRoute, async ({ params }) => {
    const test = await endpoints.test(params.name);
    if (test === null) throw await noSuchEndpoint(endpoints, params.name);
    return { delivered: test.delivered, attempt: presentAttempt(test.attempt) };
  });

  for (const { action, summary } of SWITCHES) {
    const schema = switchSchema(action, summary);
    app.post(`/endpoints/:name/${action}`, { schema, config: ADMIN }, async ({ params }) => {
      const endpoint = await endpoints[action](params.name);
      if (endpoint === null) throw await noSuchEndpoint(endpoints, params.name);
      return presentEndpoint(endpoint);
    });
  }

  const retryRoute = { schema: retrySchema, config: ADMIN };
  app.post('/endpoints/:name/retry', retryRoute, async ({ params }) => {
    const count = await endpoints.retry(params.name);
    if (count === null) throw await noSuchEndpoint(endpoints, params.name);
    return { count };
  });

  const secretRoute = { schema: secretSchema, config: ADMIN };
  app.get('/endpoints/:name/secret', secretRoute, async ({ params }) => {
    const secret = await endpoints.secret(params.name);
    if (secret === null) throw await noSuchEndpoint(endpoints, params.name);
    return { secret };
  });

  const rotateRoute = { schema: rotateSchema, config: ADMIN };
  app.post('/endpoints/:name/rotate', rotateRoute, async ({ params, body }) => {
    const { overlap: overlapMs = DEFAULT_OVERLAP_MS, now = false } = body;
    const rotation = await endpoints.rotate(params.name, { overlapMs, now });
    if (rotation === null) throw await noSuchEndpoint(endpoints, params.name);
    const { secret, previousExpiresAt } = rotation;
    return { secret, previous_expires_at: timeOrNull(previousExpiresAt) };
  });
};

function switchSchema(action: string, summary: string) {
  return {
    tags,
    operationId: `${action}Endpoint`,
    summary,
    params: endpointParams,
    response: {
      200: jsonAnswer('The endpoint as it is now.', endpointSchema),
      ...ONE_ENDPOINT_PROBLEMS,
    },
  };
}

/** Most names that a refusal lists. */
const MAX_NAMES = 20;

/** What to throw for a name that no endpoint has; those that there are stand in its words. */
async function noSuchEndpoint(endpoints: EndpointService, name: string): Promise<RunwatchError> {
  return refusal('endpoint_not_found', unknownEndpoint(name, await endpoints.list()));
}

/** One sentence about a name that no endpoint has. */
export function unknownEndpoint(name: string, views: readonly EndpointView[]): string {
  const names = views.slice(0, MAX_NAMES).map((view) => view.name);
  const more = views.length > MAX_NAMES ? ` and ${views.length - MAX_NAMES} more` : '';
  return `no endpoint is named "${name}"; expected one of: ${names.join(', ')}${more}`;
}

type EndpointJson = z.output<typeof endpointSchema>;

/** An endpoint as the API shows it. */
export function presentEndpoint(endpoint: EndpointView): EndpointJson {
  return {
    name: endpoint.name,
    type: endpoint.type,
    url: endpoint.url,
    events: patternsInForce(endpoint.events),
    default: endpoint.default,
    counts: endpoint.counts,
    oldest_pending_at: timeOrNull(endpoint.oldestPendingAt),
    health: presentHealth(endpoint.health),
  };
}

export function presentHealth(health: EndpointHealth): EndpointJson['health'] {
  return {
    state: health.state,
    reason: health.reason,
    failing_since: timeOrNull(health.failingSince),
    next_probe_at: timeOrNull(health.nextProbeAt),
    throttled_until: timeOrNull(health.throttledUntil),
  };
}
