import type { Redis } from 'ioredis';
import type { Keys } from '../keys.ts';

/** For how long the message of an alert is remembered after its last change, ms. */
const KEPT_MS = 30 * 86_400_000;

/** Which message at a destination shows an alert, so that the next one updates it. */
export class AlertMessageStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async get(endpoint: string, alertId: string): Promise<string | null> {
    return this.redis.get(this.keys.alertMessage(endpoint, alertId));
  }

  async put(endpoint: string, alertId: string, message: string): Promise<void> {
    await this.redis.set(this.keys.alertMessage(endpoint, alertId), message, 'PX', KEPT_MS);
  }
}
