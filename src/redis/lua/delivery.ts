import { CLAIM_DELIVERIES } from './claim.ts';
import { WRITE_STATE } from './endpoint-state.ts';
import { EVEN_IF_FULL } from './full.ts';
import { COUNT, NUMBERS } from './numbers.ts';
import { PLAN_DELIVERIES, RAISE } from './outbox.ts';

/**
 * What the steps of a delivery are made of. A delivery is claimed, or stands among those that are due or
 * parked, or waits behind others of its order, or has settled. `d` is the delivery as it was read and what
 * it becomes, see `stepPlan` of `outbox-plan.ts`; `p` is the plan of its pool, see `claim.ts`. By which rule
 * it becomes that stands in `core/delivery/retry.ts`.
 *
 * What a user wants of a delivery that is being attempted stands in its field `wish`: `now`, past breaker
 * and quiet, or `due`, as soon as its receiver takes it. A step that does not meet it writes nothing and
 * returns it.
 */
const STEPS = `
${PLAN_DELIVERIES}
${CLAIM_DELIVERIES}
${COUNT}
-- It is as it was read, and no other claim on it stands: an attempt that outlasted its lease has happened.
-- One with another number was forgotten and made again.
local function isUnchanged(d, p)
  local version, number, wish = unpack(redis.call('HMGET', d.key, 'version', 'number', 'wish'))
  local token = holder(p.claims, d.id)
  d.wish, d.isClaimed = wish, token ~= nil
  d.isCurrent = version == d.version and number == d.number
  d.isLost = not version and (not token or token == d.token)
  return d.isCurrent and (not token or token == d.token)
end

local function unmetWish(d)
  return not d.meetsWish and d.wish
end

-- Writes what it becomes, and counts it in its new state. The record comes last of a step: one that fails
-- before leaves it as it was, and is taken again.
local function write(d, doc)
  if d.leave ~= d.enter then
    leaveIndex(d.leave, d.number)
    enterIndex(d.enter, d.number)
    count(d.deliveryCounts, d.countFrom, -1)
    count(d.deliveryCounts, d.countTo, 1)
  end
  redis.call('HSET', d.key, 'version', d.version + 1, 'doc', doc)
  if d.wish then redis.call('HDEL', d.key, 'wish') end
end

-- Takes it from where it stands: its claim and slot are free.
local function takeOut(d, p)
  if d.isClaimed then
    redis.call('HDEL', p.claims, d.id)
    redis.call('ZREM', p.taken, d.id)
    if p.isShared then leaveWebhook(p, d.receiver, d.id) end
  else
    redis.call('ZREM', p.dues .. d.receiver, d.id)
    redis.call('ZREM', p.parked .. d.receiver, d.id)
  end
  if d.mayProbe then endLease(p.probes .. d.receiver, d.id) end
end

-- It waits for its next attempt, if no other of its order is before it.
local function requeue(d, p, now)
  if redis.call('LINDEX', d.ordering, 0) == d.id then
    redis.call('ZADD', p.dues .. d.receiver, d.isUrgent and 0 or now + d.dueInMs, d.id)
  end
end

local function park(d, p, now)
  redis.call('ZADD', p.parked .. d.receiver, now, d.id)
end

-- It has come to its end: the next of its order is due.
local function settle(d, p, now)
  redis.call('ZADD', d.settled, now, d.id)
  if d.packDue then redis.call('ZADD', d.packDue, 'XX', now, d.watch) end
  local first, following = unpack(redis.call('LRANGE', d.ordering, 0, 1))
  if first ~= d.id then
    redis.call('LREM', d.ordering, 1, d.id)
    return
  end
  redis.call('LPOP', d.ordering)
  if following and not redis.call('ZSCORE', p.parked .. d.receiver, following) then
    redis.call('ZADD', p.dues .. d.receiver, now, following)
  end
end

-- One that had settled is outstanding again, behind the others of its order.
local function reopen(d)
  redis.call('ZREM', d.settled, d.id)
  if not redis.call('LPOS', d.ordering, d.id) then redis.call('RPUSH', d.ordering, d.id) end
end

local function place(d, p, now)
  if d.becomes == 'waiting' then
    requeue(d, p, now)
  elseif d.becomes == 'parked' then
    park(d, p, now)
  else
    settle(d, p, now)
  end
end

-- The slot that is free goes to what is due at the pool.
local function claimNext(d, p, now)
  if p.isShared then rescheduleWebhook(p, openReceiver(p, d.receiver, 0), false) end
  -- One that claims nothing goes by the token of its own claim.
  local token = d.most > 0 and ARGV[3] or d.token or ''
  return claimAndReschedule(p, now, d.most, token, ARGV[4])
end

-- What it took is free where its record was lost: no later step can tell whose that was.
local function freeLost(d, p)
  if not d.isLost then return end
  d.isClaimed, d.most = true, 0
  takeOut(d, p)
  claimNext(d, p, storeNow(KEYS[1]))
end
`;

