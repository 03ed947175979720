import type { Redis } from 'ioredis';
import { answerKeys, type Keys } from '../keys.ts';
import { script } from '../script.ts';

/**
 * The keys of all scripts here are a hash of records by id, a sorted set of ids by when they expire, and a hash of
 * the records' bytes by owner. An id is its owner, a dot and its name; a sorted set for each owner has its own
 * ids. Times are those of Redis.
 */
const COMMON = `
local records, expiries, bytes = keys.records, keys.expiries, keys.bytes
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

const KEYS = ['records', 'expiries', 'bytes'] as const;

/** Returns the record that is there, or null after it wrote the given one. */
const BEGIN = script(
  'rwBeginAnswer',
  {
    keys: KEYS,
    args: ['id', 'record', 'leaseMs'],
    reply: (held: string) => (held === '' ? null : held),
  },
  `${COMMON}
forgetExpired()
local expiry = redis.call('ZSCORE', expiries, args.id)
if expiry and tonumber(expiry) > now then return redis.call('HGET', records, args.id) end
put(args.id, args.record, now + args.leaseMs)
return ''
`,
);

/**
 * Where another request has begun since the lease ended, its record is kept. Where there are too many
 * bytes, the owner with most of them loses the record that would expire first.
 */
const KEEP = script(
  'rwKeepAnswer',
  {
    keys: KEYS,
    args: ['id', 'begun', 'record', 'keptMs', 'mostBytes'],
    reply: (kept: number) => kept === 1,
  },
  `${COMMON}
forgetExpired()
local there = redis.call('HGET', records, args.id)
if there and there ~= args.begun then return 0 end
put(args.id, args.record, now + args.keptMs)
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
while owner and total > tonumber(args.mostBytes) do
  local first = redis.call('ZRANGE', ofOwner(owner), 0, 0)[1]
  if first then drop(first) else redis.call('HDEL', bytes, owner) end
  total, owner = largest()
end
return 1
`,
);

const RELEASE = script(
  'rwReleaseAnswer',
  { keys: KEYS, args: ['id', 'begun'] },
  `${COMMON}
if redis.call('HGET', records, args.id) == args.begun then drop(args.id) end
`,
);

/** Bytes of all records together: at about 1 KiB each, some 60,000 answers. Owners share them evenly. */
const MOST_BYTES = 64 * 1_024 * 1_024;

/** Answers that are given again to repeated requests. Errors of the connection pass through. */
export class AnswerStore {
  private readonly names: ReturnType<typeof answerKeys>;

  constructor(
    private readonly redis: Redis,
    keys: Keys,
    private readonly mostBytes = MOST_BYTES,
  ) {
    this.names = answerKeys(keys);
  }

  /** @returns the record under an id; null where there was none and the given one stands there now */
  begin(id: string, record: string, leaseMs: number): Promise<string | null> {
    return BEGIN.run(this.redis, this.names, { id, record, leaseMs });
  }

  /**
   * @param begun the record that began it
   * @returns false where another one did since: then nothing is written
   */
  keep(id: string, begun: string, record: string, keptMs: number): Promise<boolean> {
    const { mostBytes } = this;
    return KEEP.run(this.redis, this.names, { id, begun, record, keptMs, mostBytes });
  }

  async release(id: string, begun: string): Promise<void> {
    await RELEASE.run(this.redis, this.names, { id, begun });
  }
}
