import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { TokenConfig } from '../../config/schema.ts';
import { shownReceiver } from '../../core/delivery/receiver.ts';
import { isoTime } from '../../core/event/event.ts';
import type { Timeline } from '../../core/watch/timeline.ts';
import type { Subscription } from '../../core/watch/watch.ts';
import { LIMITED, LIMITED_OR_ADMIN, mayRead, requireScope, sourcesMeant } from '../auth.ts';
import {
  presentAcknowledgement,
  patternsInForce,
  presentDelivery,
  presentResult,
  timeOrNull,
} from '../present.ts';
import { InvalidRequest, refusal } from '../problem.ts';
import {
  acknowledgeRequest,
  BODY_PROBLEMS,
  COMMON_PROBLEMS,
  jsonAnswer,
  problemAnswer,
} from '../schemas/common.ts';
import { timelineSchema } from '../schemas/timeline.ts';
import {
  pollAnswer,
  unwatchQuery,
  watchKeyQuery,
  watchOrReceipt,
  watchParams,
  watchSchema,
} from '../schemas/watch.ts';
import type { WatchName, WatchService, WatchView } from '../watches.ts';

const tags = ['Watches'];

const ONE_WATCH = { tags, params: watchParams, querystring: watchKeyQuery };
const ONE_WATCH_PROBLEMS = {
  ...COMMON_PROBLEMS,
  404: problemAnswer('The run is not watched.'),
  409: problemAnswer('Several sources have the run; the answer names them.'),
};

const readSchema = {
  ...ONE_WATCH,
  operationId: 'getWatch',
  summary: 'Show one watch',
  response: { 200: jsonAnswer('The watch.', watchSchema), ...ONE_WATCH_PROBLEMS },
};

const pollSchema = {
  ...ONE_WATCH,
  operationId: 'pollWatch',
  summary: 'Poll a run now',
  response: {
    202: jsonAnswer('The run is polled as soon as its source takes requests.', pollAnswer),
    ...ONE_WATCH_PROBLEMS,
    409: problemAnswer('The watch has ended, or several sources have the run.'),
  },
};

const timelineRouteSchema = {
  ...ONE_WATCH,
  operationId: 'getTimeline',
  summary: 'Show what happened around a run',
  description:
    'States, polls, events and deliveries on one axis of time. They say when and how late a receiver was notified, and what took the time.',
  response: { 200: jsonAnswer('The timeline.', timelineSchema), ...ONE_WATCH_PROBLEMS },
};

const unwatchSchema = {
  ...ONE_WATCH,
  querystring: unwatchQuery,
  operationId: 'unwatch',
  summary: 'Stop watching a run',
  description:
    'A watch that has ended stays as it is. With `endpoint`, only that subscription ends. With `purge=true` the watch is erased, ended or not, with its events and deliveries; this needs the scope `admin` instead.',
  response: {
    204: z.undefined().describe('The run is not watched any more, or the subscription has ended.'),
    ...ONE_WATCH_PROBLEMS,
    404: problemAnswer('The run was never watched, or has no such subscription.'),
  },
};

