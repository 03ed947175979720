import type { Redis, Result } from 'ioredis';

/**
 * Writes a watch if nobody else has since it was read, together with everything that follows from
 * the change: its places in the indexes, its events, and their fan-out. One step or none.
 *
 * KEYS  watch
 * ARGV  expected version, document, effects as JSON or '' where there are none
 * Returns false on a conflict, else the ids of the deliveries that want a job now.
 */
const COMMIT_WATCH = `
local version, number = string.match(redis.call('GETRANGE', KEYS[1], 0, 40), '^(%d+) (%d+) ')
if (version or '0') ~= ARGV[1] then return false end
local effects = ARGV[3] ~= '' and cjson.decode(ARGV[3])
if effects then
  for _, index in ipairs(effects.leave) do redis.call('ZREM', index, number) end
  if effects.begins then
    number = redis.call('INCR', effects.watchNumber)
    redis.call('ZADD', effects.watches, number, effects.member)
  end
  for _, index in ipairs(effects.enter) do redis.call('ZADD', index, number, number) end
end
redis.call('SET', KEYS[1], (ARGV[1] + 1) .. ' ' .. number .. ' ' .. ARGV[2])
if not effects then return {} end

if effects.endedAt then
  redis.call('ZADD', effects.ended, effects.endedAt, effects.member)
else
  redis.call('ZREM', effects.ended, effects.member)
end

for _, event in ipairs(effects.events) do
  local place = redis.call('INCR', effects.eventPlace)
  redis.call('HSET', event.key, 'place', place, 'body', event.body)
  for _, index in ipairs(event.indexes) do redis.call('ZADD', index, place, event.id) end
end

local due = {}
for _, delivery in ipairs(effects.deliveries) do
  if redis.call('EXISTS', delivery.key) == 0 then
    local at = redis.call('INCR', effects.deliveryNumber)
    redis.call('HSET', delivery.key, 'version', 1, 'number', at, 'doc', delivery.doc)
    for _, index in ipairs(delivery.indexes) do redis.call('ZADD', index, at, delivery.id) end
    redis.call('HINCRBY', effects.ledger, 'planned', 1)
    redis.call('HINCRBY', effects.ledger, delivery.count, 1)
    if redis.call('RPUSH', delivery.lane, delivery.id) == 1 then
      redis.call('ZADD', effects.outbox, delivery.dueAt, delivery.id)
      due[#due + 1] = delivery.id
    end
  end
end
if #effects.events > 0 then redis.call('PUBLISH', effects.eventBell, '') end
return due
`;

/**
 * Writes what an attempt made of a delivery, if nobody else has: its document, the attempt, its
 * places in the indexes, and when it is due again. A delivery that has settled makes way for the
 * next one of its lane.
 *
 * KEYS  delivery
 * ARGV  expected version, document, effects as JSON
 * Returns false on a conflict, else the id of the delivery that is due next, or ''.
 */
const SETTLE_DELIVERY = `
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
if version ~= tonumber(ARGV[1]) then return false end
redis.call('HSET', KEYS[1], 'version', version + 1, 'doc', ARGV[2])

local effects = cjson.decode(ARGV[3])
local number = redis.call('HGET', KEYS[1], 'number')
redis.call('RPUSH', effects.attempts, effects.attempt)
redis.call('LTRIM', effects.attempts, -effects.attemptsKept, -1)
for _, index in ipairs(effects.leave) do redis.call('ZREM', index, effects.id) end
for _, index in ipairs(effects.enter) do redis.call('ZADD', index, number, effects.id) end
if effects.countFrom ~= effects.countTo then
  redis.call('HINCRBY', effects.ledger, effects.countFrom, -1)
  redis.call('HINCRBY', effects.ledger, effects.countTo, 1)
end

if effects.dueAt then
  redis.call('ZADD', effects.outbox, effects.dueAt, effects.id)
  return ''
end
redis.call('ZREM', effects.outbox, effects.id)
redis.call('ZADD', effects.settled, effects.settledAt, effects.id)
redis.call('LREM', effects.lane, 1, effects.id)
local following = redis.call('LINDEX', effects.lane, 0)
if not following then return '' end
redis.call('ZADD', effects.outbox, effects.settledAt, following)
return following
`;

/**
 * Walks the first sorted set by score and keeps the members that are in all the others: filters are
 * answered from indexes alone. Scores are unique, so that a score is a place to go on from. Where
 * members are no more than their scores, their names are looked up in a directory.
 *
 * KEYS  indexes, the one to walk first
 * ARGV  'newest' or 'oldest', score to go on from or '', most members wanted, most members looked at,
 *       sorted set to look up the names in or ''
 * Returns [member, score, member, score, …], and last the score to go on from, or ''.
 */
