import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { gatherWrites } from './gather-writes.ts';
import { asItIs, asUnavailable, guard, reasonOf } from './guard.ts';
import type { Failure } from './guard.ts';
import type { RedisLog } from './log.ts';
import { createOutageLog } from './outage-log.ts';
import type { OutageLog } from './outage-log.ts';
import { parseRedisUrl } from './redis-url.ts';
import { checkServer } from './server-check.ts';
import { whenReady } from './when-ready.ts';

const CONNECT_TIMEOUT_MS = 3_000;
const COMMAND_TIMEOUT_MS = 10_000;
/** Longer than the 10 s for which a BullMQ worker blocks. */
const SILENCE_TIMEOUT_MS = 20_000;
/** How long a peer may take to agree to an end; ioredis waits it out for what is closed already, too. */
const DISCONNECT_TIMEOUT_MS = 250;
const FIRST_RETRY_MS = 50;
/** With the connect timeout it bounds how long after an outage work goes on: under 5 s. */
const MAX_RETRY_MS = 1_000;
const QUIT_TIMEOUT_MS = 1_000;

const COMMON = {
  connectionName: 'runwatch',
  connectTimeout: CONNECT_TIMEOUT_MS,
  disconnectTimeout: DISCONNECT_TIMEOUT_MS,
  retryStrategy: (attempt: number) =>
    Math.min(FIRST_RETRY_MS * 2 ** Math.min(attempt - 1, 10), MAX_RETRY_MS),
  // A server that loads its file says how long that takes, and is often done long before.
  maxLoadingRetryTime: MAX_RETRY_MS,
  // After a failover an old primary answers as a replica; a new connection finds the new one.
  reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
};

/** What was in flight when the connection broke may have been done: its sender decides, not we. */
const FAIL_FAST = {
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  commandTimeout: COMMAND_TIMEOUT_MS,
  // A network that drops packets breaks no connection, so silence has to.
  socketTimeout: COMMAND_TIMEOUT_MS,
};

const PATIENT = { maxRetriesPerRequest: null, socketTimeout: SILENCE_TIMEOUT_MS };

/** All connections of this process to Redis; nothing else opens one. */
export interface RedisConnections {
  /**
   * For commands and scripts. While Redis is away they fail at once, and when it hangs after 10 s,
   * with RunwatchError `redis_unavailable`; none is sent twice.
   */
  readonly commands: Redis;
  /** For BullMQ workers: commands wait for Redis, without a bound of their own. */
  readonly blocking: Redis;
  /** A fresh connection for pub/sub; it subscribes again by itself after an outage. */
  subscriber(): Redis;
  /**
   * Waits for Redis and looks at what it is: warns of settings that may lose data.
   * @throws RunwatchError `redis_unavailable` (within 10 s), `redis_credentials_refused`,
   *   `redis_too_old`
   */
  ready(): Promise<void>;
  isReady(): boolean;
  /** Takes about a second at most. */
  close(): Promise<void>;
}

interface Options {
  /** A URL of {@link parseRedisUrl}, or a plain socket path. */
  url: string;
  log: RedisLog;
  /** How long `ready` waits, in milliseconds. */
  readyTimeoutMs?: number;
  /** Milliseconds between log lines while Redis is away. */
  remindEveryMs?: number;
}

/**
 * Opens the connections; they keep trying until `close`.
 * @throws RunwatchError `invalid_redis_url`
 */
export function createRedisConnections(options: Options): RedisConnections {
  const { log, readyTimeoutMs = 10_000, remindEveryMs = 10_000 } = options;
  const target = parseRedisUrl(options.url);
  const { place } = target;
  const outage = createOutageLog({ log, place, remindEveryMs });
  const open = (role: typeof FAIL_FAST | typeof PATIENT, failure: Failure): Redis => {
    const redis = guard(
      gatherWrites(new Redis({ ...target.options, ...COMMON, ...role })),
      failure,
    );
    return redis.on('error', (error) => outage.failed(reasonOf(error)));
  };

  const commands = open(FAIL_FAST, asUnavailable(place));
  const blocking = open(PATIENT, asItIs);
  const subscribers: Redis[] = [];
  logOutages(commands, outage);
  return {
    commands,
    blocking,
    subscriber() {
      const subscriber = open(PATIENT, asItIs);
      subscribers.push(subscriber);
      return subscriber;
    },
    async ready() {
      await whenReady(commands, place, readyTimeoutMs);
      await checkServer(commands, place, log);
    },
    isReady: () => commands.status === 'ready',
    async close() {
      outage.close();
      await Promise.all([commands, blocking, ...subscribers].map(end));
    },
  };
}

/** An outage begins when a connection that was ready is lost; a first one that fails is no outage. */
function logOutages(redis: Redis, outage: OutageLog): void {
  let wasReady = false;
  redis.on('ready', () => {
    wasReady = true;
    outage.back();
  });
  redis.on('close', () => {
    if (wasReady) outage.lost();
  });
}

/** Lets running commands finish, but does not wait long for a server that does not answer. */
async function end(redis: Redis): Promise<void> {
  // Between two attempts there is nothing to close, and ioredis tells of no end.
  if (redis.status === 'end' || redis.status === 'reconnecting') return redis.disconnect();
  const ended = new Promise((resolve) => redis.once('end', resolve));
  const cut = delay(QUIT_TIMEOUT_MS, undefined, { ref: false });
  if (redis.status === 'ready') await Promise.race([redis.quit().catch(() => null), cut]);
  redis.disconnect();
  await Promise.race([ended, cut]);
}
