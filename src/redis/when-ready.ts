import type { Redis } from 'ioredis';
import { RunwatchError } from '../core/errors.ts';
import { reasonOf } from './guard.ts';

const CREDENTIALS_REFUSED = /^(WRONGPASS|NOAUTH|NOPERM)\b|invalid password/;

type Outcome = 'ready' | 'refused' | 'late';

/**
 * Waits until a connection that is being made can be used.
 * @param place where it leads, for the message of an error
 * @throws RunwatchError `redis_unavailable` after `timeoutMs`, `redis_credentials_refused` at once
 */
export async function whenReady(redis: Redis, place: string, timeoutMs: number): Promise<void> {
  if (redis.status === 'ready') return;
  const { outcome, reason } = await watch(redis, timeoutMs);
  switch (outcome) {
    case 'ready':
      return;
    case 'refused':
      throw new RunwatchError(`Redis at ${place} refuses the credentials: ${reason}`, {
        code: 'redis_credentials_refused',
      });
    case 'late':
      throw new RunwatchError(
        `Redis at ${place} was not ready within ${timeoutMs / 1_000} s: ${reason}`,
        { code: 'redis_unavailable', retriable: true },
      );
  }
}

function watch(redis: Redis, timeoutMs: number): Promise<{ outcome: Outcome; reason: string }> {
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
    };
    redis.on('ready', onReady);
    redis.on('error', onError);
  });
}
