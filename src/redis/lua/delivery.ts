import { CLAIM_DELIVERIES } from './claim.ts';
import { WRITE_GATE_STATE } from './gate.ts';
import { PLAN_DELIVERIES } from './plan-deliveries.ts';

/**
 * Moves a delivery on, if nobody else has: its document, an attempt at it, its places in indexes,
 * ledger, lane and among those that are due or parked; what the attempt made of the endpoint's gate,
 * also only if nobody else has; and the alerts that follow. A delivery that has come to its end makes
 * way for the next one of its lane, and its place among the attempts goes on to who is due there.
 *
 * KEYS  delivery
 * ARGV  expected version, document, effects as JSON
 * Returns 'delivery' or 'gate', whichever had changed, else what has been claimed at its gate.
 */
export const MOVE_DELIVERY = `
${PLAN_DELIVERIES}
${CLAIM_DELIVERIES}
${WRITE_GATE_STATE}
local version, number = unpack(redis.call('HMGET', KEYS[1], 'version', 'number'))
if version ~= ARGV[1] then return 'delivery' end
local effects = cjson.decode(ARGV[3])
local id, now, gate, lane = effects.id, effects.now, effects.gate, effects.lane
if effects.gateWrite then
  if not isGateKnown(effects.gateWrite) then return 'gate' end
  writeGate(effects.gateWrite)
end

redis.call('HSET', KEYS[1], 'version', version + 1, 'doc', ARGV[2])
if effects.attempt and redis.call('RPUSH', effects.attempts, effects.attempt) > effects.attemptsKept then
  redis.call('LTRIM', effects.attempts, -effects.attemptsKept, -1)
end
if effects.leave ~= effects.enter then
  redis.call('ZREM', effects.leave, id)
  redis.call('ZADD', effects.enter, number, id)
  redis.call('HINCRBY', effects.ledger, effects.countFrom, -1)
  redis.call('HINCRBY', effects.ledger, effects.countTo, 1)
end

redis.call('ZREM', gate.places, id)
redis.call('ZREM', gate.due, id)
if effects.isParked then
  redis.call('ZADD', gate.parked, now, id)
  redis.call('SADD', gate.gatesParked, gate.name)
elseif effects.wasParked and redis.call('ZREM', gate.parked, id) == 1
  and redis.call('EXISTS', gate.parked) == 0 then
  redis.call('SREM', gate.gatesParked, gate.name)
end

if effects.isOutstanding then
  if effects.joins then
    redis.call('ZREM', effects.settled, id)
    redis.call('RPUSH', lane, id)
  end
  if effects.dueAt and redis.call('LINDEX', lane, 0) == id then
    redis.call('ZADD', gate.due, effects.dueAt, id)
  end
else
  redis.call('ZADD', effects.settled, now, id)
  if redis.call('LINDEX', lane, 0) == id then
    redis.call('LPOP', lane)
    local following = redis.call('LINDEX', lane, 0)
    if following and not redis.call('ZSCORE', gate.parked, following) then
      redis.call('ZADD', gate.due, now, following)
    end
  else
    redis.call('LREM', lane, 1, id)
  end
end

if effects.probe and redis.call('GET', effects.probe) == id then redis.call('DEL', effects.probe) end
for _, alert in ipairs(effects.alerts) do
  redis.call('HSET', alert.key, 'place', 0, 'body', alert.body)
end
plan(effects, {})
local claimed = claim(gate, now, effects.most)
reschedule(gate)
return claimed
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
