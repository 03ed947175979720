import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { TokenConfig } from '../config/schema.ts';
import { RunwatchError } from '../core/errors.ts';
import type { EventFilter, LoggedEvent, LogReset } from '../core/event/event.ts';
import type { Page } from '../core/page.ts';
import type { Complete } from '../core/records.ts';
import { withMoments, type WhenRange } from '../core/time.ts';
import type { Process } from '../process.ts';
import { sourcesMeant } from './auth.ts';
import { presentPage } from './present.ts';
import { refusal } from './problem.ts';
import type { Requests, Slice } from './routing.ts';
import { runsMeant } from './runs-meant.ts';
import type { streamHeaders } from './schemas/event.ts';
import type { Routes } from './schemas/routes.ts';
import type { Sessions } from './session.ts';
import { createStreamSlots, EVENT_STREAM_TYPE, sendMessages, type StreamLimits } from './sse.ts';
import type { Tokens } from './tokens.ts';

/** Events as a request names them: by the id of a run, of whichever source. */
interface AskedEvents extends Omit<EventFilter, 'runs'> {
  runId?: string | undefined;
}

export interface EventQuery extends AskedEvents, WhenRange {
  limit: number;
  order?: 'oldest' | 'newest' | undefined;
}

/** Reads the log of events. */
export class EventService {
  constructor(private readonly process: Process) {}

  /** Oldest first unless asked otherwise. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  async list({ limit, order, runId, ...asked }: EventQuery): Promise<Page<LoggedEvent>> {
    const { process } = this;
    const runs = await runsMeant(process, { runId, sources: asked.sources });
    const filter = { ...asked, runs };
    const { events } = process.stores;
    const page = await events.list(withMoments(filter, process.now()), { limit, order });
    return { ...page, items: await this.named(page.items) };
  }

  /** The cursor of the latest event: what a follower of everything new starts from. */
  position(): Promise<string> {
    return this.process.stores.events.position();
  }

  /** What comes after `asked.after`; ends with the signal. */
  async follow(
    { runId, ...asked }: AskedEvents & { after: string },
    signal: AbortSignal,
  ): Promise<AsyncIterable<LoggedEvent | LogReset>> {
    const runs = await runsMeant(this.process, { runId, sources: asked.sources });
    const followed = this.process.stores.events.follow({ ...asked, runs }, signal);
    return this.following(followed);
  }

  private async *following(
    followed: AsyncIterable<LoggedEvent | LogReset>,
  ): AsyncIterable<LoggedEvent | LogReset> {
    for await (const logged of followed) {
      if (logged.event === null) yield logged;
      else yield* await this.named([logged]);
    }
  }

  /** Events name workflows and nodes as they are known now. */
  private async named(logged: readonly LoggedEvent[]): Promise<LoggedEvent[]> {
    const events = await this.process.knownNames.named(logged.map(({ event }) => event));
    return logged.map((one, at) => ({ ...one, event: events[at] ?? one.event }));
  }
}

/** Names the first cursor of a stream, so that a client which is cut off before any event can resume. */
const POSITION_HEADER = 'runwatch-cursor';

/** What a client with a stale cursor has to do. */
const RESET = JSON.stringify({
  reason: 'the store has lost data: list events, watches and deliveries anew',
});

type Own = Routes['events'];
type Asked = Requests<Own>;

/** Lists events, and streams them. Streams end with the server, and with their token or session. */
export class EventSlice implements Slice<Own> {
  private readonly slots = createStreamSlots();

  constructor(
    private readonly events: EventService,
    tokens: Tokens,
    private readonly sessions: Pick<Sessions, 'isEnded'>,
    private readonly limits: StreamLimits,
  ) {
    // A token that was taken back reads no further, nor a client without one where one is needed.
    const isOver = (token: TokenConfig | null) =>
      token === null ? tokens.areNeeded() : !tokens.isInForce(token);
    tokens.onReplaced(() => this.slots.end(isOver));
  }

  /** Ends all streams. */
  close(): void {
    this.slots.close();
  }

  async list({ query, token }: Asked['list']) {
    const page = await this.events.list(insideOf(query, token));
    return presentPage(page, ({ event }) => event);
  }

  async stream(request: FastifyRequest & Asked['stream'], reply: FastifyReply): Promise<void> {
    const { events, limits, slots } = this;
    const stream = slots.take(request.token);
    reply.raw.once('close', () => slots.release(stream));
    // The client may have left while its session was looked up: nothing says so again.
    if (reply.raw.destroyed) {
      reply.hijack();
      return slots.release(stream);
    }
    const filter = filterOf(request.query, request.token);
    const { 'last-event-id': lastId } = request.headers as z.output<typeof streamHeaders>;
    const asked = lastId ?? filter.after;
    await checkCursor(events, asked);
    const following = { ...filter, after: asked ?? (await events.position()) };
    const followed = await events.follow(following, stream.signal);
    if (stream.signal.aborted) throw refusal('closing', 'this process is ending; connect again');
    if (reply.sent) return;

    reply.type(EVENT_STREAM_TYPE).header(POSITION_HEADER, request.givenCursor(following.after));
    // nginx holds back what comes in pieces unless it hears otherwise.
    reply.header('x-accel-buffering', 'no').hijack();
    reply.raw.writeHead(200, reply.getHeaders() as OutgoingHttpHeaders);
    const watchdog = this.endWithSession(request, stream);
    try {
      const messages = toMessages(followed, (cursor) => request.givenCursor(cursor));
      await sendMessages(reply.raw, messages, stream, limits);
    } catch (error) {
      if (!stream.signal.aborted) request.failure = error;
    } finally {
      clearInterval(watchdog);
      reply.raw.end();
    }
  }

  /** Ends a stream once its session is signed out, by whichever process. */
  private endWithSession({ session }: FastifyRequest, stream: AbortController) {
    if (session === null) return undefined;
    const check = async () => {
      if (await this.sessions.isEnded(session)) stream.abort();
    };
    return setInterval(() => void check(), this.limits.heartbeatMs);
  }
}

/** A query in the words of the inside, all of it. */
function insideOf(query: Asked['list']['query'], token: TokenConfig | null): Complete<EventQuery> {
  const { run_id: runId, type, workflow_id: workflowId, after, ...others } = query;
  const { since, until, limit, order, ...rest } = others;
  rest satisfies Record<string, never>;
  const { sources } = sourcesMeant(token);
  return { runId, type, workflowId, sources, after, since, until, limit, order };
}

/** The same of a stream, which has no end and one order. */
function filterOf(
  query: Asked['stream']['query'],
  token: TokenConfig | null,
): Complete<AskedEvents> {
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
