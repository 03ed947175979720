import { STORE_NOW } from './clock.ts';
import { EVEN_IF_FULL } from './full.ts';
import { COUNT, IS_PACKED, NUMBERS } from './numbers.ts';
import { RUN_IDS } from './run-ids.ts';

/**
 * A watch that has ended is packed once its deliveries have settled: record, events, deliveries and
 * attempts become one packed record, under the key of the watch. `history-codec.ts` packs and unpacks it.
 * Indexes, logs and delivery counters are the same in both states, so packing changes none of them.
 *
 * A record begins with version and number of the watch, 25 bytes; a packed one goes on with its form, a
 * control character.
 *
 * `writePacked(key, version, packed, totals)` writes its
 * record and counts it; `dropPacked(key, totals)` uncounts it.
 */
const PACKED = `
${IS_PACKED}
local function isUnchanged(key, identity)
  return redis.call('GETRANGE', key, 0, 24) == identity
end

local function dropPacked(key, totals)
  redis.call('HINCRBY', totals, 'watches', -1)
  redis.call('HINCRBY', totals, 'bytes', -redis.call('STRLEN', key))
end

local function writePacked(key, identity, packed, totals)
  local version = tonumber(string.sub(identity, 1, 12)) + 1
  local record = string.format('%012.0f', version) .. string.sub(identity, 13) .. packed
  redis.call('HINCRBY', totals, 'watches', 1)
  redis.call('HINCRBY', totals, 'bytes', #record)
  redis.call('SET', key, record)
end
`;

/** `dropDeliveries(plan)` takes deliveries of a packed watch out of log, indexes and counters. */
const DROP_DELIVERIES = `
${COUNT}
local function dropDeliveries(plan)
  for _, delivery in ipairs(plan.deliveries) do
    leaveLog(plan.deliveryLog, delivery.number)
    for _, index in ipairs(delivery.indexes) do leaveIndex(index, delivery.number) end
    count(plan.deliveryCounts, 'planned', -1)
    count(plan.deliveryCounts, delivery.count, -1)
  end
end
`;

/**
 * A watch with what belongs to it, as it is at one moment.
 *
 * KEYS  watch, its live events, its live deliveries.
 * ARGV  key prefixes of events, deliveries and attempts; settled deliveries; most events and deliveries.
 * Returns [record] alone for a packed watch and for one with more than that. Else [record, events,
 * deliveries]. Events are place and text in turn; deliveries are number, version, document, time of
 * settling or '', attempts, in turn.
 */
export const READ_HISTORY = `
${PACKED}
local record = redis.call('GET', KEYS[1])
if not record then return {} end
local count = redis.call('ZCARD', KEYS[2]) + redis.call('ZCARD', KEYS[3])
if isPacked(KEYS[1]) or count > tonumber(ARGV[5]) then return {record} end
local events, deliveries = {}, {}
local found = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for at = 1, #found, 2 do
  events[#events + 1] = found[at + 1]
  events[#events + 1] = redis.call('HGET', ARGV[1] .. found[at], 'body') or ''
end
found = redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')
for at = 1, #found, 2 do
  local id = found[at]
  local version, doc = unpack(redis.call('HMGET', ARGV[2] .. id, 'version', 'doc'))
  local settledAt = redis.call('ZSCORE', ARGV[4], id) or ''
  local attempts = redis.call('LRANGE', ARGV[3] .. id, 0, -1)
  for _, part in ipairs({found[at + 1], version or '', doc or '', settledAt, attempts}) do
    deliveries[#deliveries + 1] = part
  end
end
return {record, events, deliveries}
`;

/**
 * Part of the events or deliveries of a watch.
 *
 * KEYS  watch, its live events or deliveries.
 * ARGV  their key prefix, 'newest' or 'oldest', number to go on from or '', most of them, two fields to
 *       read: version or '', and text.
 * Returns [record] where the watch is packed, else ['', number, version, text, …].
 */