const READ_PAGE = `
local newest, from = ARGV[1] == 'newest', ARGV[2]
local wanted, budget, directory = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local function nameOf(member, score)
  if directory == '' then return member end
  return redis.call('ZRANGEBYSCORE', directory, score, score)[1]
end
local found = {}
local walked
if newest then
  walked = redis.call('ZREVRANGEBYSCORE', KEYS[1], from == '' and '+inf' or '(' .. from, '-inf',
    'WITHSCORES', 'LIMIT', 0, budget)
else
  walked = redis.call('ZRANGEBYSCORE', KEYS[1], from == '' and '-inf' or '(' .. from, '+inf',
    'WITHSCORES', 'LIMIT', 0, budget)
end
for place = 1, #walked, 2 do
  local everywhere = true
  for index = 2, #KEYS do
    if not redis.call('ZSCORE', KEYS[index], walked[place]) then everywhere = false break end
  end
  if everywhere then
    if #found == wanted * 2 then
      found[#found + 1] = found[#found]
      return found
    end
    found[#found + 1] = nameOf(walked[place], walked[place + 1])
    found[#found + 1] = walked[place + 1]
  end
end
found[#found + 1] = #walked == budget * 2 and walked[#walked] or ''
return found
`;

/**
 * Forgets settled deliveries; those that are pending, or unknown, are kept.
 *
 * KEYS  sorted set of settled deliveries
 * ARGV  plan as JSON
 * Returns how many were forgotten.
 */
const FORGET_DELIVERIES = `
local plan = cjson.decode(ARGV[1])
local forgotten = 0
for _, delivery in ipairs(plan.deliveries) do
  local version = redis.call('HGET', delivery.key, 'version')
  if version == delivery.version and redis.call('ZREM', KEYS[1], delivery.id) == 1 then
    redis.call('DEL', delivery.key, delivery.attempts)
    for _, index in ipairs(delivery.indexes) do redis.call('ZREM', index, delivery.id) end
    redis.call('HINCRBY', plan.ledger, 'planned', -1)
    redis.call('HINCRBY', plan.ledger, delivery.count, -1)
    forgotten = forgotten + 1
  end
end
return forgotten
`;

/**
 * Forgets an ended watch and its events, unless it has changed or a delivery of it is kept.
 *
 * KEYS  watch
 * ARGV  plan as JSON
 * Returns 1 when it is gone, 0 when it was kept.
 */
const FORGET_WATCH = `
local plan = cjson.decode(ARGV[1])
local version, number = string.match(redis.call('GETRANGE', KEYS[1], 0, 40), '^(%d+) (%d+) ')
if version ~= plan.version then return 0 end
for _, event in ipairs(plan.events) do
  if redis.call('EXISTS', event.deliveries) == 1 then return 0 end
end
for _, event in ipairs(plan.events) do
  redis.call('DEL', event.key)
  for _, index in ipairs(event.indexes) do redis.call('ZREM', index, event.id) end
end
for _, index in ipairs(plan.indexes) do redis.call('ZREM', index, number) end
redis.call('ZREM', plan.watches, plan.member)
redis.call('ZREM', plan.ended, plan.member)
redis.call('DEL', KEYS[1])
return 1
`;

/**
 * Pauses a source, unless a longer pause stands.
 *
 * KEYS  pause
 * ARGV  the pause as JSON, milliseconds
 */
const PAUSE_SOURCE = `
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
`;

declare module 'ioredis' {
  interface RedisCommander<Context> {
    rwCommitWatch(
      watch: string,
      version: number,
      doc: string,
      effects: string,
    ): Result<string[] | null, Context>;
    rwSettleDelivery(
      delivery: string,
      version: number,
      doc: string,
      effects: string,
    ): Result<string | null, Context>;
    rwReadPage(keyCount: number, ...args: (string | number)[]): Result<string[], Context>;
    rwPauseSource(pause: string, text: string, ms: number): Result<null, Context>;
    rwForgetDeliveries(settled: string, plan: string): Result<number, Context>;
    rwForgetWatch(watch: string, plan: string): Result<number, Context>;
  }
}

/** Teaches a connection our scripts; ioredis sends them by hash and reloads them when Redis forgot. */
export function defineScripts(redis: Redis): void {
  redis.defineCommand('rwCommitWatch', { numberOfKeys: 1, lua: COMMIT_WATCH });
  redis.defineCommand('rwSettleDelivery', { numberOfKeys: 1, lua: SETTLE_DELIVERY });
  redis.defineCommand('rwReadPage', { lua: READ_PAGE });
  redis.defineCommand('rwPauseSource', { numberOfKeys: 1, lua: PAUSE_SOURCE });
  redis.defineCommand('rwForgetDeliveries', { numberOfKeys: 1, lua: FORGET_DELIVERIES });
  redis.defineCommand('rwForgetWatch', { numberOfKeys: 1, lua: FORGET_WATCH });
}
