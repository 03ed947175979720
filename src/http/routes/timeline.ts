import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { LIMITED } from '../auth.ts';
import { presentTimeline } from '../present-timeline.ts';
import { jsonAnswer } from '../schemas/common.ts';
import { timelineSchema } from '../schemas/timeline.ts';
import type { WatchService } from '../services.ts';
import { notWatched, ONE_WATCH, ONE_WATCH_PROBLEMS, watchNamed } from './watches.ts';

const timelineRouteSchema = {
  ...ONE_WATCH,
  operationId: 'getTimeline',
  summary: 'Show what happened around a run',
  description:
    'States, polls, events and deliveries on one axis of time. They say when and how late a receiver was notified, and what took the time.',
  response: { 200: jsonAnswer('The timeline.', timelineSchema), ...ONE_WATCH_PROBLEMS },
};

/** The timeline of a watch. */
export const timelineRoute: FastifyPluginAsyncZod<{ watches: WatchService }> = async (
  app,
  { watches },
) => {
  app.get(
    '/watches/:run_id/timeline',
    { schema: timelineRouteSchema, config: LIMITED },
    async ({ params, query, token }) => {
      const timeline = await watches.timeline(watchNamed({ params, query, token }));
      if (timeline === null) throw notWatched(params.run_id);
      return presentTimeline(timeline);
    },
  );
};
