import { setTimeout as delay } from 'node:timers/promises';
import { Redis, type ChainableCommander, type Result } from 'ioredis';
import { RunwatchError } from '../core/errors.ts';
import {
  asItIs,
  asUnavailable,
  isReply,
  reasonOf,
  refusalOf,
  type Refusal,
  type RedisLog,
} from './failures.ts';
import { createKeys } from './keys.ts';
import { Names } from '../names.ts';
import { DISCONNECT_TIMEOUT_MS, redisTarget, type RedisSettings } from './target.ts';
import { checkDatabase, checkRights, checkServer, PROBE } from './server-check.ts';
import { StoreWatch, type StoreState } from './store-state.ts';
import { Subscriber } from './subscriber.ts';

declare module 'ioredis' {
  interface RedisCommander<Context> {
    tryCommands(key: string): Result<number, Context>;
  }
}

const CONNECT_TIMEOUT_MS = 3_000;
const COMMAND_TIMEOUT_MS = 10_000;
/** Longer than the 10 s for which a BullMQ worker blocks. */
const SILENCE_TIMEOUT_MS = 20_000;
const FIRST_RETRY_MS = 50;
/** With the connect timeout it bounds how long after an outage work goes on: under 5 s. */
const MAX_RETRY_MS = 1_000;
const QUIT_TIMEOUT_MS = 1_000;
/**
 * Libraries that ask again at once when a command was refused, as BullMQ does, would do nothing else;
 * so they hear of it this much later.
 */
const REFUSAL_DELAY_MS = 500;

const COMMON = {
  connectionName: 'runwatch',
  connectTimeout: CONNECT_TIMEOUT_MS,
  disconnectTimeout: DISCONNECT_TIMEOUT_MS,
  retryStrategy: (attempt: number) =>
    Math.min(FIRST_RETRY_MS * 2 ** Math.min(attempt - 1, 10), MAX_RETRY_MS),
  // It asks for INFO, which users may lack; a server that is loading refuses what it is asked.
  enableReadyCheck: false,
};

/** By which a server says that it is the primary no more, and a cluster that it has moved the keys. */
const ROLE_CHANGES = ['READONLY', 'UNBLOCKED'];
const CLUSTER_CHANGES = ['MOVED', 'ASK', 'CLUSTERDOWN'];

/**
 * After a failover an old primary answers as a replica; a new connection finds the new one. Where there
 * is none yet, or never, it is looked for once a second.
 */
function afterFailover(isCluster: boolean): (error: Error) => boolean {
  const codes = new Set(isCluster ? [...ROLE_CHANGES, ...CLUSTER_CHANGES] : ROLE_CHANGES);
  let triedAt = -Infinity;
  return (error) => {
    const now = performance.now();
    const isChange = codes.has(refusalOf(error)?.code ?? '');
    if (!isChange || now - triedAt < MAX_RETRY_MS) return false;
    triedAt = now;
    return true;
  };
}

/** What was in flight when the connection broke may have been done: its sender decides, not we. */
const FAIL_FAST = {
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  commandTimeout: COMMAND_TIMEOUT_MS,
  // A network that drops packets breaks no connection, so silence has to.
  socketTimeout: COMMAND_TIMEOUT_MS,
};

const PATIENT = { maxRetriesPerRequest: null, socketTimeout: SILENCE_TIMEOUT_MS };

/** A subscription that ioredis makes by itself cannot be caught: a refusal would end the process. */
const LISTENING = { ...PATIENT, autoResubscribe: false };

/** All connections of this process to Redis; nothing else opens one. */
export interface RedisConnections {
  /**
   * For commands and scripts. While Redis is away they fail at once, and when it hangs after 10 s,
   * with RunwatchError `redis_unavailable`, and where it answers but refuses, with `redis_refuses`;
   * none is sent twice.
   */
  readonly commands: Redis;
  /** For BullMQ workers: commands wait for Redis, without a bound of their own. */
  readonly blocking: Redis;
  /** For pub/sub. */
  readonly subscriber: Subscriber;
  /** Where Redis is, for people: never with a user name or a password. */
  readonly place: string;
  /**
   * Waits for Redis, tries the rights that are needed, and warns of settings that may lose data.
   * @throws RunwatchError `redis_unavailable` or `redis_refuses` (within 10 s),
   *   `redis_credentials_refused`, `redis_database_refused`, `redis_rights_missing`, `redis_too_old`
   */
  ready(): Promise<void>;
  /** What is known of Redis without asking it. */
  state(): StoreState;
  /** The same after every command that is needed was tried; takes a second at most. */
  tryWrite(): Promise<StoreState>;
  /** Calls a listener whenever Redis takes writes again after it was away or refused them. */
  onUsable(listener: () => void): void;
  /** Takes about a second at most. */
  close(): Promise<void>;
}

