import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { LIMITED, mayRead } from '../auth.ts';
import { presentReceipt } from '../present.ts';
import { InvalidRequest } from '../problem.ts';
import { acknowledgeRequest } from '../schemas/acknowledgement.ts';
import { BODY_PROBLEMS, jsonAnswer } from '../schemas/common.ts';
import { watchOrReceipt } from '../schemas/watch.ts';
import type { WatchService } from '../services.ts';
import { notWatched, ONE_WATCH, ONE_WATCH_PROBLEMS, watchNamed } from './watches.ts';

const acknowledgeSchema = {
  ...ONE_WATCH,
  operationId: 'acknowledgeWatch',
  summary: 'Say that a run is taken in hand',
  description:
    'There are no reminders and no escalation until its state changes, or until the time that is given. A token that may not read gets a receipt.',
  body: acknowledgeRequest,
  response: {
    200: jsonAnswer('The run is acknowledged.', watchOrReceipt),
    ...BODY_PROBLEMS,
    ...ONE_WATCH_PROBLEMS,
  },
};

const withdrawSchema = {
  ...ONE_WATCH,
  operationId: 'withdrawAcknowledgement',
  summary: 'Take back that a run is taken in hand',
  response: {
    204: z.undefined().describe('The run is not acknowledged any more.'),
    ...ONE_WATCH_PROBLEMS,
  },
};

const UNTIL_IS_PAST = { path: 'until', message: 'expected a time that is still to come' };

/** Acknowledging runs. */
export const acknowledgementRoutes: FastifyPluginAsyncZod<{ watches: WatchService }> = async (
  app,
  { watches },
) => {
  app.post(
    '/watches/:run_id/acknowledge',
    { schema: acknowledgeSchema, config: LIMITED },
    async ({ params, query, body, token, scopes }) => {
      const named = watchNamed({ params, query, token });
      const watch = await watches.acknowledge(named, body);
      if (watch === 'not_found') throw notWatched(params.run_id);
      if (watch === 'past') throw new InvalidRequest([UNTIL_IS_PAST]);
      return presentReceipt(watch, { mayRead: mayRead(scopes) });
    },
  );

  app.delete(
    '/watches/:run_id/acknowledge',
    { schema: withdrawSchema, config: LIMITED },
    async (request, reply) => {
      const isKnown = await watches.withdraw(watchNamed(request));
      if (!isKnown) throw notWatched(request.params.run_id);
      reply.code(204);
    },
  );
};
