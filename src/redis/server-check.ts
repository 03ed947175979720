import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { RunwatchError } from '../core/errors.ts';
import type { Keys } from './keys.ts';
import { refusalOf, RIGHTS_IN_SCRIPTS, type RedisLog, type Refusal } from './failures.ts';

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
  if ((await persistenceOf(redis, fields)) === 'none') {
    const message = 'Redis keeps nothing on disk, a restart of it loses all: set appendonly yes';
    log.warn({ code: 'redis_not_persistent', redis: place }, message);
  }
}

/**
 * Takes the database of the URL. The client goes on in database 0 where the server refuses another.
 * @throws RunwatchError `redis_database_refused`
 */
export async function checkDatabase(redis: Redis, place: string, database = 0): Promise<void> {
  if (database === 0) return;
  const reply = await redis.select(database).catch(replyIn);
  if (reply === 'OK') return;
  const message = `Redis at ${place} refuses database ${database}: ${reply}`;
  throw new RunwatchError(message, { code: 'redis_database_refused' });
}

type Persistence = 'append_only_file' | 'snapshots' | 'none';

/** What a server says of itself that decides whether it keeps what it is given. */
export interface ServerTraits {
  version: string;
  /** What it does when its memory is full; only `noeviction` keeps everything. */
  policy: string;
  /** How many keys it has dropped for want of memory since it started. */
  evictedKeys: number;
  persistence: Persistence;
}

/** Null for a server that forbids INFO. */
export async function serverTraits(redis: Redis): Promise<ServerTraits | null> {
  const info = await redis.info().catch(unlessForbidden);
  if (info === null) return null;
  const fields = parseInfo(info);
  return {
    version: fields.get('redis_version') ?? '',
    policy: fields.get('maxmemory_policy') ?? 'noeviction',
    evictedKeys: Number(fields.get('evicted_keys') ?? 0),
    persistence: await persistenceOf(redis, fields),
  };
}

/**
 * How a server keeps its data. INFO says nothing of snapshots, and while a server loads its append-only
 * file, INFO calls that file disabled; CONFIG says both. Where CONFIG is forbidden, snapshots are assumed.
 */
async function persistenceOf(redis: Redis, info: Map<string, string>): Promise<Persistence> {
  if (info.get('aof_enabled') === '1') return 'append_only_file';
  const [appendonly, save] = await Promise.all(
    ['appendonly', 'save'].map((name) => redis.config('GET', name).catch(unlessForbidden)),
  );
  if (valueIn(appendonly) === 'yes') return 'append_only_file';
  return valueIn(save) === '' ? 'none' : 'snapshots';
}

/** The value in an answer of CONFIG GET for one name. */
function valueIn(answer: unknown): unknown {
  return Array.isArray(answer) ? answer[1] : undefined;
}

/** A reply is a refusal, of whatever wording. */
function unlessForbidden(error: unknown): null {
  replyIn(error);
  return null;
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

/** How long after a refusal that may pass the rights are tried again, ms. */
const AGAIN_MS = 250;

/**
 * Every command that runwatch and BullMQ give, with arguments that do no harm to `K`, a key of our own.
 * The commands of a script need the same rights as by themselves.
 */
export const NEEDED = `
del K|exists K|get K|strlen K|mget K|set K v|incr K|decrby K 1|incrby K 1|getrange K 0 1|setrange K 0 v|pexpire K 60000|expire K 60|pttl K|persist K
rename K K|hset K f v|hsetnx K f v|hmset K f v|hget K f|hmget K f|hgetall K|hkeys K|hvals K|hrandfield K|hlen K|hexists K f|hdel K f
hincrby K f 1|hstrlen K f|hscan K 0|lpush K v|rpush K v|lpop K|rpop K|llen K|lindex K 0|lrange K 0 0|lrem K 0 v
lset K 0 v|ltrim K 0 0|lpos K v|rpoplpush K K|sadd K v|srem K v|smembers K|scard K|sismember K v
zadd K 1 v|zrem K v|zcard K|zcount K 0 1|zscore K v|zmscore K v|zincrby K 1 v|zrange K 0 0|zrevrange K 0 0
zrangebyscore K 0 1|zrevrangebyscore K 1 0|zrangebylex K [a [b|zrevrangebylex K [b [a|zpopmin K|zremrangebyscore K 0 1|zremrangebyrank K 0 0
zrank K v|xadd K * f v|xtrim K maxlen 1|publish C v|time|scan 0`
  .split(/[|\n]/)
  .filter((line) => line !== '')
  .map((line) => line.split(' '));

/**
 * KEYS  key to try commands on
 * ARGV  commands, each as a JSON list
 * Returns of each command that failed its name and what was said.
 */
const TRY = `
local failed = {}
for _, text in ipairs(ARGV) do
  local reply = redis.pcall(unpack(cjson.decode(text)))
  if type(reply) == 'table' and reply.err then
    failed[#failed + 1] = {cjson.decode(text)[1], reply.err}
  end
end
redis.pcall('del', KEYS[1])
return failed
`;

/**
 * KEYS  key to try commands on
 * Gives every command that is needed, and fails by the first that the server refuses. The first one may take
 * memory: after another first write a full Redis takes all that a script writes.
 */
export const PROBE = `
local key = KEYS[1]
local function isRefusal(reply)
  if type(reply) ~= 'table' or not reply.err then return false end
  local code = string.match(reply.err, '^%u+')
  if code == 'WRONGTYPE' then return false end
  if code ~= 'ERR' then return true end
  for _, words in ipairs(cjson.decode('${JSON.stringify(RIGHTS_IN_SCRIPTS)}')) do
    if string.sub(reply.err, 1, #words) == words then return true end
  end
  return false
end
local refused = redis.pcall('set', key, 'v', 'px', 60000)
for _, words in ipairs(cjson.decode('${JSON.stringify(NEEDED)}')) do
  if isRefusal(refused) then break end
  for at, word in ipairs(words) do
    if word == 'K' or word == 'C' then words[at] = key end
  end
  refused = redis.pcall(unpack(words))
end
redis.pcall('del', key)
if isRefusal(refused) then return refused end
return 1
`;

/**
 * Tries every right that is needed, so that one which is missing is named at start, not met later.
 * @throws RunwatchError `redis_rights_missing`, `redis_credentials_refused`, `redis_is_cluster_node`,
 *   and `redis_refuses` where Redis still refuses for another reason after `timeoutMs`
 */
export async function checkRights(
  redis: Redis,
  keys: Keys,
  { place, timeoutMs }: { place: string; timeoutMs: number },
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const { missing, refusal } = await tryRights(redis, keys);
    if (refusal === null) {
      if (missing.length > 0) throw rightsMissing(place, missing, keys);
      return;
    }
    const lasting = lastingTrouble(refusal, place);
    if (lasting !== null) throw lasting;
    if (performance.now() > deadline) {
      const message = `Redis at ${place} refuses what it is asked: ${refusal.reason} (${refusal.code})`;
      throw new RunwatchError(message, { code: 'redis_refuses', retriable: true });
    }
    await delay(AGAIN_MS);
  }
}

