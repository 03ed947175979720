import { STORE_NOW } from './clock.ts';
import { EVEN_IF_FULL } from './full.ts';
import { NUMBERS } from './numbers.ts';

/**
 * `logOwnEvents(own, now)` writes events that are about no run: of alerts, and about runwatch itself. They
 * stand in the log by their own ids. Needs `NUMBERS`. `ringEvents(keys)` wakes the followers of the log.
 */
const LOG_OWN_EVENTS = `
local function ringEvents(keys)
  local place, epochs = unpack(redis.call('MGET', keys.eventPlace, keys.epochs))
  redis.call('PUBLISH', keys.eventBell, place .. ' ' .. (string.match(epochs or '', '^%S+') or ''))
end

local function logOwnEvents(own, now)
  if not own then return end
  for _, event in ipairs(own.events) do
    local place = nextNumber(own.eventPlace, own.eventLog)
    for _, index in ipairs(event.indexes) do enterIndex(index, place) end
    enterLog(own.eventLog, place, event.id)
    redis.call('ZADD', own.ownEvents, now, event.id)
    redis.call('HSET', event.key, 'place', place, 'body', event.body)
  end
  ringEvents(own)
end
`;

/**
 * Adds deliveries that are not there yet to store, counters and orders. One that is alone in its order
 * is due; its pool is worth asking, is added to `pools`, and the other processes are woken.
 */
export const PLAN_DELIVERIES = `
${STORE_NOW}
${NUMBERS}
-- A record of a watch begins with version and number, see watch-record.ts.
local numbers = {}
local function numberOf(watch)
  numbers[watch] = numbers[watch] or tonumber(redis.call('GETRANGE', watch, 13, 24))
  return numbers[watch]
end

local function plan(effects, pools)
  if #effects.deliveries == 0 then return end
  local now = storeNow(effects.clock)
  for _, delivery in ipairs(effects.deliveries) do
    if redis.call('HEXISTS', delivery.key, 'version') == 0 then
      local at = nextNumber(effects.deliveryNumber, effects.deliveryLog)
      for _, index in ipairs(delivery.indexes) do enterIndex(index, at) end
      enterLog(effects.deliveryLog, at, delivery.watch and numberOf(delivery.watch) or delivery.id)
      redis.call('ZADD', delivery.live, at, delivery.id)
      -- It is there already where this step was taken before, and failed.
      if redis.call('LINDEX', delivery.ordering, -1) ~= delivery.id then
        redis.call('RPUSH', delivery.ordering, delivery.id)
      end
      if redis.call('LINDEX', delivery.ordering, 0) == delivery.id then
        redis.call('ZADD', delivery.due, now, delivery.id)
        if delivery.poolDue then redis.call('ZADD', delivery.poolDue, 'LT', now, delivery.receiver) end
        redis.call('ZADD', effects.poolsDue, 'LT', now, delivery.pool)
        pools[#pools + 1] = delivery.pool
      end
      redis.call('HINCRBY', effects.deliveryCounts, 'planned', 1)
      redis.call('HINCRBY', effects.deliveryCounts, delivery.count, 1)
      redis.call('HSET', delivery.key, 'version', 1, 'number', at, 'doc', delivery.doc,
        'event', delivery.event)
    end
  end
  if #pools > 0 then redis.call('PUBLISH', effects.dueBell, table.concat(pools, '\\n')) end
end
`;

/**
 * `enterInbox(plan)` adds what rules have to judge. A list beyond its bound takes no more, which is
 * counted.
 */
const ENTER_INBOX = `
local function enterInbox(plan)
  if not plan then return end
  if redis.call('LLEN', plan.inbox) >= plan.most then
    redis.call('HINCRBY', plan.counts, 'lost', #plan.entries)
    return
  end
  redis.call('RPUSH', plan.inbox, unpack(plan.entries))
end
`;

/**
 * Writes events that are about no run, each with its deliveries. `raise(effects)` returns the pools at
 * which deliveries are due now. Needs {@link PLAN_DELIVERIES}.
 */
export const RAISE = `
${LOG_OWN_EVENTS}
${ENTER_INBOX}
local function raise(effects)
  local pools = {}
  logOwnEvents(effects.own, storeNow(effects.clock))
  plan(effects, pools)
  enterInbox(effects.judged)
  return pools
end
`;

/**
 * Adds deliveries, as {@link PLAN_DELIVERIES} does, outside any other step, if their events are live.
 *
 * KEYS  events, those that the plan names.
 * ARGV  what `deliveryPlan` of `event-plan.ts` makes, as JSON, how many of the keys are events.
 * Returns 1 where they were added.
 */
export const ADD_DELIVERIES = `
${PLAN_DELIVERIES}
for at = 1, tonumber(ARGV[2]) do
  if redis.call('EXISTS', KEYS[at]) == 0 then return 0 end
end
plan(cjson.decode(ARGV[1]), {})
return 1
`;

/**
 * Turns a state on or off, and raises the event that says so. Of several processes that notice, one
 * reports it.
 *
 * KEYS  the state, those that the effects name.
 * ARGV  how long the state is kept while it is on, ms, 0 to turn it off; effects of the event as JSON
 *       or ''; what the state says.
 * Returns false where the state was so already, else the pools at which deliveries are due now.
 */
export const TURN_STATE = `
${EVEN_IF_FULL}
${PLAN_DELIVERIES}
${RAISE}
local isOn, turnsOn = redis.call('EXISTS', KEYS[1]) == 1, ARGV[1] ~= '0'
if isOn == turnsOn then
  if isOn then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
  return false
end
local effects = ARGV[2] ~= '' and cjson.decode(ARGV[2])
if effects and not turnsOn then evenIfFull(effects.clock) end
local pools = effects and raise(effects) or {}
-- Last, so that a step that fails before is taken again.
if turnsOn then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[1])
else
  redis.call('DEL', KEYS[1])
end
return pools
`;

/**
 * Replaces a state and raises the event that says so, unless another process has written it since.
 *
 * KEYS  the state, those that the effects name.
 * ARGV  the state as read or '', the new one or '', for how long it is kept, ms; effects of the event as
 *       JSON or ''.
 * Returns false where it had changed, else the pools at which deliveries are due now.
 */
export const REPLACE_STATE = `
${PLAN_DELIVERIES}
${RAISE}
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return false end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
if ARGV[4] == '' then return {} end
return raise(cjson.decode(ARGV[4]))
`;

/**
 * KEYS  those that the effects name.
 * ARGV  effects as JSON.
 * Returns the pools at which deliveries are due now.
 */
export const RAISE_EVENT = `
${PLAN_DELIVERIES}
${RAISE}
return raise(cjson.decode(ARGV[1]))
`;

/**
 * Begins a new epoch and raises the event that says why, if the store is still in the epoch that
 * was seen. Of several processes that notice a loss, one reports it.
 *
 * KEYS  epochs, damage, those that the effects name.
 * ARGV  the epochs that were seen, the new ones, effects of the event as JSON or '', how many lost records it
 *       reports of each kind, as JSON.
 * Returns false where another process was first, else the pools at which deliveries are due now.
 */
export const RENEW_EPOCH = `
${PLAN_DELIVERIES}
${RAISE}
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return false end
local pools = ARGV[3] == '' and {} or raise(cjson.decode(ARGV[3]))
for kind, count in pairs(cjson.decode(ARGV[4])) do
  if count > 0 then redis.call('HINCRBY', KEYS[2], kind, -count) end
end
redis.call('SET', KEYS[1], ARGV[2])
return pools
`;
