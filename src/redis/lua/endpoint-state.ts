import { CLAIM_DELIVERIES } from './claim.ts';
import { STORE_NOW } from './clock.ts';

/**
 * Writes what a result or a user made of an endpoint's state. Its document goes with a version, which
 * must be as it was when read. Results that change nothing but the counts are only counted, in a field
 * per minute. So attempts at a healthy endpoint do not conflict. Beside the document stand the fields
 * that claims go by.
 *
 * A webhook of a watch has a hash only while it is not well, and for a day after. Their number is
 * limited: beyond it the one that changed longest ago is forgotten.
 *
 * `isStateKnown(write)` compares the version, `writeState(write, now)` does the writing.
 */
export const WRITE_STATE = `
local function isStateKnown(write)
  return not write.doc or (redis.call('HGET', write.key, 'version') or '') == write.version
end

local function forgetMinutes(write, isOld)
  for _, field in ipairs(redis.call('HKEYS', write.key)) do
    local minute = tonumber(string.match(field, '^[df](%d+)$'))
    if minute and isOld(minute) then redis.call('HDEL', write.key, field) end
  end
end

local function keepWebhook(write, now)
  if redis.call('EXISTS', write.key) == 0 then return end
  if write.keptMs then redis.call('PEXPIRE', write.key, write.keptMs) else redis.call('PERSIST', write.key) end
  if write.isWell then
    redis.call('ZREM', write.unwell, write.name)
    return
  end
  redis.call('ZADD', write.unwell, now, write.name)
  if redis.call('ZCARD', write.unwell) > write.unwellKept then
    local oldest = redis.call('ZPOPMIN', write.unwell)[1]
    redis.call('DEL', write.states .. oldest)
  end
end

local function writeState(write, now)
  if write.doc then
    redis.call('HSET', write.key, 'version', write.newVersion, 'doc', write.doc, 'from', write.from,
      'parkedFrom', write.parkedFrom, 'probes', write.probes, 'slow', write.slow)
    if write.inTrouble then redis.call(write.isWell and 'SREM' or 'SADD', write.inTrouble, write.name) end
  end
  if write.isCleared then
    forgetMinutes(write, function() return true end)
  elseif write.count and (not write.isWebhook or redis.call('EXISTS', write.key) == 1)
    and redis.call('HINCRBY', write.key, write.count, 1) == 1 then
    forgetMinutes(write, function(minute) return minute <= write.forgottenMinute end)
  end
  if write.isWebhook then keepWebhook(write, now) end
end
`;

/**
 * Writes the state of an endpoint, if it is still what was read, and notes that its pool may be worth
 * asking now.
 *
 * KEYS  clock, due pools, due bell, those that the plan names.
 * ARGV  what to write as JSON, the plan of the pool as JSON, the receiver.
 * Returns 1, or 0 on a conflict.
 */
export const WRITE_ENDPOINT = `
${STORE_NOW}
${CLAIM_DELIVERIES}
${WRITE_STATE}
local write, p, now = cjson.decode(ARGV[1]), cjson.decode(ARGV[2]), storeNow(KEYS[1])
if not isStateKnown(write) then return 0 end
writeState(write, now)
if p.isShared then rescheduleWebhook(p, openReceiver(p, ARGV[3], 0), false) end
reschedule(p, now)
redis.call('PUBLISH', KEYS[3], p.pool)
return 1
`;
