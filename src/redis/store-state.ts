import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../core/errors.ts';
import type { RedisLog, Refusal } from './failures.ts';

/** Whether what is written to Redis is taken. */
export type StoreState =
  | { kind: 'ok' }
  /** No connection, or none that answers. */
  | { kind: 'away'; reason: string }
  /** It answers, and refuses. */
  | { kind: 'refuses'; code: string; reason: string };

/** How often a Redis that refuses is asked whether it takes writes again, ms. */
const PROBE_EVERY_MS = 1_000;

/** How long a trouble stands after a refusal, though the probe is taken: it cannot try every key, ms. */
const STANDS_MS = 5_000;

/** A write that takes longer than this was not taken, for a caller that wants to know, ms. */
const WRITE_TIMEOUT_MS = 1_000;

interface StoreWatchOptions {
  log: RedisLog;
  place: string;
  /** Milliseconds between two lines about a trouble. */
  remindEveryMs: number;
  /** Tries what the work writes. @throws when it was not taken */
  write: () => Promise<unknown>;
  /** Redis takes writes again. */
  onUsable: () => void;
}

interface Trouble {
  since: number;
  /** Null while it was only away. */
  refusal: Refusal | null;
  /** Replies that refused. */
  refusals: number;
  /** When the last of them came, ms of a monotonic clock. */
  refusedAt: number;
  /** A write was taken since. */
  isUsable: boolean;
  isLogged: boolean;
  timers: NodeJS.Timeout[];
}

/**
 * Keeps what is known of Redis, and reports a trouble when it begins, now and then, and at its end.
 * However many connections break and commands are refused, that is all that is logged.
 */
export class StoreWatch {
  private trouble: Trouble | null = null;
  private isConnected = false;
  private reason = 'not connected';
  /** The reply that refused the last connection, as for a password that is wrong by now. */
  private refusedConnection: Refusal | null = null;
  private isClosed = false;
  private writing: Promise<StoreState> | null = null;
  private readonly voice: ReturnType<typeof createVoice>;

  constructor(private readonly options: StoreWatchOptions) {
    this.voice = createVoice(options);
  }

  state(): StoreState {
    const refusal = this.isConnected ? (this.trouble?.refusal ?? null) : this.refusedConnection;
    if (!this.isConnected && refusal === null) return { kind: 'away', reason: this.reason };
    return refusal === null ? { kind: 'ok' } : { kind: 'refuses', ...refusal };
  }

  /** The same after a write; takes about a second at most. */
  tryWrite(): Promise<StoreState> {
    if (!this.isConnected) return Promise.resolve(this.state());
    this.writing ??= this.attempt().finally(() => (this.writing = null));
    const late = { kind: 'away' as const, reason: 'does not answer' };
    return Promise.race([this.writing, delay(WRITE_TIMEOUT_MS, late, { ref: false })]);
  }

  /** The last thing that went wrong with a connection; it becomes the reason of an outage. */
  failed(reason: string, refusal: Refusal | null): void {
    this.reason = reason;
    this.refusedConnection = refusal;
  }

  /** A first connection that fails is no outage, nor is one that a refusal has made anew. */
  lost(): void {
    const wasConnected = this.isConnected;
    this.isConnected = false;
    if (wasConnected && this.trouble === null) this.begin(null);
  }

  /** There is a connection; a write shows whether that is of use. */
  connected(): void {
    this.isConnected = true;
    this.refusedConnection = null;
    if (this.trouble !== null) void this.tryWrite();
  }

  /** While a connection is made, refusals are about how it is made, and become its errors. */
  refused(refusal: Refusal): void {
    if (!this.isConnected) return;
    if (this.trouble === null) return this.begin(refusal);
    this.trouble.refusal = refusal;
    this.trouble.refusals += 1;
    this.trouble.refusedAt = performance.now();
    this.trouble.isUsable = false;
  }

  /** No further lines. */
  close(): void {
    this.isClosed = true;
    this.end();
  }

  private begin(refusal: Refusal | null): void {
    if (this.isClosed) return;
    const timers = [
      setInterval(() => this.tell(), this.options.remindEveryMs).unref(),
      setInterval(() => void this.tryWrite(), PROBE_EVERY_MS).unref(),
    ];
    const since = performance.now();
    const seen =
      refusal === null ? { refusals: 0, refusedAt: -Infinity } : { refusals: 1, refusedAt: since };
    this.trouble = { since, refusal, ...seen, isUsable: false, isLogged: false, timers };
    this.tell();
  }

  private tell(): void {
    const { trouble } = this;
    if (trouble !== null && !trouble.isUsable) this.voice.tell(trouble, this.state());
  }

  private end(): void {
    for (const timer of this.trouble?.timers ?? []) clearInterval(timer);
    this.trouble = null;
  }

  /** A write that is taken ends a trouble, unless commands were refused meanwhile or just before. */
  private async attempt(): Promise<StoreState> {
    const before = this.trouble?.refusals;
    try {
      await this.options.write();
    } catch (error) {
      const now = this.state();
      return now.kind === 'ok' ? { kind: 'away', reason: messageOf(error) } : now;
    }
    const { trouble } = this;
    if (trouble === null || trouble.refusals !== before) return this.state();
    const isNews = !trouble.isUsable;
    trouble.isUsable = true;
    if (performance.now() - trouble.refusedAt >= STANDS_MS) {
      this.voice.tellEnd(trouble);
      this.end();
    }
    if (isNews) this.options.onUsable();
    return this.state();
  }
}

/** Says of one kind of trouble something at most once in a while, however often it comes and goes. */
function createVoice({ log, place, remindEveryMs }: Omit<StoreWatchOptions, 'write' | 'onUsable'>) {
  /** By kind, and by why it refuses. */
  const loggedAt = new Map<string, number>();
  let repliesLogged = 0;
  return {
    tell(trouble: Trouble, state: StoreState): void {
      if (state.kind === 'ok') return;
      const now = performance.now();
      const name = state.kind === 'away' ? state.kind : state.code;
      if (now - (loggedAt.get(name) ?? -Infinity) < remindEveryMs * 0.9) return;
      loggedAt.set(name, now);
      const fields = {
        redis: place,
        lasts_ms: Math.round(now - trouble.since),
        reason: state.reason,
      };
      trouble.isLogged = true;
      if (state.kind === 'away') {
        log.warn({ code: 'redis_unavailable', ...fields }, 'Redis is away');
        return;
      }
      const replies = trouble.refusals - repliesLogged;
      repliesLogged = trouble.refusals;
      log.warn({ code: 'redis_refuses', ...fields, reply: state.code, replies }, 'Redis refuses');
    },
    tellEnd({ since, refusal, isLogged }: Trouble): void {
      repliesLogged = 0;
      if (!isLogged) return;
      const what = refusal === null ? 'Redis is back' : 'Redis takes what it is given again';
      log.info({ redis: place, lasted_ms: Math.round(performance.now() - since) }, what);
    },
  };
}
