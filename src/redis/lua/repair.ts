import { EVEN_IF_FULL } from './full.ts';
import { COUNT, COUNTED, IS_PACKED, NUMBERS } from './numbers.ts';
import { RUN_IDS } from './run-ids.ts';

/**
 * Puts back what logs, indexes and sorted sets lack of a record, unless that has changed since it was
 * read. Of a live watch, events without a record leave, and are counted as lost.
 *
 * KEYS  damage, those that the plan names.
 * ARGV  plan as JSON, see `repair-plan.ts`.
 * Returns [entries that were missing, or -1 where a record has changed; events that are lost]
 */
export const PUT_BACK = `
${NUMBERS}
${IS_PACKED}
${RUN_IDS}
local plan, missing, lost = cjson.decode(ARGV[1]), 0, 0

local function isAsRead(one)
  if one.field then return redis.call('HGET', one.key, one.field) == one.text end
  if one.isLive and isPacked(one.key) then return false end
  return redis.call('GETRANGE', one.key, one.from, one.from + #one.text - 1) == one.text
end

local function putInLog(log, number, value)
  local chunk = math.floor(number / 128)
  if readLog(log, number) ~= value then
    enterLog(log, number, value)
    missing = missing + 1
  end
  -- The chunk may have lost its entry alone.
  missing = missing + redis.call('ZADD', log .. 'chunks', 'NX', chunk, chunk)
end

for _, one in ipairs(plan.read) do
  if not isAsRead(one) then return {-1, 0} end
end
for _, one in ipairs(plan.logs) do putInLog(one.log, one.number, one.value) end
for _, one in ipairs(plan.indexes) do
  if not isInIndex(one.index, one.number) then
    enterIndex(one.index, one.number)
    missing = missing + 1
  end
end
for _, one in ipairs(plan.sorted) do
  missing = missing + redis.call('ZADD', one.key, 'NX', one.score, one.member)
end
for _, member in ipairs(plan.runIds and plan.runIds.members or {}) do
  if not hasRunId(plan.runIds, member) then
    enterRunId(plan.runIds, member)
    missing = missing + 1
  end
end
for _, id in ipairs(plan.live and redis.call('ZRANGE', plan.live.key, 0, -1) or {}) do
  if redis.call('EXISTS', plan.live.events .. id) == 0 then
    leaveLog(plan.live.log, tonumber(redis.call('ZSCORE', plan.live.key, id)))
    redis.call('ZREM', plan.live.key, id)
    redis.call('HINCRBY', KEYS[1], 'events', 1)
    lost = lost + 1
  end
end
return {missing, lost}
`;

/**
 * Takes numbers out of a log that stand for no record. It keeps those of some indexes, which other
 * comparisons count as lost.
 *
 * KEYS  those that the plan names.
 * ARGV  plan as JSON, chunks of the log.
 * Returns how many it took out
 */
export const SWEEP_LOG = `
${EVEN_IF_FULL}
${NUMBERS}
${IS_PACKED}
local plan, dropped = cjson.decode(ARGV[1]), 0
evenIfFull(plan.chunks)

local function stands(number, value)
  if not plan.records then
    return tonumber(redis.call('GETRANGE', plan.watch .. value, 13, 24)) == number
  end
  local watch = tonumber(value)
  if not watch then return redis.call('EXISTS', plan.records .. value) == 1 end
  local name = readLog(plan.names, watch)
  if not name then return false end
  if isPacked(plan.watch .. name) then return true end
  local id = redis.call('ZRANGEBYSCORE', plan.live .. name, number, number)[1]
  return id and redis.call('EXISTS', plan.records .. id) == 1
end

local function isKept(number)
  for _, index in ipairs(plan.kept) do
    if isInIndex(index, number) then return true end
  end
end

for at = 2, #ARGV do
  local flat = redis.call('HGETALL', plan.log .. ARGV[at])
  for place = 1, #flat, 2 do
    local number = ARGV[at] * 128 + flat[place]
    if not isKept(number) and not stands(number, flat[place + 1]) then
      leaveLog(plan.log, number)
      dropped = dropped + 1
    end
  end
end
return dropped
`;

/**
 * Takes numbers out of an index that are not in the log.
 *
 * KEYS  index.
 * ARGV  log, chunks.
 * Returns how many it took out
 */
export const SWEEP_INDEX = `
${EVEN_IF_FULL}
evenIfFull(KEYS[1])
local dropped = 0
for at = 2, #ARGV do
  local held, known, kept = redis.call('HGET', KEYS[1], ARGV[at]) or '', {}, {}
  for _, place in ipairs(redis.call('HKEYS', ARGV[1] .. ARGV[at])) do known[tonumber(place)] = true end
  for byte = 1, #held do
    if known[string.byte(held, byte)] then kept[#kept + 1] = string.sub(held, byte, byte) end
  end
  dropped = dropped + #held - #kept
  if #kept == 0 then
    redis.call('HDEL', KEYS[1], ARGV[at])
  elseif #kept < #held then
    redis.call('HSET', KEYS[1], ARGV[at], table.concat(kept))
  end
end
return dropped
`;

/**
 * Sets a counter to how many numbers are in all of some indexes.
 *
 * KEYS  counters, one index or two.
 * ARGV  field, field of the sum that it is part of or ''.
 * Returns 1 where it was another number
 */
export const RECOUNT = `
${EVEN_IF_FULL}
${COUNT}
${COUNTED}
evenIfFull(KEYS[1])
local off = counted(KEYS[2], KEYS[3]) - tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
if off == 0 then return 0 end
count(KEYS[1], ARGV[1], off)
if ARGV[2] ~= '' then count(KEYS[1], ARGV[2], off) end
return 1
`;

/**
 * Whether counters add up to what indexes hold, in turn, until as many chunks have been counted as may be;
 * the first in any case.
 *
 * KEYS  counters and index of each.
 * ARGV  most chunks, then for each a field and 'whole', or how fields begin and 'beginning'.
 * Returns [how many were compared, 1 where these add up]
 */
export const ADD_UP = `
${COUNTED}
local read = {}
local function sumOf(counters, field, is)
  if is == 'whole' then return tonumber(redis.call('HGET', counters, field) or 0) end
  read[counters] = read[counters] or redis.call('HGETALL', counters)
  local sum, flat = 0, read[counters]
  for at = 1, #flat, 2 do
    if string.sub(flat[at], 1, #field) == field then
      if tonumber(flat[at + 1]) < 0 then return -1 end
      sum = sum + flat[at + 1]
    end
  end
  return sum
end

local left, addUp = tonumber(ARGV[1]), 1
for at = 1, #KEYS / 2 do
  local counters, index = KEYS[2 * at - 1], KEYS[2 * at]
  local chunks = redis.call('HLEN', index)
  left = left - chunks
  if left < 0 and at > 1 then return {at - 1, addUp} end
  local held = chunks == 0 and 0 or counted(index)
  if sumOf(counters, ARGV[2 * at], ARGV[2 * at + 1]) ~= held then addUp = 0 end
end
return {#KEYS / 2, addUp}
`;
