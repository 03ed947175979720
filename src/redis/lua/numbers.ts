import { RUN_IDS } from './run-ids.ts';

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

/** Counts up and down; a field that comes to nought is gone. */
export const COUNT = `
local function count(counters, field, by)
  if redis.call('HINCRBY', counters, field, by) == 0 then redis.call('HDEL', counters, field) end
end
`;

/**
 * What numbers of a log stand for.
 *
 * KEYS  the chunks of the log, which say where the script runs.
 * ARGV  log, kind of number ('name', 'watch', 'event' or 'delivery'), key prefixes as JSON, numbers.
 * Returns five texts for each number in use: itself, the watch's id, packed record, version, and text.
 * The record is that of a packed watch and given once.
 */
export const READ_NUMBERS = `
${NUMBERS}
local log, kind, keys = ARGV[1], ARGV[2], cjson.decode(ARGV[3])

${IS_PACKED}
local given = {}
-- The packed record of a watch, the first time that it is asked for; nil where it is not packed.
local function packed(name)
  if given[name] == nil then
    given[name] = isPacked(keys.watch .. name)
    return given[name] and redis.call('GET', keys.watch .. name) or nil
  end
  return given[name] and '' or nil
end

local reply = {}
local function add(...)
  for _, part in ipairs({...}) do reply[#reply + 1] = part end
end

local function addEvent(number, name)
  local record = packed(name)
  if record then return add(number, name, record, '', '') end
  local id = redis.call('ZRANGEBYSCORE', keys.liveEvents .. name, number, number)[1]
  local body = id and redis.call('HGET', keys.event .. id, 'body')
  if body then add(number, name, '', '', body) end
end

-- An event that is about no run is in the log by its id.
local function addOwnEvent(number, id)
  local body = redis.call('HGET', keys.event .. id, 'body')
  if body then add(number, '', '', '', body) end
end

local function addDelivery(number, name, id)
  local record = name and packed(name)
  if record then return add(number, name, record, '', '') end
  id = id or redis.call('ZRANGEBYSCORE', keys.liveDeliveries .. name, number, number)[1]
  local version, doc = unpack(redis.call('HMGET', keys.delivery .. (id or ''), 'version', 'doc'))
  if doc then add(number, name or '', '', version, doc) end
end

-- What the log has of the numbers, a chunk of it by one command.
local values, at = {}, 4
while at <= #ARGV do
  local chunk, first, places = math.floor(ARGV[at] / 128), at, {}
  while at <= #ARGV and math.floor(ARGV[at] / 128) == chunk do
    places[#places + 1] = ARGV[at] % 128
    at = at + 1
  end
  for place, value in ipairs(redis.call('HMGET', log .. chunk, unpack(places))) do
    values[first + place - 1] = value
  end
end

for at = 4, #ARGV do
  local text, value = ARGV[at], values[at]
  if kind == 'name' then
    if value then add(text, value, '', '', '') end
  elseif kind == 'watch' then
    local record = value and redis.call('GET', keys.watch .. value)
    -- One that was registered again, or whose registration failed half-way, has another number.
    if record and tonumber(string.sub(record, 14, 25)) == tonumber(text) then add(text, value, record, '', '') end
  elseif value then
    -- A delivery of a system event is in the log by its id.
    local watch = tonumber(value)
    local name = watch and readLog(keys.names, watch)
    if kind == 'event' then
      if name then
        addEvent(text, name)
      elseif not watch then
        addOwnEvent(text, value)
      end
    elseif name or not watch then
      addDelivery(text, name, not watch and value or nil)
    end
  end
end
return reply
`;

/**
 * Takes the number of a watch without a record out of log and indexes.
 *
 * KEYS  watches by source, watches by last change, the watch, those that are named as JSON.
 * ARGV  log, number, source, indexes as JSON, its places among the ids of runs as JSON
 */
export const DROP_NUMBER = `
${NUMBERS}
${COUNT}
${RUN_IDS}
local number = tonumber(ARGV[2])
if not readLog(ARGV[1], number) then return end
for _, index in ipairs(cjson.decode(ARGV[4])) do leaveIndex(index, number) end
-- A watch that was registered again has its record under another number.
if redis.call('EXISTS', KEYS[3]) == 0 then leaveRun(cjson.decode(ARGV[5])) end
redis.call('ZREM', KEYS[2], number)
count(KEYS[1], ARGV[3], -1)
leaveLog(ARGV[1], number)
`;

/**
 * The lowest numbers of chunks of a log.
 *
 * KEYS  the chunks of the log
 * ARGV  log, ranks of chunks
 * Returns a number or '' for each rank.
 */
export const CHUNK_STARTS = `
local starts = {}
for at = 2, #ARGV do
  local chunk = redis.call('ZRANGE', KEYS[1], ARGV[at], ARGV[at])[1]
  local lowest
  for _, place in ipairs(chunk and redis.call('HKEYS', ARGV[1] .. chunk) or {}) do
    lowest = math.min(lowest or 128, tonumber(place))
  end
  starts[#starts + 1] = lowest and tostring(chunk * 128 + lowest) or ''
end
return starts
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

/**
 * Counts the numbers that are in all of the indexes.
 *
 * KEYS  one index or two
 */
export const COUNT_NUMBERS = `
${COUNTED}
return counted(KEYS[1], KEYS[2])
`;
