import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import type { Complete } from '../../core/records.ts';
import type { WebhookFilter } from '../../core/watch/watch.ts';
import { LIMITED, LIMITED_HEAVY, sourcesMeant } from '../auth.ts';
import { InvalidRequest } from '../problem.ts';
import { COMMON_PROBLEMS, jsonAnswer } from '../schemas/common.ts';
import { endedWebhooks, webhookList, webhookQuery } from '../schemas/watch-webhook.ts';
import type { WatchService } from '../watches.ts';
import type { WebhookService, WebhookView } from '../webhooks.ts';
import { presentHealth } from './endpoints.ts';
import { refuseUnknownSource } from './watches.ts';

const tags = ['Endpoints'];

const listSchema = {
  tags,
  operationId: 'listWebhooks',
  summary: 'List webhooks of active watches, and which tokens registered them',
  description:
    'By masked URL, those of the newest watches first: up to 200, of up to 10,000 watches.',
  querystring: webhookQuery,
  response: { 200: jsonAnswer('The webhooks.', webhookList), ...COMMON_PROBLEMS },
};

const endSchema = {
  tags,
  operationId: 'endWebhooks',
  summary: 'End webhooks of watches: all that a token registered, or all of a source',
  description:
    'Their watches go on, and deliveries that were planned before still go out. A webhook that another token registered too goes on for that one. `token` or `source` is needed.',
  querystring: webhookQuery,
  response: { 200: jsonAnswer('How many have ended.', endedWebhooks), ...COMMON_PROBLEMS },
};

interface WebhookOptions {
  webhooks: WebhookService;
  watches: WatchService;
}

/** Webhooks that came with watches. */
export const webhookRoutes: FastifyPluginAsyncZod<WebhookOptions> = async (
  app,
  { webhooks, watches },
) => {
  app.get('/webhooks', { schema: listSchema, config: LIMITED_HEAVY }, async ({ query, token }) => {
    const found = await webhooks.list(filterOf(query, token));
    if (found.webhooks.length === 0) {
      await refuseUnknownSource(query.source, { watches, token });
    }
    return { data: found.webhooks.map(presentWebhook), more: found.more };
  });

  const endRoute = { schema: endSchema, config: { ...LIMITED, scope: 'admin' as const } };
  app.delete('/webhooks', endRoute, async ({ query, token }) => {
    if (query.token === undefined && query.source === undefined) {
      const message = 'name the token or the source whose webhooks are to end';
      throw new InvalidRequest([{ path: 'query.token', message }]);
    }
    const filter = filterOf(query, token);
    await refuseUnknownSource(query.source, { watches, token });
    return { count: await webhooks.end(filter) };
  });
};

function filterOf(
  { token, source, ...rest }: z.output<typeof webhookQuery>,
  asking: FastifyRequest['token'],
): Complete<WebhookFilter> {
  rest satisfies Record<string, never>;
  return { token, sources: sourcesMeant(asking, source).sources };
}

function presentWebhook({ url, sources, registeredBy, watches, counts, health }: WebhookView) {
  return {
    url,
    sources,
    registered_by: registeredBy,
    watches,
    counts,
    health: presentHealth(health),
  };
}
