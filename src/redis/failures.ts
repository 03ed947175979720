import type { Redis } from 'ioredis';
import { RunwatchError } from '../core/errors.ts';
import { refusalOf, refusedError, type Refusal } from './refusal.ts';

/** What a connection makes of the errors of its commands. */
export interface Failure {
  asError: (error: Error) => Error;
  /** Hears of each reply by which the server refuses. */
  onRefusal: (refusal: Refusal) => void;
  /** For how long such a reply is kept back, for callers that ask again at once, ms. */
  refusalDelayMs: number;
}

/** A server may refuse these and still be used. */
const DISPENSABLE: ReadonlySet<string> = new Set(['info', 'config', 'client']);

/**
 * Passes every error of a connection, and of its duplicates, through `failure` before a listener sees
 * it. ioredis hangs the arguments of the command on each error, and they may be a password or
 * what must not be logged; so those are dropped in any case.
 */
export function translateErrors(redis: Redis, failure: Failure): Redis {
  const send = redis.sendCommand.bind(redis);
  redis.sendCommand = (command, stream) => {
    const { reject } = command;
    command.reject = (error) => {
      const clean = withoutArguments(error);
      const refusal = isReply(clean) ? refusalOf(clean) : null;
      if (refusal === null) return reject(failure.asError(clean));
      if (!DISPENSABLE.has(command.name)) failure.onRefusal(refusal);
      if (failure.refusalDelayMs === 0) return reject(failure.asError(clean));
      setTimeout(() => reject(failure.asError(clean)), failure.refusalDelayMs);
    };
    return send(command, stream);
  };
  const duplicate = redis.duplicate.bind(redis);
  redis.duplicate = (override) => translateErrors(duplicate(override), failure);
  return redis;
}

function withoutArguments(error: Error): Error {
  if ('command' in error) delete error.command;
  return error;
}

function isReply({ name }: Error): boolean {
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

/** Why a connection does not work, in as few words as there are. */
export function reasonOf(error: Error): string {
  if (error instanceof RunwatchError && error.cause) return reasonOf(error.cause as Error);
  if (error.message.includes('enableOfflineQueue')) return 'not connected';
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
  return 'syscall' in error || BROKEN.test(error.message) || refusalOf(error) !== null;
}
