import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';

/** How often the connection is asked whether it still answers, ms. */
const PING_EVERY_MS = 10_000;
/** How long the answer may take, ms. */
const PONG_MS = 5_000;
/** The wait before a refused subscription is tried again, ms. */
const RETRY_MS = 1_000;

interface Hearing {
  onMessage: (text: string) => void;
  /** Called after each subscription, since what was sent before it was missed. */
  onSubscribed?: () => void;
}

/**
 * The connection that listens on all channels of a process, since a subscribed one can do nothing else.
 * It subscribes anew after each connection and as often as Redis refuses that. A connection that holds
 * and forwards nothing would be deaf without end, so that it is asked for an answer now and then.
 */
export class Subscriber {
  readonly #redis: Redis;
  readonly #channels = new Map<string, Hearing>();
  #isSubscribing = false;
  #isClosed = false;

  /** @param redis a connection that does not subscribe again by itself */
  constructor(redis: Redis, { pingEveryMs = PING_EVERY_MS, pongMs = PONG_MS } = {}) {
    this.#redis = redis;
    redis.on('message', (channel, text: string) => this.#channels.get(channel)?.onMessage(text));
    redis.on('ready', () => void this.#subscribe());
    const timer = setInterval(() => void this.#ping(pongMs), pingEveryMs).unref();
    redis.on('end', () => {
      this.#isClosed = true;
      clearInterval(timer);
    });
  }

  hear(channel: string, hearing: Hearing): void {
    this.#channels.set(channel, hearing);
    void this.#subscribe();
  }

  async #subscribe(): Promise<void> {
    if (this.#isSubscribing) return;
    this.#isSubscribing = true;
    while (this.#redis.status === 'ready' && !this.#isClosed) {
      const channels = [...this.#channels.keys()];
      const isDone = await this.#trySubscribe(channels);
      // A channel that came meanwhile needs a subscription of its own.
      if (isDone && channels.length === this.#channels.size) break;
      if (!isDone) await delay(RETRY_MS, undefined, { ref: false });
    }
    this.#isSubscribing = false;
  }

  async #trySubscribe(channels: string[]): Promise<boolean> {
    try {
      if (channels.length > 0) await this.#redis.subscribe(...channels);
    } catch {
      // The connection reports a refusal itself; a connection that broke subscribes when it is back.
      return false;
    }
    for (const channel of channels) this.#channels.get(channel)?.onSubscribed?.();
    return true;
  }

  async #ping(pongMs: number): Promise<void> {
    if (this.#redis.status !== 'ready') return;
    const pong = this.#redis.ping().then(
      () => true,
      () => true,
    );
    const isHeard = await Promise.race([pong, delay(pongMs, false, { ref: false })]);
    if (!isHeard && !this.#isClosed) this.#redis.disconnect(true);
  }
}
