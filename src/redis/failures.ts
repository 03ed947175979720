import { RunwatchError } from '../core/errors.ts';

/** What this folder needs of a logger; pino fits. */
export interface RedisLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** A reply by which a server that answers says that it does not serve, for now or to this user. */
export interface Refusal {
  /** The first word of the reply. Source: Redis 7, `server.c`, `acl.c`, `cluster.c`. */
  code: string;
  /** What is wrong, to follow "Redis refuses …: ". */
  reason: string;
}

const REASONS: Readonly<Record<string, string>> = {
  OOM: 'its memory is full (maxmemory)',
  MISCONF: 'it cannot write to its disk',
  READONLY: 'it is a read-only replica',
  NOREPLICAS: 'too few of its replicas follow (min-replicas-to-write)',
  MASTERDOWN: 'it is a replica that has lost its primary',
  LOADING: 'it is loading its data',
  BUSY: 'a script of another client keeps it busy',
  UNBLOCKED: 'it has changed its role',
  MOVED: 'another node of its cluster holds the keys',
  ASK: 'its cluster is moving the keys',
  TRYAGAIN: 'its cluster is moving the keys',
  CLUSTERDOWN: 'its cluster is down',
  NOPERM: 'its user lacks a right',
  NOAUTH: 'it asks for a password',
  WRONGPASS: 'it does not know this user and password',
};

/** Redis 6.2 puts the reply of a command behind where it stands in the script. */
const IN_SCRIPT = /^ERR Error running script .*@user_script: ?\d+: -?/;
/** How a reply begins where the user of a script lacks a right: of Redis 7.0, and of later ones and Valkey. */
export const RIGHTS_IN_SCRIPTS = ['ERR The user executing the script', 'ERR ACL failure in script'];

/** What a reply refuses; null where it says something else. */
export function refusalOf({ message }: Error): Refusal | null {
  if (RIGHTS_IN_SCRIPTS.some((words) => message.startsWith(words))) return refusalBy('NOPERM');
  const [code = ''] = message.replace(IN_SCRIPT, '').split(' ', 1);
  return refusalBy(code);
}

function refusalBy(code: string): Refusal | null {
  const reason = Object.hasOwn(REASONS, code) ? REASONS[code] : undefined;
  return reason === undefined ? null : { code, reason };
}

/** For what failed because of a refusal; the message may be shown to users of the API. */
function refusedError({ code, reason }: Refusal, cause?: unknown): RunwatchError {
  return new RunwatchError(`Redis refuses what it is asked: ${reason} (${code})`, {
    code: 'redis_refuses',
    retriable: true,
    cause,
  });
}

/** An answer of the server, not an error of the connection. */
export function isReply({ name }: Error): boolean {
  return name === 'ReplyError';
}

/** The error unchanged: libraries read the names and messages of connection errors. */
export function asItIs(error: Error): Error {
  return error;
}

/**
 * Turns whatever says "Redis is away" into a RunwatchError `redis_unavailable`, and a refusal into
 * `redis_refuses`.
 */
export function asUnavailable(place: string): (error: Error) => Error {
  return (error) => {
    if (error instanceof RunwatchError) return error;
    if (isReply(error)) {
      const refusal = refusalOf(error);
      return refusal === null ? error : refusedError(refusal, error);
    }
    const message = `Redis at ${place} is not available: ${reasonOf(error)}`;
    return new RunwatchError(message, {
      code: 'redis_unavailable',
      retriable: true,
      cause: error,
    });
  };
}

/** What the client's parser says of other protocols, such as HTTP. */
const NO_REDIS = /^Unknown RESP type\b/;

/** Why a connection does not work, in as few words as there are. */
export function reasonOf(error: Error): string {
  if (error instanceof RunwatchError && error.cause) return reasonOf(error.cause as Error);
  if (error.message.includes('enableOfflineQueue')) return 'not connected';
  if (NO_REDIS.test(error.message)) return 'what answers there does not speak as Redis does';
  if (error.message !== '') return error.message;
  // A message is missing where Node tried several addresses of a host; the code is not.
  return 'code' in error ? String(error.code) : error.name;
}

/** What ioredis says of a connection that broke, in errors that carry no code. */
const BROKEN = /^(Connection is closed|Socket timeout|Command timed out|Stream isn't writeable)/;

/** True for errors that mean no more than that Redis is away or refuses, which the connections tell of. */
export function isOutage(error: Error): boolean {
  if (error instanceof RunwatchError) {
    return error.code === 'redis_unavailable' || error.code === 'redis_refuses';
  }
  return isConnectionError(error) || BROKEN.test(error.message) || refusalOf(error) !== null;
}

/** What the system calls when it connects; with others, such as `read`, these codes tell sockets from files. */
const CONNECTING: ReadonlySet<unknown> = new Set(['connect', 'getaddrinfo']);
const DISCONNECTED: ReadonlySet<unknown> = new Set([
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
]);

/** An error of a file has a system call, too, and must not pass as an outage: a full disk, for one. */
function isConnectionError(error: Error): boolean {
  const { syscall, code } = error as NodeJS.ErrnoException;
  return CONNECTING.has(syscall) || (syscall !== undefined && DISCONNECTED.has(code));
}

/** An error of one key is a result; without a connection there is none, and the error is thrown. */
export function unlessOutage(error: unknown): Error {
  if (!(error instanceof Error) || isOutage(error)) throw error;
  return error;
}
