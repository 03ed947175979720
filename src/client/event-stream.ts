import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { fullJitter, type Random } from '../core/backoff.ts';
import { RunwatchError } from '../core/errors.ts';
import { SseParser, type SseMessage } from '../core/event/sse.ts';
import { misfit } from './answer.ts';
import { notADaemon } from './errors.ts';
import { eventOfAnyType, ownEventOfAnyType } from '../http/schemas/event.ts';
import type { AnyEventView, EventStreamQuery } from './types.ts';

/** Largest event that is held, bytes: more than any event can have. */
const MAX_EVENT_BYTES = 4 * 1024 * 1024;

const RECONNECT = { baseMs: 500, maxMs: 10_000 };

/** `lost` once for each time that the stream breaks off; `reset`: events may be missing. */
export type ConnectionState = 'lost' | 'restored' | 'reset';

/** Where events come from: the client of a daemon. */
interface EventSource {
  /** Where the daemon answers. */
  url: string;
  openEvents(query: EventStreamQuery, lastId: string | null): Promise<AsyncIterable<SseMessage>>;
}

interface FollowOptions {
  client: EventSource;
  query: EventStreamQuery;
  /** Only what comes after this; null for from now on. */
  after: string | null;
  signal: AbortSignal;
  random: Random;
  /**
   * Hears when the stream breaks off, once for each time, when it is there again, and when the store has
   * lost data, so that events may be missing.
   */
  onConnection: (state: ConnectionState) => void;
}

/**
 * The events of the stream, across lost connections and restarts of the daemon: each new connection
 * goes on after the last id. Ends only with the signal, by throwing; throws as well when the first
 * connection fails, and on errors that no waiting will mend.
 */
export async function* followEvents(options: FollowOptions): AsyncGenerator<AnyEventView> {
  const { signal, random, onConnection } = options;
  const position = { lastId: options.after };
  let messages = await options.client.openEvents(options.query, position.lastId);
  for (;;) {
    try {
      yield* eventsOf(messages, position, options);
    } catch (error) {
      if (!isPassing(error)) throw error;
    }
    onConnection('lost');
    messages = await reconnect();
    onConnection('restored');
  }

  async function reconnect(): Promise<AsyncIterable<SseMessage>> {
    for (let failures = 1; ; failures += 1) {
      await sleep(fullJitter(RECONNECT, failures, random), undefined, { signal });
      try {
        return await options.client.openEvents(options.query, position.lastId);
      } catch (error) {
        if (!isPassing(error)) throw error;
      }
    }
  }
}

/** The events of one connection; keeps account of how far they have come. */
async function* eventsOf(
  messages: AsyncIterable<SseMessage>,
  position: { lastId: string | null },
  { client: { url }, onConnection }: Pick<FollowOptions, 'client' | 'onConnection'>,
): AsyncGenerator<AnyEventView> {
  for await (const { id, event, data } of messages) {
    position.lastId = id ?? position.lastId;
    if (event === 'reset') onConnection('reset');
    else if (data !== null) yield parseEvent(data, url);
  }
}

/** Any event of the log, also of a type that only a newer daemon has. */
export const loggedEvent = z.union([eventOfAnyType, ownEventOfAnyType]);

function parseEvent(data: string, url: string): AnyEventView {
  try {
    const event: unknown = JSON.parse(data);
    if (misfit(event, loggedEvent) === null) return event as AnyEventView;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw notADaemon(url, 'its stream holds something that is not an event');
}

function isPassing(error: unknown): boolean {
  return error instanceof RunwatchError && error.retriable;
}

/** The messages of a stream. Throws RunwatchError `not_a_daemon` for an endless one. */
export async function* readSse(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<SseMessage> {
  const parser = new SseParser(MAX_EVENT_BYTES);
  for await (const chunk of chunks) {
    yield* parser.push(chunk);
    if (parser.isTooLarge) {
      throw new RunwatchError('the event stream holds an endless event', { code: 'not_a_daemon' });
    }
  }
}
