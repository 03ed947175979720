import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { presentTimeline } from '../present-timeline.ts';
import { jsonAnswer } from '../schemas/common.ts';
import { timelineSchema } from '../schemas/timeline.ts';
import type { WatchService } from '../services.ts';
import { notWatched, ONE_WATCH, ONE_WATCH_PROBLEMS } from './watches.ts';

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
    { schema: timelineRouteSchema },
    async ({ params, query }) => {
      const timeline = await watches.timeline({ runId: params.run_id, ...query });
      if (timeline === null) throw notWatched(params.run_id);
      return presentTimeline(timeline);
    },
  );
};
