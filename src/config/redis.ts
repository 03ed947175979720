import { z } from 'zod';
import { tls } from './endpoint-fields.ts';
import { flag, name, secretText } from './fields.ts';
import type { ObservationDraft } from './problem.ts';
import { redisUrl } from './urls.ts';

const address = z
  .string({ error: 'expected host:port' })
  .regex(/^(\[[0-9a-f:.]+\]|[^\s:/@[\]]+)(:\d{1,5})?$/i, 'expected host:port');

const addresses = z
  .array(address, { error: 'expected a list such as [host:port, host:port]' })
  .min(1, 'expected at least one host:port')
  .max(30, 'expected at most 30 of them');

const password = secretText('expected a password', { min: 1 });

/** Which Redis: one of `url`, `sentinels` with `name`, and `cluster`; else the daemon's own. */
export const redis = z.strictObject({
  url: redisUrl.optional(),
  sentinels: addresses.optional(),
  name: z.string().min(1).optional(),
  cluster: addresses.optional(),
  username: z.string().min(1).optional(),
  password: password.optional(),
  sentinel_username: z.string().min(1).optional(),
  sentinel_password: password.optional(),
  tls: tls.extend({ server_name: z.string().min(1).optional() }).optional(),
  prefix: name.default('runwatch'),
  refuse_clock_skew: flag(false),
});

type RedisConfig = z.output<typeof redis>;

/** What of these settings does not go together. */
export function checkRedis({ redis: settings }: { redis: RedisConfig }): ObservationDraft[] {
  return [...checkWay(settings), ...checkSentinels(settings), ...checkTls(settings)];
}

function checkWay(settings: RedisConfig): ObservationDraft[] {
  const ways = (['url', 'sentinels', 'cluster'] as const).filter((key) => settings[key]);
  const [, second] = ways;
  if (second === undefined) return [];
  const message = `expected only one of url (REDIS_URL), sentinels and cluster, got ${ways.join(' and ')}`;
  return [found(second, message)];
}

function checkSentinels(settings: RedisConfig): ObservationDraft[] {
  if (settings.sentinels !== undefined) {
    if (settings.name !== undefined) return [];
    return [found('sentinels', 'expected redis.name, the group that the Sentinels watch')];
  }
  const keys = ['name', 'sentinel_username', 'sentinel_password'] as const;
  return keys.flatMap((key) =>
    settings[key] === undefined ? [] : [found(key, 'it has no effect without sentinels')],
  );
}

function checkTls({ url, sentinels, cluster, tls: files }: RedisConfig): ObservationDraft[] {
  if (files === undefined) return [];
  const isTls = sentinels !== undefined || cluster !== undefined || url?.startsWith('rediss:');
  if (isTls !== true) return [found('tls', 'it has no effect, since the url is not rediss')];
  const isPair = (files.cert_file === undefined) === (files.key_file === undefined);
  return isPair ? [] : [found('tls', 'cert_file and key_file go together')];
}

function found(key: keyof RedisConfig, message: string): ObservationDraft {
  return { path: ['redis', key], message };
}