interface Options {
  settings: RedisSettings;
  log: RedisLog;
  /** Shared by all connections of a process. */
  names?: Names | undefined;
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
  const { log, names = new Names(), readyTimeoutMs = 10_000, remindEveryMs = 10_000 } = options;
  const target = redisTarget(options.settings, names);
  const keys = createKeys(options.settings.prefix);
  const { place } = target;
  const usable: (() => void)[] = [];
  const watch = new StoreWatch({
    log,
    place,
    remindEveryMs,
    write: () => commands.tryCommands(keys.writeProbe),
    onUsable: () => {
      for (const listener of usable) listener();
    },
  });
  const open = (role: typeof FAIL_FAST | typeof PATIENT): Redis => {
    const isPatient = role !== FAIL_FAST;
    const reconnectOnError = afterFailover(target.isCluster);
    const redis = new Redis({ ...target.options, ...COMMON, reconnectOnError, ...role });
    const hooked = hookCommands(redis, {
      asError: isPatient ? asItIs : asUnavailable(place),
      refusalDelayMs: isPatient ? REFUSAL_DELAY_MS : 0,
      onRefusal: (refusal) => watch.refused(refusal),
    });
    return hooked.on('error', (error) => watch.failed(reasonOf(error), refusalOf(error)));
  };

  const commands = open(FAIL_FAST);
  commands.defineCommand('tryCommands', { numberOfKeys: 1, lua: PROBE });
  const blocking = open(PATIENT);
  const listening = open(LISTENING);
  commands.on('ready', () => watch.connected()).on('close', () => watch.lost());
  return {
    commands,
    blocking,
    subscriber: new Subscriber(listening),
    place,
    async ready() {
      await whenReady(commands, place, readyTimeoutMs);
      await checkDatabase(commands, place, target.options.db);
      await checkServer(commands, place, log);
      await checkRights(commands, keys, { place, timeoutMs: readyTimeoutMs });
    },
    state: () => watch.state(),
    tryWrite: () => watch.tryWrite(),
    onUsable: (listener) => void usable.push(listener),
    async close() {
      watch.close();
      await Promise.all([commands, blocking, listening].map(end));
    },
  };
}

/** Lets running commands finish, but does not wait long for a server that does not answer. */
async function end(redis: Redis): Promise<void> {
  // Closing a TLS connection that was not trusted may fail it again, and ioredis hears the first error only.
  (redis.stream as Redis['stream'] | undefined)?.on('error', () => undefined);
  // Between two attempts there is nothing to close, and ioredis reports no end.
  if (redis.status === 'end' || redis.status === 'reconnecting') return redis.disconnect();
  const ended = new Promise((resolve) => redis.once('end', resolve));
  const cut = delay(QUIT_TIMEOUT_MS, undefined, { ref: false });
  if (redis.status === 'ready') await Promise.race([redis.quit().catch(() => null), cut]);
  redis.disconnect();
  await Promise.race([ended, cut]);
}

const CREDENTIALS_REFUSED = /^(WRONGPASS|NOAUTH|NOPERM)\b|invalid password/;

/** By which Node says that a certificate is not to be trusted. Source: X509 errors of `node:tls`. */
const UNTRUSTED: ReadonlySet<unknown> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_HAS_EXPIRED',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

type Outcome = 'ready' | 'refused' | 'untrusted' | 'late';

/**
 * Waits until a connection that is being made can be used.
 * @param place where it leads, for the message of an error
 * @throws RunwatchError `redis_unavailable` after `timeoutMs`, `redis_credentials_refused` and
 *   `redis_untrusted` at once
 */
