import type { Redis } from 'ioredis';

/** One listener's end of the bell. */
interface Ear {
  /** The next ring from now. Ask before you look, and nothing that happens meanwhile is missed. */
  next(): Promise<void>;
  close(): void;
}

/**
 * Rings in every process when events were appended to the log. A ring carries nothing: listeners
 * read the log, so that a lost ring costs time and never an event.
 */
export class EventBell {
  private readonly listeners = new Set<() => void>();

  /** @param subscriber a connection of its own, since a subscribed one can do nothing else */
  constructor(subscriber: Redis, channel: string) {
    const ring = () => this.ring();
    subscriber.on('message', ring);
    // Whatever was rung while the connection was away is made good for by a ring of our own.
    subscriber.on('ready', () => {
      subscriber.subscribe(channel).then(ring, ring);
    });
  }

  /** Listens until `close`; the signal rings too, so that a waiting listener notices it. */
  listen(signal: AbortSignal): Ear {
    let wake: (() => void) | undefined;
    const listener = () => wake?.();
    this.listeners.add(listener);
    signal.addEventListener('abort', listener);
    return {
      next: () =>
        new Promise((resolve) => {
          wake = resolve;
        }),
      close: () => {
        this.listeners.delete(listener);
        signal.removeEventListener('abort', listener);
      },
    };
  }

  private ring(): void {
    for (const listener of this.listeners) listener();
  }
}