interface Tried {
  /** Names of commands. */
  missing: string[];
  /** Why the missing rights are unknown. */
  refusal: Refusal | null;
}

async function tryRights(redis: Redis, keys: Keys): Promise<Tried> {
  const { rightsProbe, eventBell } = keys;
  const places: Readonly<Record<string, string>> = { K: rightsProbe, C: eventBell };
  const commands = NEEDED.map((words) => JSON.stringify(words.map((word) => places[word] ?? word)));
  const tries: [string, () => Promise<unknown>][] = [
    ['eval', () => redis.eval(TRY, 1, rightsProbe, ...commands)],
    ['evalsha', () => redis.evalsha('0'.repeat(40), 1, rightsProbe)],
    ['bzpopmin', () => redis.bzpopmin(rightsProbe, 0.001)],
    ['subscribe', () => subscribe(redis, eventBell)],
  ];
  const tried: Tried = { missing: [], refusal: null };
  for (const [name, attempt] of tries) {
    const failed = await attempt().then(
      (reply) => (name === 'eval' ? (reply as [string, string][]) : []),
      (error: unknown) => [[name, replyIn(error)] as const],
    );
    for (const [command, message] of failed) note(tried, command, refusalOf(new Error(message)));
  }
  return tried;
}

function note(tried: Tried, command: string, refusal: Refusal | null): void {
  if (refusal?.code === 'NOPERM') tried.missing.push(command.toUpperCase());
  else tried.refusal ??= refusal;
}

/** What the server said; connection errors pass. */
function replyIn(error: unknown): string {
  const reply = error instanceof RunwatchError ? error.cause : error;
  if (reply instanceof Error && reply.name === 'ReplyError') return reply.message;
  throw error;
}

/** A connection that listens can do nothing else, so it takes one of its own to try. */
async function subscribe(redis: Redis, channel: string): Promise<void> {
  const subscriber = redis.duplicate({ enableOfflineQueue: true });
  subscriber.on('error', () => undefined);
  try {
    await subscriber.subscribe(channel);
  } finally {
    subscriber.disconnect();
  }
}

function rightsMissing(place: string, missing: string[], { queuePrefix }: Keys): RunwatchError {
  return new RunwatchError(
    `the user that runwatch has at Redis ${place} may not ${missing.join(', ')} on keys and channels ` +
      `${queuePrefix}:*; allow that, as by ACL SETUSER <user> ~${queuePrefix}:* &${queuePrefix}:* ` +
      '+@all -@admin -@dangerous',
    { code: 'redis_rights_missing' },
  );
}

/** What waiting does not mend. */
function lastingTrouble({ code }: Refusal, place: string): RunwatchError | null {
  switch (code) {
    case 'NOAUTH':
    case 'WRONGPASS':
      return new RunwatchError(`Redis at ${place} refuses the credentials: ${code}`, {
        code: 'redis_credentials_refused',
      });
    case 'MOVED':
      return new RunwatchError(
        `Redis at ${place} is a node of a cluster and does not hold the keys of runwatch: name nodes ` +
          'in redis.cluster in place of redis.url',
        { code: 'redis_is_cluster_node' },
      );
    default:
      return null;
  }
}