async function whenReady(redis: Redis, place: string, timeoutMs: number): Promise<void> {
  if (redis.status === 'ready') return;
  const { outcome, reason } = await outcomeOf(redis, timeoutMs);
  switch (outcome) {
    case 'ready':
      return;
    case 'refused':
      throw new RunwatchError(`Redis at ${place} refuses the credentials: ${reason}`, {
        code: 'redis_credentials_refused',
      });
    case 'untrusted':
      throw new RunwatchError(
        `the certificate of Redis at ${place} is not trusted: ${reason}; redis.tls.ca_file names the ` +
          'authority that signed it, redis.tls.server_name the name that it has',
        { code: 'redis_untrusted' },
      );
    case 'late':
      throw new RunwatchError(
        `Redis at ${place} was not ready within ${timeoutMs / 1_000} s: ${reason}`,
        { code: 'redis_unavailable', retriable: true },
      );
  }
}

function outcomeOf(redis: Redis, timeoutMs: number): Promise<{ outcome: Outcome; reason: string }> {
  return new Promise((resolve) => {
    let reason = 'no answer';
    const finish = (outcome: Outcome): void => {
      clearTimeout(timer);
      redis.off('ready', onReady);
      redis.off('error', onError);
      resolve({ outcome, reason });
    };
    const timer = setTimeout(() => finish('late'), timeoutMs);
    const onReady = (): void => finish('ready');
    const onError = (error: Error): void => {
      reason = reasonOf(error);
      if (CREDENTIALS_REFUSED.test(reason)) finish('refused');
      else if (isUntrusted(error)) finish('untrusted');
    };
    redis.on('ready', onReady);
    redis.on('error', onError);
  });
}

function isUntrusted(error: Error): boolean {
  if ('code' in error && UNTRUSTED.has(error.code)) return true;
  return error.cause instanceof Error && isUntrusted(error.cause);
}

/** What a connection makes of the errors of its commands. */
interface Failure {
  asError: (error: Error) => Error;
  /** Hears of each reply by which the server refuses. */
  onRefusal: (refusal: Refusal) => void;
  /** For how long such a reply is kept back, for callers that ask again at once, ms. */
  refusalDelayMs: number;
}

/** A server may refuse these and still be used. */
const DISPENSABLE: ReadonlySet<string> = new Set(['info', 'config', 'client']);

/**
 * Takes hold of every command of a connection, and of its duplicates: those of one turn of the event loop
 * leave in one write, and the errors of all pass through `failure` before a listener sees them. ioredis
 * publishes what it sends and what fails, but lets none of it be changed.
 */
export function hookCommands(redis: Redis, failure: Failure): Redis {
  const send = redis.sendCommand.bind(redis);
  redis.sendCommand = (command, stream) => {
    const { reject } = command;
    command.reject = (error) => rejectBy(failure, { name: command.name, reject }, error);
    gatherWrites(redis);
    return send(command, stream);
  };
  const duplicate = redis.duplicate.bind(redis);
  redis.duplicate = (override) => hookCommands(duplicate(override), failure);
  return redis;
}

/**
 * Redis reads one write at once: a write for each command is a fifth of what it does for a poll. ioredis can
 * gather commands in pipelines too, but those cost more than they save, and what of them was unanswered when a
 * connection broke would not be sent again.
 */
function gatherWrites(redis: Redis): void {
  // There is none before the first connection, whatever its type says.
  const socket = redis.stream as Redis['stream'] | undefined;
  if (socket?.writableCorked !== 0) return;
  socket.cork();
  setImmediate(() => socket.uncork());
}

function rejectBy(
  { asError, onRefusal, refusalDelayMs }: Failure,
  command: { name: string; reject: (error: Error) => void },
  error: Error,
): void {
  // ioredis hangs the arguments on each error, and they may be a password or what must not be logged.
  if ('command' in error) delete error.command;
  const refusal = isReply(error) ? refusalOf(error) : null;
  if (refusal === null) return command.reject(asError(error));
  if (!DISPENSABLE.has(command.name)) onRefusal(refusal);
  if (refusalDelayMs === 0) return command.reject(asError(error));
  setTimeout(() => command.reject(asError(error)), refusalDelayMs);
}

/** What a text of JSON says; null for none. */
export function jsonOrNull(text: string | null): unknown {
  return text === null ? null : JSON.parse(text);
}

/** The results of a pipeline; the first error, if there is one, is thrown. */
export async function replies<Reply>(pipeline: ChainableCommander): Promise<Reply[]> {
  const results = (await pipeline.exec()) ?? [];
  return results.map(([error, reply]) => {
    if (error) throw error;
    return reply as Reply;
  });
}
