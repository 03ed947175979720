import type { Redis } from 'ioredis';
import { RunwatchError } from '../core/errors.ts';
import { reasonOf } from './guard.ts';

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
