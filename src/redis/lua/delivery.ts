import { ENTER_INBOX } from './alert.ts';
import { CLAIM_DELIVERIES } from './claim.ts';
import { WRITE_STATE } from './endpoint-state.ts';
import { NUMBERS } from './numbers.ts';
import { PLAN_DELIVERIES } from './plan-deliveries.ts';

/** Counts up and down; a field that comes to nought is gone. */
const COUNT = `
local function count(counters, field, by)
  if redis.call('HINCRBY', counters, field, by) == 0 then redis.call('HDEL', counters, field) end
end
`;

/**
 * Moves a delivery on, if it is as it was read and the claim on it, where there is one, still
 * holds. It writes its document, an attempt, its places in indexes, counters and order, and among
 * those that are due or parked. It writes the endpoint's state, which must be as it was read too,
 * the slots of its pool, and the events about it. A delivery that has come to its end makes
 * way for the next one of its order, and its slot goes to what is due at the pool.
 *
 * KEYS  clock, due pools, due bell, delivery, those that the effects name.
 * ARGV  expected version, document, effects as JSON.
 * Returns 'delivery' or 'endpoint', whichever had changed, else what has been claimed at its pool.
 */
export const MOVE_DELIVERY = `
${PLAN_DELIVERIES}
${CLAIM_DELIVERIES}
${WRITE_STATE}
${COUNT}
${ENTER_INBOX}
local version, number = unpack(redis.call('HMGET', KEYS[4], 'version', 'number'))
if version ~= ARGV[1] then return 'delivery' end
local effects = cjson.decode(ARGV[3])
local id, p, lane, name = effects.id, effects.plan, effects.lane, effects.receiver
if holder(p.claims, id) ~= effects.token then return 'delivery' end
local state = effects.stateWrite
if state and not isStateKnown(state) then return 'endpoint' end
local now = storeNow(KEYS[1])
if state then writeState(state, now) end
if effects.slots then redis.call('SET', p.slots, effects.slots, 'PX', p.slotsKeptMs) end
if effects.pauseMs then redis.call('SET', p.hold, now + effects.pauseMs, 'PX', effects.pauseMs) end

redis.call('HSET', KEYS[4], 'version', version + 1, 'doc', ARGV[2])
if effects.attempt and redis.call('RPUSH', effects.attempts, effects.attempt) > effects.attemptsKept then
  redis.call('LTRIM', effects.attempts, -effects.attemptsKept, -1)
end
if effects.leave ~= effects.enter then
  leaveIndex(effects.leave, number)
  enterIndex(effects.enter, number)
  count(effects.ledger, effects.countFrom, -1)
  count(effects.ledger, effects.countTo, 1)
end

if effects.token then
  redis.call('HDEL', p.claims, id)
  redis.call('ZREM', p.taken, id)
  if p.isShared then redis.call('ZREM', p.takens .. name, id) end
else
  redis.call('ZREM', p.dues .. name, id)
end
if effects.isParked then
  redis.call('ZADD', p.parked .. name, now, id)
elseif effects.wasParked then
  redis.call('ZREM', p.parked .. name, id)
end

if effects.isOutstanding then
  if effects.joins then
    redis.call('ZREM', effects.settled, id)
    redis.call('RPUSH', lane, id)
  end
  if effects.dueInMs and redis.call('LINDEX', lane, 0) == id then
    redis.call('ZADD', p.dues .. name, effects.isUrgent and 0 or now + effects.dueInMs, id)
  end
else
  redis.call('ZADD', effects.settled, now, id)
  if effects.foldDue then redis.call('ZADD', effects.foldDue, 'XX', now, effects.watch) end
  local first, following = unpack(redis.call('LRANGE', lane, 0, 1))
  if first == id then
    redis.call('LPOP', lane)
    if following and not redis.call('ZSCORE', p.parked .. name, following) then
      redis.call('ZADD', p.dues .. name, now, following)
    end
  else
    redis.call('LREM', lane, 1, id)
  end
end

if effects.probe and redis.call('GET', effects.probe) == id then redis.call('DEL', effects.probe) end
for _, event in ipairs(effects.events) do
  redis.call('HSET', event.key, 'place', 0, 'body', event.body)
end
plan(effects, {})
enterInbox(effects.judged)
if p.isShared then rescheduleWebhook(p, openReceiver(p, name, 0), false) end
return claimAndReschedule(p, now, effects.most)
`;

/**
 * Forgets live deliveries that have settled; those that are pending, or unknown, are kept.
 *
 * KEYS  sorted set of settled deliveries, those that the plan names.
 * ARGV  plan as JSON.
 * Returns how many were forgotten.
 */
export const FORGET_DELIVERIES = `
${NUMBERS}
${COUNT}
local plan = cjson.decode(ARGV[1])
local forgotten = 0
for _, delivery in ipairs(plan.deliveries) do
  local version, number = unpack(redis.call('HMGET', delivery.key, 'version', 'number'))
  if version == delivery.version and redis.call('ZREM', KEYS[1], delivery.id) == 1 then
    redis.call('DEL', delivery.key, delivery.attempts)
    for _, index in ipairs(delivery.indexes) do leaveIndex(index, number) end
    leaveLog(plan.deliveryLog, number)
    redis.call('ZREM', delivery.live, delivery.id)
    -- The text of an event that is in no log goes with the last of its deliveries.
    if delivery.event ~= '' and redis.call('EXISTS', delivery.live) == 0 then
      redis.call('DEL', delivery.event)
    end
    count(plan.ledger, 'planned', -1)
    count(plan.ledger, delivery.count, -1)
    forgotten = forgotten + 1
  end
end
return forgotten
`;
