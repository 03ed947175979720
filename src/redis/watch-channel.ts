import type { Redis } from 'ioredis';
import { parseWatchId, watchId, type WatchKey } from '../core/watch.ts';

/** What of watches processes tell one another. */
export interface WatchNotice {
  kind: 'registered' | 'ended';
  keys: WatchKey[];
}

const MARKS = { registered: '+', ended: '-' } as const;

/** Tells all processes of watches that were registered or have ended. A notice may be lost. */
export class WatchChannel {
  private listener: (notice: WatchNotice) => void = () => undefined;

  /** @param subscriber a connection of its own */
  constructor(
    private readonly redis: Redis,
    subscriber: Redis,
    private readonly channel: string,
  ) {
    subscriber.on('message', (_channel, text: string) => this.listener(parseNotice(text)));
    subscriber.on('ready', () => void subscriber.subscribe(channel).catch(() => undefined));
  }

  async publish({ kind, keys }: WatchNotice): Promise<void> {
    const ids = keys.map((key) => watchId(key));
    await this.redis.publish(this.channel, `${MARKS[kind]}${ids.join('\n')}`);
  }

  listen(listener: (notice: WatchNotice) => void): void {
    this.listener = listener;
  }
}

function parseNotice(text: string): WatchNotice {
  return {
    kind: text.startsWith(MARKS.registered) ? 'registered' : 'ended',
    keys: text.slice(1).split('\n').map(parseWatchId),
  };
}
