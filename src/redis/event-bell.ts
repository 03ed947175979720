import type { Redis } from 'ioredis';

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
  private onPlace: (place: number, epoch: string) => void = () => undefined;

  /** @param subscriber a connection of its own, since a subscribed one can do nothing else */
  constructor(subscriber: Redis, channel: string) {
    const ring = () => this.ring();
    subscriber.on('message', (_channel, text: string) => {
      const [place = '', epoch = ''] = text.split(' ');
      this.onPlace(Number(place), epoch);
      this.ring();
    });
    // Whatever was rung while the connection was away is made good for by a ring of our own.
    subscriber.on('ready', () => {
      subscriber.subscribe(channel).then(ring, ring);
    });
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

  /** Rings in this process: something of the log is not as it was. */
  ring(): void {
    for (const listener of this.listeners) listener();
  }
}
