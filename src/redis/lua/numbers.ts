/**
 * Records are numbered as they are made. Two structures go by these numbers, in chunks of 128.
 *
 * An index is a hash: field a chunk, value one byte for each number of the chunk that is in the index,
 * in no order. That is one to two bytes a record where an index is dense and some 60 where it is sparse,
 * against 103 in a sorted set.
 *
 * A log gives each number a value. It is a hash for each chunk, small enough for Redis to keep it as a
 * listpack, and a sorted set of the chunks. Its name ends with a colon.
 */
export const NUMBERS = `
local function enterIndex(index, number)
  local chunk, place = math.floor(number / 128), string.char(number % 128)
  local held = redis.call('HGET', index, chunk)
  if not held then
    redis.call('HSET', index, chunk, place)
  elseif not string.find(held, place, 1, true) then
    redis.call('HSET', index, chunk, held .. place)
  end
end

local function isInIndex(index, number)
  local held = redis.call('HGET', index, math.floor(number / 128))
  return held and string.find(held, string.char(number % 128), 1, true) ~= nil
end

local function leaveIndex(index, number)
  local chunk, place = math.floor(number / 128), string.char(number % 128)
  local held = redis.call('HGET', index, chunk)
  local at = held and string.find(held, place, 1, true)
  if not at then return end
  if #held == 1 then
    redis.call('HDEL', index, chunk)
  else
    redis.call('HSET', index, chunk, string.sub(held, 1, at - 1) .. string.sub(held, at + 1))
  end
end

local function enterLog(log, number, value)
  local chunk = math.floor(number / 128)
  redis.call('HSET', log .. chunk, number % 128, value)
  -- The first of its chunk, also after the chunk was lost.
  if redis.call('HLEN', log .. chunk) == 1 then
    redis.call('ZADD', log .. 'chunks', chunk, chunk)
    if redis.call('EXISTS', log .. chunk - 1) == 0 then redis.call('ZREM', log .. 'chunks', chunk - 1) end
  end
end

-- The last chunk is kept: more numbers may come.
local function leaveLog(log, number)
  local chunk = math.floor(number / 128)
  redis.call('HDEL', log .. chunk, number % 128)
  if redis.call('EXISTS', log .. chunk) == 1 then return end
  if redis.call('ZREVRANGE', log .. 'chunks', 0, 0)[1] ~= tostring(chunk) then
    redis.call('ZREM', log .. 'chunks', chunk)
  end
end

local function enterNumber(log, indexes, number, value)
  for _, index in ipairs(indexes) do enterIndex(index, number) end
  enterLog(log, number, value)
end

-- The log first: that takes no memory, so that a full Redis lets scripts begin with it.
local function leaveNumber(log, indexes, number)
  leaveLog(log, number)
  for _, index in ipairs(indexes) do leaveIndex(index, number) end
end

-- A counter that was lost goes on behind the numbers of its log: no number stands for two records.
local function nextNumber(counter, log)
  local number = redis.call('INCR', counter)
  local last = number == 1 and redis.call('ZREVRANGE', log .. 'chunks', 0, 0)[1]
  if not last then return number end
  return redis.call('INCRBY', counter, (last + 1) * 128 - number)
end

local function readLog(log, number)
  return redis.call('HGET', log .. math.floor(number / 128), number % 128)
end
`;

/** Whether the record of a watch is packed, by the control character behind version and number. */
export const IS_PACKED = `
local function isPacked(key)
  return string.find(redis.call('GETRANGE', key, 25, 25), '^%c') ~= nil
end
`;

/** Whether a watch has the version and number that it was read with. */
export const IS_UNCHANGED = `
local function isUnchanged(key, identity)
  return redis.call('GETRANGE', key, 0, 24) == identity
end
`;

/** Counts up and down; a field that comes to nought is gone. */
export const COUNT = `
local function count(counters, field, by)
  if redis.call('HINCRBY', counters, field, by) == 0 then redis.call('HDEL', counters, field) end
end
`;

/** `counted(index, other)` counts the numbers that are in one index, or in both. */
export const COUNTED = `
local function counted(index, other)
  local sum = 0
  if not other then
    for _, held in ipairs(redis.call('HVALS', index)) do sum = sum + #held end
    return sum
  end
  local flat = redis.call('HGETALL', index)
  for at = 1, #flat, 2 do
    local held, both = flat[at + 1], redis.call('HGET', other, flat[at]) or ''
    for byte = 1, #held do
      if string.find(both, string.sub(held, byte, byte), 1, true) then sum = sum + 1 end
    end
  end
  return sum
end
`;
