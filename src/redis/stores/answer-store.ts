import type { Redis, Result } from 'ioredis';
import { answerKeys, type Keys } from '../keys.ts';

/**
 * KEYS of all scripts here: hash of records by id, sorted set of ids by when they expire, hash of the
 * records' bytes by owner. An id is its owner, a dot and its name; a sorted set for each owner has its own
 * ids. Times are those of Redis.
 */
const COMMON = `
local records, expiries, bytes = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function ownerOf(id)
  return string.match(id, '^[^.]*')
end

local function ofOwner(owner)
  return expiries .. ':' .. owner
end

local function drop(id)
  local size, owner = redis.call('HSTRLEN', records, id), ownerOf(id)
  redis.call('HDEL', records, id)
  if redis.call('HINCRBY', bytes, owner, 0 - size) <= 0 then redis.call('HDEL', bytes, owner) end
  redis.call('ZREM', expiries, id)
  redis.call('ZREM', ofOwner(owner), id)
end

local function put(id, record, untilMs)
  local owner = ownerOf(id)
  redis.call('HINCRBY', bytes, owner, #record - redis.call('HSTRLEN', records, id))
  redis.call('HSET', records, id, record)
  redis.call('ZADD', expiries, untilMs, id)
  redis.call('ZADD', ofOwner(owner), untilMs, id)
end

local function forgetExpired()
  local expired = redis.call('ZRANGEBYSCORE', expiries, '-inf', now, 'LIMIT', 0, 100)
  for _, id in ipairs(expired) do drop(id) end
end
`;

/**
 * ARGV  id, record, lease in ms
 * Returns the record that is there, or '' after it wrote the given one.
 */
const BEGIN = `${COMMON}
forgetExpired()
local expiry = redis.call('ZSCORE', expiries, ARGV[1])
if expiry and tonumber(expiry) > now then return redis.call('HGET', records, ARGV[1]) end
put(ARGV[1], ARGV[2], now + ARGV[3])
return ''
`;

/**
 * ARGV  id, record that was begun, record, how long it is kept in ms, most bytes of all records
 * Where another request has begun since the lease ended, its record is kept. Where there are too many
 * bytes, the owner with most of them loses the record that would expire first.
 */
const KEEP = `${COMMON}
forgetExpired()
local there = redis.call('HGET', records, ARGV[1])
if there and there ~= ARGV[2] then return end
put(ARGV[1], ARGV[3], now + ARGV[4])
local function largest()
  local total, most, owner = 0, -1, nil
  local flat = redis.call('HGETALL', bytes)
  for at = 1, #flat, 2 do
    local size = tonumber(flat[at + 1])
    total = total + size
    if size > most then most, owner = size, flat[at] end
  end
  return total, owner
end
local total, owner = largest()
while owner and total > tonumber(ARGV[5]) do
  local first = redis.call('ZRANGE', ofOwner(owner), 0, 0)[1]
  if first then drop(first) else redis.call('HDEL', bytes, owner) end
  total, owner = largest()
end
`;

/** ARGV  id, record that was begun */
const RELEASE = `${COMMON}
if redis.call('HGET', records, ARGV[1]) == ARGV[2] then drop(ARGV[1]) end
`;

declare module 'ioredis' {
  interface RedisCommander<Context> {
    rwBeginAnswer(
      ...args: [...AnswerKeys, id: string, record: string, leaseMs: number]
    ): Result<string, Context>;
    rwKeepAnswer(
      ...args: [
        ...AnswerKeys,
        id: string,
        begun: string,
        record: string,
        keepMs: number,
        mostBytes: number,
      ]
    ): Result<null, Context>;
    rwReleaseAnswer(...args: [...AnswerKeys, id: string, begun: string]): Result<null, Context>;
  }
}

type AnswerKeys = [records: string, expiries: string, bytes: string];

/** Bytes of all records together: at about 1 KiB each, some 60,000 answers. Owners share them evenly. */
const MOST_BYTES = 64 * 1_024 * 1_024;

/** Answers that are given again to repeated requests. Errors of the connection pass through. */
export class AnswerStore {
  private readonly names: AnswerKeys;

  constructor(
    private readonly redis: Redis,
    keys: Keys,
    private readonly mostBytes = MOST_BYTES,
  ) {
    this.names = answerKeys(keys);
    redis.defineCommand('rwBeginAnswer', { numberOfKeys: 3, lua: BEGIN });
    redis.defineCommand('rwKeepAnswer', { numberOfKeys: 3, lua: KEEP });
    redis.defineCommand('rwReleaseAnswer', { numberOfKeys: 3, lua: RELEASE });
  }

  /** @returns the record under an id; null where there was none and the given one stands there now */
  async begin(id: string, record: string, leaseMs: number): Promise<string | null> {
    const held = await this.redis.rwBeginAnswer(...this.names, id, record, leaseMs);
    return held === '' ? null : held;
  }

  /** @param begun the record that began it; where another one did since, nothing is written */
  async keep(id: string, begun: string, record: string, keepMs: number): Promise<void> {
    await this.redis.rwKeepAnswer(...this.names, id, begun, record, keepMs, this.mostBytes);
  }

  async release(id: string, begun: string): Promise<void> {
    await this.redis.rwReleaseAnswer(...this.names, id, begun);
  }
}
