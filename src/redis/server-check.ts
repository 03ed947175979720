import type { Redis } from 'ioredis';
import { RunwatchError } from '../core/errors.ts';
import type { RedisLog } from './log.ts';

const OLDEST = [6, 2] as const;

/**
 * Refuses a server that is too old, and warns of one that may lose data. Managed servers often
 * forbid CONFIG or INFO; what cannot be found out is not warned of.
 * @throws RunwatchError `redis_too_old`, `redis_is_sentinel`
 */
export async function checkServer(redis: Redis, place: string, log: RedisLog): Promise<void> {
  const info = await redis.info().catch(unlessForbidden);
  if (info === null) return;
  const fields = parseInfo(info);
  refuseSentinel(fields, place);
  refuseOld(fields.get('redis_version') ?? '', place);

  const policy = fields.get('maxmemory_policy') ?? 'noeviction';
  if (policy !== 'noeviction') {
    const message = 'Redis may drop keys when its memory is full: set maxmemory-policy noeviction';
    log.warn({ code: 'redis_may_evict', redis: place, maxmemory_policy: policy }, message);
  }
  if (fields.get('aof_enabled') === '0' && (await hasNoSnapshots(redis))) {
    const message = 'Redis keeps nothing on disk, a restart of it loses all: set appendonly yes';
    log.warn({ code: 'redis_not_persistent', redis: place }, message);
  }
}

/** True only where it is known: snapshots are what `save` says, and INFO does not tell of it. */
async function hasNoSnapshots(redis: Redis): Promise<boolean> {
  const answer = await redis.config('GET', 'save').catch(unlessForbidden);
  return Array.isArray(answer) && answer[1] === '';
}

/** A reply is a refusal, of whatever wording; anything else is trouble with the connection. */
function unlessForbidden(error: unknown): null {
  const said = error instanceof RunwatchError ? error.cause : error;
  if (said instanceof Error && said.name === 'ReplyError') return null;
  throw error;
}

function refuseSentinel(fields: Map<string, string>, place: string): void {
  if (fields.get('redis_mode') !== 'sentinel') return;
  const message =
    `Redis at ${place} is a Sentinel, which keeps no data: name it in redis.sentinels, and the group ` +
    'that it watches in redis.name, in place of redis.url';
  throw new RunwatchError(message, { code: 'redis_is_sentinel' });
}

function refuseOld(version: string, place: string): void {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return;
  const message = `Redis at ${place} is version ${version}; runwatch needs ${OLDEST.join('.')} or later`;
  throw new RunwatchError(message, { code: 'redis_too_old' });
}

function parseInfo(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}