/** Reading, polling and ending one watch. */
export const watchRoutes: FastifyPluginAsyncZod<{ watches: WatchService }> = async (
  app,
  { watches },
) => {
  app.get(
    '/watches/:run_id',
    { schema: readSchema, config: LIMITED },
    async ({ params, query, token }) => {
      const watch = await watches.get(watchNamed({ params, query, token }));
      if (watch === null) throw notWatched(params.run_id);
      return presentWatch(watch);
    },
  );

  const pollRoute = { schema: pollSchema, config: LIMITED };
  app.post('/watches/:run_id/poll', pollRoute, async (request, reply) => {
    const { params } = request;
    const outcome = await watches.pollNow(watchNamed(request));
    if (outcome === 'not_found') throw notWatched(params.run_id);
    if (outcome === 'not_active') {
      throw refusal('watch_not_active', 'the watch has ended; register the run to watch it again');
    }
    reply.code(202);
    const { closed } = outcome;
    return { paused_until: closed && isoTime(closed.probeAt), message: closed?.message ?? null };
  });

  app.get(
    '/watches/:run_id/timeline',
    { schema: timelineRouteSchema, config: LIMITED },
    async ({ params, query, token }) => {
      const timeline = await watches.timeline(watchNamed({ params, query, token }));
      if (timeline === null) throw notWatched(params.run_id);
      return presentTimeline(timeline);
    },
  );

  const unwatchRoute = { schema: unwatchSchema, config: LIMITED_OR_ADMIN };
  app.delete('/watches/:run_id', unwatchRoute, async (request, reply) => {
    const { params, query } = request;
    requireScope(request, reply, query.purge === 'true' ? 'admin' : 'write');
    if (query.purge === 'true') {
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
    async ({ params, query, body, token }) => {
      const named = watchNamed({ params, query, token });
      const watch = await watches.acknowledge(named, body);
      if (watch === 'not_found') throw notWatched(params.run_id);
      if (watch === 'past') throw new InvalidRequest([UNTIL_IS_PAST]);
      return presentReceipt(watch, token);
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

/** The watch that a request names, within the sources of its token. */
function watchNamed({ params, query, token }: NamingRequest): WatchName {
  return { runId: params.run_id, ...sourcesMeant(token, query.source) };
}

interface NamingRequest extends Pick<FastifyRequest, 'token'> {
  params: { run_id: string };
  query: { source?: string | undefined };
}

function notWatched(runId: string) {
  return refusal('watch_not_found', `the run ${runId} is not watched`);
}

export type WatchJson = z.output<typeof watchSchema>;

/** A watch as the API shows it. */
export function presentWatch(watch: WatchView): WatchJson {
  return {
    run_id: watch.runId,
    source: watch.source,
    registered_by: watch.registeredBy,
    state: watch.state,
    run: watch.run,
    workflow_name: watch.workflowName,
    run_url: watch.runUrl,
    changed_at: isoTime(watch.changedAt),
    acknowledged: presentAcknowledgement(watch.acknowledged),
    metadata: watch.metadata,
    subscriptions: watch.subscriptions.map(presentSubscription),
    sequence: watch.sequence,
    polls: watch.polls,
    registered_at: isoTime(watch.registeredAt),
    last_polled_at: timeOrNull(watch.lastPolledAt),
    next_poll_at: timeOrNull(watch.nextPollAt),
    timeout_at: isoTime(watch.timeoutAt),
    error: presentError(watch),
  };
}

/** A watch as a change of it is answered with. */
export function presentReceipt(
  watch: WatchView,
  token: TokenConfig | null,
): z.output<typeof watchOrReceipt> {
  return mayRead(token) ? presentWatch(watch) : { run_id: watch.runId, source: watch.source };
}

/** A webhook's URL is masked, its secret and headers are left out; its patterns are those in force. */
function presentSubscription(subscription: Subscription): WatchJson['subscriptions'][number] {
  return subscription.kind === 'endpoint'
    ? { endpoint: subscription.endpoint }
    : {
        url: shownReceiver(subscription.receiver),
        events: patternsInForce(subscription.events),
      };
}

/** Why the state of the run is unknown: it is gone, or not found so far, or polls fail. */
function presentError({ gone, missing, trouble }: WatchView): WatchJson['error'] {
  if (gone !== null) return { ...gone, since: isoTime(gone.since) };
  if (missing !== null) {
    const { code, message, since } = missing;
    return { code, message, since: isoTime(since) };
  }
  return trouble && { code: trouble.kind, message: trouble.message, since: isoTime(trouble.since) };
}

type TimelineJson = z.output<typeof timelineSchema>;

/** A timeline as the API shows it. */
function presentTimeline(timeline: Timeline): TimelineJson {
  return {
    states: timeline.states.map(({ at, until, status, progress }) => ({
      at: isoTime(at),
      until: until === null ? null : isoTime(until),
      status,
      progress,
    })),
    polls: timeline.polls.map(({ at, mode, outcome, durationMs, lagMs }) => ({
      at: isoTime(at),
      kind: mode,
      outcome,
      duration_ms: durationMs,
      lag_ms: lagMs,
    })),
    events: timeline.events.map(presentTimedEvent),
    deliveries: timeline.deliveries.map(({ delivery, attempts, split }) => ({
      ...presentDelivery(delivery),
      relay_ms: split.relayMs,
      receiver_ms: split.receiverMs,
      attempts: attempts.map((one) => ({ at: isoTime(one.at), ...presentResult(one) })),
    })),
    truncated: timeline.isCut,
  };
}

function presentTimedEvent({ event, split }: Timeline['events'][number]) {
  const { detected_at: at } = event.data;
  return { ...event, at, waiting_ms: split.waitingMs, poll_ms: split.pollMs };
}
