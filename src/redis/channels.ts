import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { parseWatchId, watchId, type WatchKey } from '../core/watch/watch.ts';
import type { Subscriber } from './subscriber.ts';

/** Listeners read the log this often without a ring, ms: one may be lost. */
const READ_EVERY_MS = 5_000;

/** One listener's end of the bell. */
interface Ear {
  /** The next ring from now. Ask before you look, and nothing that happens meanwhile is missed. */
  next(): Promise<void>;
  close(): void;
}

/**
 * Rings in every process when events were appended to the log. A ring says how far
 * the log has come; listeners read the log, so that a lost ring costs time and never an event.
 */
export class EventBell {
  private readonly listeners = new Set<() => void>();
  private changeCount = 0;
  private onPlace: (place: number, epoch: string) => void = () => undefined;

  constructor(subscriber: Subscriber, channel: string) {
    const onMessage = (text: string) => {
      const [place = '', epoch = ''] = text.split(' ');
      this.onPlace(Number(place), epoch);
      this.wakeAll();
    };
    // A change while the connection was away made no message: listeners look for themselves.
    subscriber.hear(channel, { onMessage, onSubscribed: () => this.wakeAll() });
  }

  /** Passes on how far the log has come, and in which epoch of the store, with each ring. */
  heed(onPlace: (place: number, epoch: string) => void): void {
    this.onPlace = onPlace;
  }

  /** Listens until `close`; the signal rings too, so that a waiting listener notices it. */
  listen(signal: AbortSignal): Ear {
    let wake: (() => void) | undefined;
    const listener = () => wake?.();
    this.listeners.add(listener);
    signal.addEventListener('abort', listener);
    const timer = setInterval(listener, READ_EVERY_MS).unref();
    return {
      next: () =>
        new Promise((resolve) => {
          wake = resolve;
        }),
      close: () => {
        clearInterval(timer);
        this.listeners.delete(listener);
        signal.removeEventListener('abort', listener);
      },
    };
  }

  /** How often the log has changed, as far as this process knows. */
  get changes(): number {
    return this.changeCount;
  }

  /** Rings in this process: something of the log is not as it was. */
  wakeAll(): void {
    this.changeCount += 1;
    for (const listener of this.listeners) listener();
  }
}

/**
 * Names, in every process, the pools at which deliveries have become due. A message that is lost costs
 * time and never a delivery: processes also read what is due now and then.
 */
export class DueBell {
  private listener: (pools: string[]) => void = () => undefined;

  constructor(subscriber: Subscriber, channel: string) {
    subscriber.hear(channel, { onMessage: (text) => this.listener(text.split('\n')) });
  }

  listen(listener: (pools: string[]) => void): void {
    this.listener = listener;
  }
}

/**
 * Wakes other processes: something is due now that was not before. A message only names what; it may
 * be lost, which costs the time until the next sweep.
 */
export class WakeChannel {
  private readonly listeners = new Map<string, () => void>();

  constructor(
    private readonly redis: Redis,
    subscriber: Subscriber,
    private readonly channel: string,
  ) {
    subscriber.hear(channel, { onMessage: (name) => this.listeners.get(name)?.() });
  }

  /** Calls the listener at each message of a name; one for each name. */
  on(name: string, listener: () => void): void {
    this.listeners.set(name, listener);
  }

  /** Wakes every process, this one too. */
  async wake(name: string): Promise<void> {
    await this.redis.publish(this.channel, name);
  }
}

/** What of watches processes tell one another. */
export interface WatchNotice {
  kind: 'registered' | 'ended';
  keys: WatchKey[];
}

const MARKS = { registered: '+', ended: '-' } as const;

/** Notifies the other processes of watches that were registered or have ended. A notice may be lost. */
export class WatchChannel {
  /** Begins each notice of this process, which gets them, too. */
  private readonly sender = randomUUID();
  private listener: (notice: WatchNotice) => void = () => undefined;

  constructor(
    private readonly redis: Redis,
    subscriber: Subscriber,
    private readonly channel: string,
  ) {
    subscriber.hear(channel, {
      onMessage: (text) => {
        if (!text.startsWith(this.sender)) this.listener(parseNotice(text));
      },
    });
  }

  async publish({ kind, keys }: WatchNotice): Promise<void> {
    const lines = [`${this.sender}${MARKS[kind]}`, ...keys.map((key) => watchId(key))];
    await this.redis.publish(this.channel, lines.join('\n'));
  }

  listen(listener: (notice: WatchNotice) => void): void {
    this.listener = listener;
  }
}

function parseNotice(text: string): WatchNotice {
  const [head = '', ...ids] = text.split('\n');
  return {
    kind: head.endsWith(MARKS.registered) ? 'registered' : 'ended',
    keys: ids.map(parseWatchId),
  };
}
