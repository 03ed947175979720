import type { Redis } from 'ioredis';
import { RunwatchError } from '../core/errors.ts';

/** Replies by which a server says that it cannot serve anyone just now. */
const UNAVAILABLE_REPLY = /^(LOADING|MASTERDOWN|READONLY|CLUSTERDOWN|TRYAGAIN)\b/;

export type Failure = (error: Error) => Error;

/**
 * Passes every error of a connection, and of its duplicates, through `failure` before anybody sees
 * it. ioredis hangs the arguments of the command on each error, and they may be a password or
 * what must not be logged; so those are dropped in any case.
 */
export function guard(redis: Redis, failure: Failure): Redis {
  const send = redis.sendCommand.bind(redis);
  redis.sendCommand = (command, stream) => {
    const { reject } = command;
    command.reject = (error) => reject(failure(withoutArguments(error)));
    return send(command, stream);
  };
  const duplicate = redis.duplicate.bind(redis);
  redis.duplicate = (override) => guard(duplicate(override), failure);
  return redis;
}

function withoutArguments(error: Error): Error {
  if ('command' in error) delete error.command;
  return error;
}

/** The error as it is: libraries look at names and messages of connection errors. */
export function asItIs(error: Error): Error {
  return error;
}

/** Turns whatever says "Redis is away" into a RunwatchError `redis_unavailable`. */
export function asUnavailable(place: string): Failure {
  return (error) => {
    const isReply = error.name === 'ReplyError';
    if (error instanceof RunwatchError) return error;
    if (isReply && !UNAVAILABLE_REPLY.test(error.message)) return error;
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

/** True for errors that mean no more than that Redis is away, which the connections tell of. */
export function isOutage(error: Error): boolean {
  if (error instanceof RunwatchError) return error.code === 'redis_unavailable';
  return 'syscall' in error || BROKEN.test(error.message) || UNAVAILABLE_REPLY.test(error.message);
}
