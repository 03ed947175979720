import { FILL_PLACES } from './gate.ts';
import { PLAN_DELIVERIES } from './plan-deliveries.ts';

/**
 * Moves a delivery on, if nobody else has: its document, an attempt at it, its places in indexes,
 * ledger, lane, outbox and among the parked; what the attempt made of the endpoint's gate, also only
 * if nobody else has; and the alerts that follow. A delivery that has come to its end makes way for
 * the next one of its lane, an attempt that is over for one that waits.
 *
 * KEYS  delivery
 * ARGV  expected version, document, effects as JSON
 * Returns 'delivery' or 'gate', whichever had changed, else the ids of the deliveries that are due.
 */
export const MOVE_DELIVERY = `
${PLAN_DELIVERIES}
${FILL_PLACES}
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
if version ~= tonumber(ARGV[1]) then return 'delivery' end
local effects = cjson.decode(ARGV[3])
local gate = effects.gate
if gate.doc then
  local known = tonumber(redis.call('HGET', gate.key, 'version') or 0)
  if known ~= gate.version then return 'gate' end
  redis.call('HSET', gate.key, 'version', known + 1, 'doc', gate.doc)
  if gate.keptMs then redis.call('PEXPIRE', gate.key, gate.keptMs) end
end

local id, now, due = effects.id, effects.now, {}
redis.call('HSET', KEYS[1], 'version', version + 1, 'doc', ARGV[2])
if effects.attempt then
  redis.call('RPUSH', effects.attempts, effects.attempt)
  redis.call('LTRIM', effects.attempts, -effects.attemptsKept, -1)
end
local number = redis.call('HGET', KEYS[1], 'number')
for _, index in ipairs(effects.leave) do redis.call('ZREM', index, id) end
for _, index in ipairs(effects.enter) do redis.call('ZADD', index, number, id) end
if effects.countFrom ~= effects.countTo then
  redis.call('HINCRBY', effects.ledger, effects.countFrom, -1)
  redis.call('HINCRBY', effects.ledger, effects.countTo, 1)
end

if effects.isParked then
  redis.call('ZADD', gate.parked, now, id)
  redis.call('SADD', gate.gatesParked, gate.name)
else
  redis.call('ZREM', gate.parked, id)
  if redis.call('EXISTS', gate.parked) == 0 then redis.call('SREM', gate.gatesParked, gate.name) end
end

redis.call('ZREM', gate.waiting, id)
if effects.isOutstanding then
  redis.call('ZREM', effects.settled, id)
  if effects.joins then redis.call('RPUSH', effects.lane, id) end
  if effects.dueAt and redis.call('LINDEX', effects.lane, 0) == id then
    redis.call('ZADD', effects.outbox, effects.dueAt, id)
    if effects.dueAt <= now then due[#due + 1] = id end
  else
    redis.call('ZREM', effects.outbox, id)
  end
else
  redis.call('ZREM', effects.outbox, id)
  redis.call('ZADD', effects.settled, now, id)
  local wasFirst = redis.call('LINDEX', effects.lane, 0) == id
  redis.call('LREM', effects.lane, 1, id)
  local following = wasFirst and redis.call('LINDEX', effects.lane, 0)
  if following and not redis.call('ZSCORE', gate.parked, following) then
    redis.call('ZADD', effects.outbox, now, following)
    due[#due + 1] = following
  end
end

redis.call('ZREM', gate.places, id)
if redis.call('GET', gate.probe) == id then redis.call('DEL', gate.probe) end
fill(gate, effects.outbox, now, due)
for _, alert in ipairs(effects.alerts) do
  redis.call('HSET', alert.key, 'place', 0, 'body', alert.body)
end
plan(effects, due)
return due
`;

/**
 * Forgets settled deliveries; those that are pending, or unknown, are kept.
 *
 * KEYS  sorted set of settled deliveries
 * ARGV  plan as JSON
 * Returns how many were forgotten.
 */
export const FORGET_DELIVERIES = `
local plan = cjson.decode(ARGV[1])
local forgotten = 0
for _, delivery in ipairs(plan.deliveries) do
  local version = redis.call('HGET', delivery.key, 'version')
  if version == delivery.version and redis.call('ZREM', KEYS[1], delivery.id) == 1 then
    redis.call('DEL', delivery.key, delivery.attempts)
    if delivery.event ~= '' then redis.call('DEL', delivery.event) end
    for _, index in ipairs(delivery.indexes) do redis.call('ZREM', index, delivery.id) end
    redis.call('HINCRBY', plan.ledger, 'planned', -1)
    redis.call('HINCRBY', plan.ledger, delivery.count, -1)
    forgotten = forgotten + 1
  end
end
return forgotten
`;
