import type { Redis } from 'ioredis';

/**
 * Wakes other processes: something is due now that was not before. A message only names what; it may
 * be lost, which costs the time until the next look.
 */
export class WakeChannel {
  private readonly listeners = new Map<string, () => void>();

  /** @param subscriber a connection of its own, since a subscribed one can do nothing else */
  constructor(
    private readonly redis: Redis,
    subscriber: Redis,
    private readonly channel: string,
  ) {
    subscriber.on('message', (_, name: string) => this.listeners.get(name)?.());
    const subscribe = () => void subscriber.subscribe(channel).catch(() => undefined);
    subscriber.on('ready', subscribe);
    if (subscriber.status === 'ready') subscribe();
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