export const READ_PART = `
${PACKED}
if isPacked(KEYS[1]) then return {redis.call('GET', KEYS[1])} end
local beyond = ARGV[3] ~= '' and '(' .. ARGV[3]
local found
if ARGV[2] == 'newest' then
  found = redis.call('ZREVRANGEBYSCORE', KEYS[2], beyond or '+inf', '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[4])
else
  found = redis.call('ZRANGEBYSCORE', KEYS[2], beyond or '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[4])
end
local reply = {''}
for at = 1, #found, 2 do
  local version, text = unpack(redis.call('HMGET', ARGV[1] .. found[at], ARGV[5], ARGV[6]))
  for _, part in ipairs({found[at + 1], version or '', text or ''}) do reply[#reply + 1] = part end
end
return reply
`;

/**
 * One event or delivery.
 *
 * KEYS  its hash, the watch that it belongs to, where it belongs to one.
 * ARGV  fields, the last of which each has.
 * Returns ['live', fields], ['packed', record], or nothing.
 */
export const READ_ONE = `
${PACKED}
local found = redis.call('HMGET', KEYS[1], unpack(ARGV))
if found[#ARGV] then return {'live', unpack(found)} end
if KEYS[2] and isPacked(KEYS[2]) then return {'packed', redis.call('GET', KEYS[2])} end
return {}
`;

/**
 * Packs a watch, if neither it nor a delivery of it has changed since they were read.
 *
 * KEYS  watch, its live events, its live deliveries, packed, settled deliveries, those due for packing,
 *       those that the plan names.
 * ARGV  identity of the record as it was read, packed record, plan as JSON.
 * Returns 1 where it is packed now.
 */
export const PACK = `
${EVEN_IF_FULL}
${PACKED}
local plan = cjson.decode(ARGV[3])
if not isUnchanged(KEYS[1], ARGV[1]) or isPacked(KEYS[1]) then return 0 end
if redis.call('ZCARD', KEYS[2]) ~= #plan.events then return 0 end
if redis.call('ZCARD', KEYS[3]) ~= #plan.deliveries then return 0 end
for _, delivery in ipairs(plan.deliveries) do
  local version, number = unpack(redis.call('HMGET', delivery.key, 'version', 'number'))
  if version ~= delivery.version or number ~= delivery.number then return 0 end
end
evenIfFull(KEYS[1])
if plan.settledAt then redis.call('ZADD', KEYS[5], plan.settledAt, plan.number) end
-- What goes into the record is deleted once the record is there: a step may fail in between.
writePacked(KEYS[1], ARGV[1], ARGV[2], KEYS[4])
for _, key in ipairs(plan.events) do redis.call('DEL', key) end
for _, delivery in ipairs(plan.deliveries) do
  redis.call('DEL', delivery.key, delivery.attempts)
  redis.call('ZREM', KEYS[5], delivery.id)
end
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('ZREM', KEYS[6], plan.member)
return 1
`;

/**
 * Gives a member of a sorted set of times another time, if it is there.
 *
 * KEYS  sorted set.
 * ARGV  member, time
 */
export const PUT_OFF = `
${EVEN_IF_FULL}
evenIfFull(KEYS[1])
redis.call('ZADD', KEYS[1], 'XX', ARGV[2], ARGV[1])
`;

/**
 * Unpacks a watch, unless it has changed since it was read: it has the same version, events and
 * deliveries as before, and is due for packing again.
 *
 * KEYS  as for packing, with the clock behind those that are named there.
 * ARGV  identity of the record as it was read, the rest of the record, plan as JSON
 */
export const UNPACK = `
${STORE_NOW}
${PACKED}
local plan = cjson.decode(ARGV[3])
if not isUnchanged(KEYS[1], ARGV[1]) or not isPacked(KEYS[1]) then return 0 end
for _, event in ipairs(plan.events) do
  redis.call('HSET', event.key, 'place', event.place, 'body', event.body)
  redis.call('ZADD', KEYS[2], event.place, event.id)
end
redis.call('ZREM', KEYS[5], plan.number)
for _, delivery in ipairs(plan.deliveries) do
  redis.call('HSET', delivery.key, 'version', delivery.version, 'number', delivery.number,
    'doc', delivery.doc, 'event', delivery.event)
  redis.call('DEL', delivery.attempts)
  for _, attempt in ipairs(delivery.attemptTexts) do
    redis.call('RPUSH', delivery.attempts, attempt)
  end
  redis.call('ZADD', KEYS[3], delivery.number, delivery.id)
  redis.call('ZADD', KEYS[5], delivery.settledAt, delivery.id)
end
redis.call('ZADD', KEYS[6], storeNow(KEYS[7]), plan.member)
-- The record last: until then all of it is in the packed one.
dropPacked(KEYS[1], KEYS[4])
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2])
return 1
`;

