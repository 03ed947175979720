import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { RunwatchError } from '../../core/errors.ts';
import type { EventFilter, LoggedEvent, LogReset } from '../../core/event/event.ts';
import type { Complete } from '../../core/records.ts';
import type { TokenConfig } from '../../config/schema.ts';
import { LIMITED, LIMITED_HEAVY, sourcesMeant } from '../auth.ts';
import type { EventQuery, EventService } from '../events.ts';
import { presentPage } from '../present.ts';
import { refusal } from '../problem.ts';
import { COMMON_PROBLEMS, CURSOR_PROBLEMS, jsonAnswer } from '../schemas/common.ts';
import { eventPage, eventQuery, streamHeaders, streamQuery } from '../schemas/event.ts';
import type { Sessions } from '../session.ts';
import { EVENT_STREAM_TYPE, sendMessages, type StreamLimits, createStreamSlots } from '../sse.ts';
import type { Tokens } from '../tokens.ts';

const listSchema = {
  tags: ['Events'],
  operationId: 'listEvents',
  summary: 'List events, oldest first unless asked otherwise',
  querystring: eventQuery,
  response: {
    200: jsonAnswer('A page of events.', eventPage),
    ...COMMON_PROBLEMS,
    ...CURSOR_PROBLEMS,
  },
};

/** Reading events. */
export const eventRoutes: FastifyPluginAsyncZod<{ events: EventService }> = async (
  app,
  { events },
) => {
  app.get('/events', { schema: listSchema, config: LIMITED_HEAVY }, async ({ query, token }) => {
    const page = await events.list(insideOf(query, token));
    return presentPage(page, ({ event }) => event);
  });
};

/** Names the first cursor of a stream, so that a client which is cut off before any event can resume. */
const POSITION_HEADER = 'runwatch-cursor';

/** What a client with a stale cursor has to do. */
const RESET = JSON.stringify({
  reason: 'the store has lost data: list events, watches and deliveries anew',
});

interface EventStreamOptions {
  events: EventService;
  tokens: Tokens;
  sessions: Pick<Sessions, 'isEnded'>;
  limits: StreamLimits;
}

const streamSchema = {
  tags: ['Events'],
  operationId: 'streamEvents',
  summary: 'Follow events as they happen',
  description: `Server-sent events: \`id:\` is the cursor, \`event:\` the type, \`data:\` the event. \`Last-Event-ID\` or \`after\` resumes where a reader left off; where the store has lost data since, \`event: reset\` comes first; without either the stream begins now, at the cursor in the header \`${POSITION_HEADER}\`.`,
  querystring: streamQuery,
  headers: streamHeaders,
  response: {
    200: {
      description: 'Events until one side hangs up.',
      content: { [EVENT_STREAM_TYPE]: { schema: z.string() } },
    },
    ...COMMON_PROBLEMS,
  },
};

/** Following events by server-sent events. Streams end when the server closes. */
export const eventStreamRoute: FastifyPluginAsyncZod<EventStreamOptions> = async (
  app,
  { events, tokens, sessions, limits },
) => {
  const slots = createStreamSlots();
  // A token that was taken back reads no further.
  tokens.onReplaced(() => slots.end((token) => token !== null && !tokens.isInForce(token)));
  app.addHook('preClose', async () => slots.close());

  // A HEAD request for an endless answer would only hold a connection.
  const route = { schema: streamSchema, config: LIMITED, exposeHeadRoute: false };
  app.get('/events/stream', route, async (request, reply) => {
    const stream = slots.take(request.token);
    reply.raw.once('close', () => slots.release(stream));
    const filter = filterOf(request.query, request.token);
    const asked = request.headers['last-event-id'] ?? filter.after;
    await checkCursor(events, asked);
    const following = { ...filter, after: asked ?? (await events.position()) };
    if (stream.signal.aborted) throw refusal('closing', 'this process is ending; connect again');
    if (reply.sent) return;

    reply.type(EVENT_STREAM_TYPE).header(POSITION_HEADER, request.givenCursor(following.after));
    // nginx holds back what comes in pieces unless it hears otherwise.
    reply.header('x-accel-buffering', 'no').hijack();
    reply.raw.writeHead(200, reply.getHeaders() as OutgoingHttpHeaders);
    const watchdog = endWithSession(request, stream);
    try {
      const followed = events.follow(following, stream.signal);
      const messages = toMessages(followed, (cursor) => request.givenCursor(cursor));
      await sendMessages(reply.raw, messages, stream, limits);
    } catch (error) {
      if (!stream.signal.aborted) request.failure = error;
    } finally {
      clearInterval(watchdog);
      reply.raw.end();
    }
  });

  /** Ends a stream once its session is signed out, by whichever process. */
  function endWithSession({ session }: FastifyRequest, stream: AbortController) {
    if (session === null) return undefined;
    const check = async () => {
      if (await sessions.isEnded(session)) stream.abort();
    };
    return setInterval(() => void check(), limits.heartbeatMs);
  }
};

/** A query in the words of the inside, all of it. */
function insideOf(
  query: z.output<typeof eventQuery>,
  token: TokenConfig | null,
): Complete<EventQuery> {
  const { run_id: runId, type, workflow_id: workflowId, after, ...others } = query;
  const { since, until, limit, order, ...rest } = others;
  rest satisfies Record<string, never>;
  const { sources } = sourcesMeant(token);
  return { runId, type, workflowId, sources, after, since, until, limit, order };
}

/** The same of a stream, which has no end and one order. */
function filterOf(
  query: z.output<typeof streamQuery>,
  token: TokenConfig | null,
): Complete<EventFilter> {
  const { run_id: runId, type, workflow_id: workflowId, after, ...rest } = query;
  rest satisfies Record<string, never>;
  return { runId, type, workflowId, sources: sourcesMeant(token).sources, after };
}

/**
 * A bad cursor must be refused before the stream has begun: afterwards there is no status to send. One
 * of a store that lost data begins the stream by a reset, since readers that resume by themselves would
 * never get past a refusal.
 */
async function checkCursor(events: EventService, after: string | undefined): Promise<void> {
  if (after === undefined) return;
  await events.list({ after, limit: 1 }).catch((error: unknown) => {
    if (error instanceof RunwatchError && error.code === 'stale_cursor') return;
    throw error;
  });
}

async function* toMessages(
  events: AsyncIterable<LoggedEvent | LogReset>,
  givenCursor: (cursor: string) => string,
): AsyncIterable<string> {
  for await (const { cursor, event } of events) {
    const id = givenCursor(cursor);
    yield event === null
      ? `id: ${id}\nevent: reset\ndata: ${RESET}\n\n`
      : `id: ${id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
  }
}
