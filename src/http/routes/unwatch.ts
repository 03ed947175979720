import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { LIMITED, requireScope } from '../auth.ts';
import { refusal } from '../problem.ts';
import { problemAnswer } from '../schemas/common.ts';
import { unwatchQuery, watchParams } from '../schemas/watch.ts';
import type { WatchService } from '../services.ts';
import { notWatched, ONE_WATCH_PROBLEMS, watchNamed } from './watches.ts';

const unwatchSchema = {
  tags: ['Watches'],
  params: watchParams,
  querystring: unwatchQuery,
  operationId: 'unwatch',
  summary: 'Stop watching a run',
  description:
    'A watch that has ended stays as it is. With `endpoint`, only that subscription ends. With `purge=true` the watch is erased, ended or not, with its events and deliveries; this needs a token with the scope `admin`, too.',
  response: {
    204: z.undefined().describe('The run is not watched any more, or the subscription has ended.'),
    ...ONE_WATCH_PROBLEMS,
    404: problemAnswer('The run was never watched, or has no such subscription.'),
  },
};

/** Ending watches and subscriptions, and erasing watches. */
export const unwatchRoutes: FastifyPluginAsyncZod<{ watches: WatchService }> = async (
  app,
  { watches },
) => {
  const unwatchRoute = { schema: unwatchSchema, config: LIMITED };
  app.delete('/watches/:run_id', unwatchRoute, async (request, reply) => {
    const { params, query } = request;
    if (query.purge === 'true') {
      requireScope(request, reply, 'admin');
      if (!(await watches.purge(watchNamed(request)))) throw notWatched(params.run_id);
      return reply.code(204).send();
    }
    const outcome = await watches.unwatch(watchNamed(request), query.endpoint);
    if (outcome === 'not_found') throw notWatched(params.run_id);
    if (outcome === 'not_subscribed') {
      throw refusal('subscription_not_found', 'this watch has no such subscription');
    }
    reply.code(204);
  });
};
