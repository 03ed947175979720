import { setTimeout as sleep } from 'node:timers/promises';
import { fullJitter, type Random } from '../core/backoff.ts';
import { RunwatchError } from '../core/errors.ts';
import type { DaemonClient } from './client.ts';
import type { SseMessage } from './sse.ts';
import type { Query } from './transport.ts';

const RECONNECT = { baseMs: 500, maxMs: 10_000 };

interface FollowOptions {
  client: Pick<DaemonClient, 'openEvents'>;
  query: Query;
  /** Only what comes after this; null for from now on. */
  after: string | null;
  signal: AbortSignal;
  random: Random;
  /** Hears when the stream breaks off, once for each time, and when it is there again. */
  onConnection(state: 'lost' | 'restored'): void;
}

/**
 * The data of the event stream's messages, across lost connections and restarts of the daemon: each
 * new connection goes on after the last id. Ends only with the signal, by throwing; throws as well
 * when the first connection fails, and on errors that no waiting will mend.
 */
export async function* followEvents(options: FollowOptions): AsyncGenerator<string> {
  const { client, query, signal, random, onConnection } = options;
  let lastId = options.after;
  let connected = false;
  let failures = 0;
  for (;;) {
    try {
      for await (const message of await connect()) {
        lastId = message.id ?? lastId;
        if (message.data !== null) yield message.data;
      }
    } catch (error) {
      if (!connected || !isPassing(error)) throw error;
    }
    signal.throwIfAborted();
    failures += 1;
    if (failures === 1) onConnection('lost');
    await sleep(fullJitter(RECONNECT, failures, random), undefined, { signal });
  }

  async function connect(): Promise<AsyncIterable<SseMessage>> {
    const messages = await client.openEvents(query, lastId);
    if (failures > 0) onConnection('restored');
    connected = true;
    failures = 0;
    return messages;
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof RunwatchError && error.retriable;
}
