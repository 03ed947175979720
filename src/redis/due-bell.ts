import type { Redis } from 'ioredis';

/**
 * Names, in every process, the pools at which deliveries have become due. A message that is lost costs
 * time and never a delivery: processes also read what is due now and then.
 */
export class DueBell {
  private readonly listeners = new Set<(pools: string[]) => void>();

  /** @param subscriber a connection of its own, since a subscribed one can do nothing else */
  constructor(subscriber: Redis, channel: string) {
    subscriber.on('message', (_channel: string, message: string) => {
      const pools = message.split('\n');
      for (const listener of this.listeners) listener(pools);
    });
    subscriber.on('ready', () => {
      subscriber.subscribe(channel).catch(() => undefined);
    });
  }

  onDue(listener: (pools: string[]) => void): void {
    this.listeners.add(listener);
  }
}