/**
 * Writes a packed watch anew, unless it has changed since it was read, perhaps without some of its
 * deliveries.
 *
 * KEYS  watch, packed, settled deliveries, those that the plan names.
 * ARGV  identity of the record as it was read, packed record, plan as JSON.
 * Returns 1 where it was written.
 */
export const REPACK = `
${EVEN_IF_FULL}
${NUMBERS}
${PACKED}
${DROP_DELIVERIES}
local plan = cjson.decode(ARGV[3])
if not isUnchanged(KEYS[1], ARGV[1]) or not isPacked(KEYS[1]) then return 0 end
evenIfFull(KEYS[2])
redis.call('ZREM', KEYS[3], plan.number)
if plan.settledAt then redis.call('ZADD', KEYS[3], plan.settledAt, plan.number) end
dropDeliveries(plan)
dropPacked(KEYS[1], KEYS[2])
writePacked(KEYS[1], ARGV[1], ARGV[2], KEYS[2])
return 1
`;

/**
 * Forgets a packed watch with all that belongs to it, unless it has changed since it was read.
 *
 * KEYS  watch, packed, settled deliveries, those that the plan names.
 * ARGV  identity of the record as it was read, plan as JSON.
 * Returns 1 where it is gone.
 */
export const FORGET_PACKED = `
${EVEN_IF_FULL}
${NUMBERS}
${RUN_IDS}
${PACKED}
${DROP_DELIVERIES}
local plan = cjson.decode(ARGV[2])
if not isUnchanged(KEYS[1], ARGV[1]) or not isPacked(KEYS[1]) then return 0 end
evenIfFull(KEYS[2])
redis.call('ZREM', KEYS[3], plan.number)
dropDeliveries(plan)
for _, event in ipairs(plan.events) do
  leaveLog(plan.eventLog, event.place)
  for _, index in ipairs(event.indexes) do leaveIndex(index, event.place) end
end
leaveLog(plan.names, plan.number)
leaveRun(plan.runIds)
for _, index in ipairs(plan.indexes) do leaveIndex(index, plan.number) end
redis.call('ZREM', plan.ended, plan.number)
redis.call('ZREM', plan.changed, plan.number)
redis.call('ZREM', plan.goneChecks, plan.member)
count(plan.sources, plan.source, -1)
dropPacked(KEYS[1], KEYS[2])
redis.call('DEL', KEYS[1])
return 1
`;

/**
 * Drops a watch from those that are due for packing, unless it has been registered again.
 *
 * KEYS  watch, those due for packing.
 * ARGV  its id
 */
export const DROP_PACK_DUE = `
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('ZREM', KEYS[2], ARGV[1]) end
`;

/**
 * Forgets events of a live watch that has too many to be packed.
 *
 * KEYS  its live events, those that the plan names.
 * ARGV  plan as JSON
 */
export const FORGET_EVENTS = `
${NUMBERS}
local plan = cjson.decode(ARGV[1])
for _, event in ipairs(plan.events) do
  leaveLog(plan.eventLog, event.place)
  for _, index in ipairs(event.indexes) do leaveIndex(index, event.place) end
  redis.call('DEL', event.key)
  redis.call('ZREM', KEYS[1], event.id)
end
`;

/**
 * Forgets events that are about no run. The text of one is kept while it has deliveries.
 *
 * KEYS  those that the plan names.
 * ARGV  plan as JSON
 */
export const FORGET_OWN_EVENTS = `
${NUMBERS}
local plan = cjson.decode(ARGV[1])
for _, event in ipairs(plan.events) do
  if redis.call('ZSCORE', plan.ownEvents, event.id) then
    if event.place then leaveLog(plan.eventLog, event.place) end
    for _, index in ipairs(event.indexes) do leaveIndex(index, event.place) end
    if redis.call('EXISTS', event.live) == 0 then redis.call('DEL', event.key) end
    redis.call('ZREM', plan.ownEvents, event.id)
  end
end
`;
