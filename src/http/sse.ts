import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { TokenConfig } from '../config/schema.ts';
import { refusal } from './problem.ts';

/** Source: HTML Living Standard, section 9.2, "Server-sent events". */
export const EVENT_STREAM_TYPE = 'text/event-stream';

/** Bounds of a stream, in milliseconds. */
export interface StreamLimits {
  /** Time between comments that keep an idle connection alive, through proxies too. */
  heartbeatMs: number;
  /** How long a reader may leave what was sent unread before it is hung up on. */
  stallMs: number;
}

/**
 * Writes messages as they come until they end, the reader goes, or `stream` is aborted, and then
 * returns. Nothing is taken from `messages` while the reader has not read what was sent, so that
 * no more is buffered than one message and what the socket holds.
 * @param messages whole messages in wire form; must end when `stream` is aborted
 */
export async function sendMessages(
  response: ServerResponse,
  messages: AsyncIterable<string>,
  stream: AbortController,
  { heartbeatMs, stallMs }: StreamLimits,
): Promise<void> {
  const hangUp = () => stream.abort();
  response.once('close', hangUp);
  // A reader that vanishes is an end like any other; `close` follows.
  response.on('error', hangUp);
  const heartbeat = setInterval(() => {
    if (!response.writableNeedDrain) response.write(comment('heartbeat'));
  }, heartbeatMs);
  if (response.destroyed) hangUp();
  try {
    response.write(comment('following'));
    for await (const message of messages) {
      if (stream.signal.aborted) break;
      if (!response.write(message)) await drained(response, stream.signal, stallMs);
    }
  } finally {
    clearInterval(heartbeat);
    response.off('close', hangUp);
  }
}

/** A line without the blank one after it: some clients take each blank line for a message. */
function comment(text: string): string {
  return `: ${text}\n`;
}

async function drained(
  response: ServerResponse,
  signal: AbortSignal,
  stallMs: number,
): Promise<void> {
  const stalled = setTimeout(() => response.destroy(), stallMs);
  try {
    await once(response, 'drain', { signal });
  } finally {
    clearTimeout(stalled);
  }
}

/** Each open stream holds a connection and a reader of the event log. */
const MAX_STREAMS = 100;

/** One token leaves room for the others. */
const MAX_STREAMS_OF_TOKEN = MAX_STREAMS / 4;

/** The slots of event streams, which are limited. */
interface StreamSlots {
  /**
   * Takes a slot, before anything is awaited: a later count would let any number through.
   * Throws RunwatchError `too_many_streams`, `closing`.
   * @param token null without tokens
   * @returns aborts when the server closes
   */
  take(token: TokenConfig | null): AbortController;
  release(stream: AbortController): void;
  /** Ends the streams of some tokens. */
  end(isEnded: (token: TokenConfig | null) => boolean): void;
  /** Ends all streams; no slot is given any more. */
  close(): void;
}

export function createStreamSlots(): StreamSlots {
  const open = new Map<AbortController, TokenConfig | null>();
  let isClosed = false;
  return {
    take(token) {
      if (isClosed) throw refusal('closing', 'this process is ending; connect again');
      if (open.size >= MAX_STREAMS) {
        throw refusal('too_many_streams', `this server keeps up to ${MAX_STREAMS} streams open`);
      }
      const own = [...open.values()].filter((one) => one?.name === token?.name).length;
      if (token !== null && own >= MAX_STREAMS_OF_TOKEN) {
        const most = `one token holds up to ${MAX_STREAMS_OF_TOKEN} of ${MAX_STREAMS} streams`;
        throw refusal('too_many_streams', `${most}, and "${token.name}" has that many open`);
      }
      const stream = new AbortController();
      open.set(stream, token);
      return stream;
    },
    release(stream) {
      open.delete(stream);
    },
    end(isEnded) {
      for (const [stream, token] of open) {
        if (isEnded(token)) stream.abort();
      }
    },
    close() {
      isClosed = true;
      for (const stream of open.keys()) stream.abort();
    },
  };
}