/**
 * Records the result of an attempt: the delivery is settled, or waits for its next attempt. In the same
 * step stand what the attempt shows about endpoint and pool, and the events about the endpoint; its
 * state must be as it was read, too.
 *
 * KEYS  clock, due pools, due bell, those that the plans name.
 * ARGV  plan of the delivery and plan of the pool as JSON; token and turn of the next claim; what changes
 *       besides as JSON or ''; document, attempt.
 * Returns 'delivery' or 'endpoint', whichever had changed, or a wish that the step does not meet, else
 * what has been claimed at the pool.
 */
export const RECORD_ATTEMPT = `
${STEPS}
${WRITE_STATE}
${RAISE}
local d, p = cjson.decode(ARGV[1]), cjson.decode(ARGV[2])
local shows = ARGV[5] ~= '' and cjson.decode(ARGV[5])
if not isUnchanged(d, p) then
  freeLost(d, p)
  return 'delivery'
end
if unmetWish(d) then return d.wish end
if shows and not isStateKnown(shows.state) then return 'endpoint' end
local now = storeNow(KEYS[1])

local function writeReceiver()
  writeState(shows.state, now)
  if shows.slots then redis.call('SET', p.slots, shows.slots, 'PX', p.slotsKeptMs) end
  if shows.pause then holdBack(p, shows.pause, now) end
end

if shows then writeReceiver() end
if redis.call('RPUSH', d.attempts, ARGV[7]) > d.attemptsKept then
  redis.call('LTRIM', d.attempts, -d.attemptsKept, -1)
end
takeOut(d, p)
place(d, p, now)
if shows and shows.raised then raise(shows.raised) end
write(d, ARGV[6])
return claimNext(d, p, now)
`;

/**
 * Withholds a delivery without an attempt: it is postponed, parked, skipped or superseded.
 *
 * KEYS  clock, due pools, due bell, those that the plans name.
 * ARGV  plan of the delivery and plan of the pool as JSON; token and turn of the next claim; document.
 * Returns 'delivery' where it had changed, or a wish that the step does not meet, else what has been
 * claimed at the pool.
 */
export const WITHHOLD_DELIVERY = `
${EVEN_IF_FULL}
${STEPS}
evenIfFull(KEYS[1])
local d, p = cjson.decode(ARGV[1]), cjson.decode(ARGV[2])
if not isUnchanged(d, p) then
  freeLost(d, p)
  return 'delivery'
end
if unmetWish(d) then return d.wish end
local now = storeNow(KEYS[1])
takeOut(d, p)
place(d, p, now)
write(d, ARGV[5])
return claimNext(d, p, now)
`;

/**
 * Makes a delivery due, also one that has settled. One that a process has claimed is due when its attempt
 * ends.
 *
 * KEYS  clock, due pools, due bell, those that the plans name.
 * ARGV  plan of the delivery and plan of the pool as JSON; token and turn of the next claim; document.
 * Returns 1, or 0 where it had changed.
 */
export const REQUEUE_DELIVERY = `
${STEPS}
local d, p = cjson.decode(ARGV[1]), cjson.decode(ARGV[2])
if not isUnchanged(d, p) then
  if not d.isCurrent then return 0 end
  if d.wish ~= 'now' then redis.call('HSET', d.key, 'wish', d.isUrgent and 'now' or 'due') end
  return 1
end
local now = storeNow(KEYS[1])
takeOut(d, p)
if d.wasSettled then reopen(d) end
requeue(d, p, now)
write(d, ARGV[5])
claimNext(d, p, now)
return 1
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
  local isUnchanged = version == delivery.version and number == delivery.number
  if isUnchanged and redis.call('ZSCORE', KEYS[1], delivery.id) then
    leaveLog(plan.deliveryLog, number)
    for _, index in ipairs(delivery.indexes) do leaveIndex(index, number) end
    redis.call('ZREM', delivery.live, delivery.id)
    -- The text of an event that has left the log goes with the last of its deliveries.
    if delivery.event ~= '' and redis.call('EXISTS', delivery.live) == 0
      and not redis.call('ZSCORE', plan.ownEvents, delivery.eventId) then
      redis.call('DEL', delivery.event)
    end
    count(plan.deliveryCounts, 'planned', -1)
    count(plan.deliveryCounts, delivery.count, -1)
    redis.call('DEL', delivery.key, delivery.attempts)
    redis.call('ZREM', KEYS[1], delivery.id)
    forgotten = forgotten + 1
  end
end
return forgotten
`;
