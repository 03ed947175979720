import type { Redis } from 'ioredis';
import { PlanKeys, type Keys } from '../keys.ts';
import { STORE_NOW } from '../lua/clock.ts';
import { DELIVERY_ORDER } from '../lua/delivery-order.ts';
import { EVEN_IF_FULL } from '../lua/full.ts';
import { CLAIMS } from '../lua/leases.ts';
import { NUMBERS } from '../lua/numbers.ts';
import { script } from '../script.ts';

/** A due time may be later than the one that its delivery shows by what clocks differ, ms. */
const LATER_MS = 10_000;

/** A delivery without a record for so long is lost, ms. */
const GONE_AFTER_MS = 15_000;

/** For how long it is kept since when a delivery has no record, ms. */
const SEEN_KEPT_MS = 86_400_000;

/**
 * Compares outstanding deliveries with where they stand: claimed, due, parked, or behind another of their
 * order. One that stands nowhere is put where it belongs. A pool that would not be asked is asked. One that is due long after the time that it shows
 * was written while the clock was ahead, and is due at that time. Without a record for a while, it
 * leaves index, log and order, and is counted as lost.
 * Its further arguments are the numbers of deliveries.
 * Returns [how many were put where they belong, how many are lost, pools at which something is due].
 */
const COMPARE_DELIVERIES = script(
  'rwCompareDeliveries',
  {
    keys: ['clock', 'poolsDue', 'damage'],
    args: ['plan'],
    reply: ([placed, lost, pools]: [number, number, string[]]) => ({ placed, lost, pools }),
  },
  `
${EVEN_IF_FULL}
${STORE_NOW}
${CLAIMS}
${NUMBERS}
${DELIVERY_ORDER}
evenIfFull(keys.clock)
local p, now = cjson.decode(args.plan), storeNow(keys.clock)
local placed, lost, pools = 0, 0, {}

local function recordOf(id)
  local doc = redis.call('HGET', p.deliveries .. id, 'doc')
  return doc and cjson.decode(doc)
end

local function isOutstanding(delivery)
  return delivery.state == 'pending' or delivery.state == 'parked'
end

-- The id of a delivery by its number, and where those that belong together with it stand; nil where the
-- log says nothing of it.
local function idOf(number)
  local value = readLog(p.log, number)
  if not value then return end
  if not tonumber(value) then return value end
  local watch = readLog(p.names, tonumber(value))
  if not watch then return end
  local live = p.live .. watch
  return redis.call('ZRANGEBYSCORE', live, number, number)[1], live
end

-- Whether a number has had no record for a while. A step that failed half-way is taken again until then,
-- and gives its delivery another number.
local function isGone(number)
  local field = 'seen ' .. number
  local since = redis.call('HGET', keys.damage, field)
  if since and now - since >= ${GONE_AFTER_MS} then
    redis.call('HDEL', keys.damage, field)
    return true
  end
  if redis.call('HSETNX', keys.damage, field, string.format('%.0f', now)) == 1 then
    redis.call('PEXPIRE', keys.damage, ${SEEN_KEPT_MS})
  end
end

-- One that nothing names any more has another number by now, or what names it is derived again.
local function drop(number, id, live)
  for _, index in ipairs(p.indexes) do leaveIndex(index, number) end
  leaveLog(p.log, number)
  if not id then return end
  redis.call('HDEL', p.claims, id)
  if live then redis.call('ZREM', live, id) end
  redis.call('HINCRBY', keys.damage, 'deliveries', 1)
  lost = lost + 1
end

local function stands(id, delivery, pool)
  return redis.call('HEXISTS', p.claims, id) == 1 or redis.call('ZSCORE', p.taken .. pool, id)
    or redis.call('ZSCORE', p.parked .. delivery.endpoint, id)
end

-- The key of its order, as keys.ts makes it.
local function orderingOf(delivery)
  local function given(name) return delivery[name] ~= cjson.null and delivery[name] end
  local first = given('alertId') or given('subject') or delivery.source .. '/' .. delivery.runId
  return p.orderings .. first .. ':' .. delivery.endpoint
end

-- What is before it in its order and has no record, or has settled, leaves; it is in it.
local function mendOrder(ordering, id)
  local head = redis.call('LINDEX', ordering, 0)
  while head and head ~= id do
    local record = recordOf(head)
    if record and isOutstanding(record) then break end
    redis.call('LPOP', ordering)
    head = redis.call('LINDEX', ordering, 0)
  end
  if head ~= id then reenterOrder(ordering, id) end
end

-- The pool of what waits is to be asked at some time; one that has nothing to give says so.
local asked = {}
local function ask(endpoint, pool, origin)
  if asked[endpoint] then return end
  asked[endpoint] = true
  if origin then redis.call('ZADD', p.poolDue .. origin, 'NX', now, endpoint) end
  if redis.call('ZADD', keys.poolsDue, 'NX', now, pool) == 1 then pools[#pools + 1] = pool end
end

local function place(id, delivery)
  local endpoint = delivery.endpoint
  local origin = string.match(endpoint, '^(.-)/…#')
  local pool = origin or endpoint
  if stands(id, delivery, pool) then return ask(endpoint, pool, origin) end
  local ordering = orderingOf(delivery)
  mendOrder(ordering, id)
  if not isFirst(ordering, id) then return end
  local shown = tonumber(delivery.nextAttemptAt) or now
  local at = tonumber(redis.call('ZSCORE', p.dues .. endpoint, id) or nil)
  local isLate = at and at > now and at > shown + ${LATER_MS}
  if not at or isLate then
    placed = placed + 1
    if delivery.state == 'parked' and not at then
      redis.call('ZADD', p.parked .. endpoint, now, id)
      at = now
    else
      at = delivery.urgent and 0 or math.max(now, shown)
      redis.call('ZADD', p.dues .. endpoint, at, id)
    end
    pools[#pools + 1] = pool
  end
  -- It may be worth asking before that; a claim finds out when it is.
  if origin then redis.call('ZADD', p.poolDue .. origin, isLate and 'LT' or 'NX', at, endpoint) end
  redis.call('ZADD', keys.poolsDue, isLate and 'LT' or 'NX', at, pool)
end

for at = rest, #ARGV do
  local number = tonumber(ARGV[at])
  local id, live = idOf(number)
  local record = id and recordOf(id)
  if record and isOutstanding(record) then
    place(id, record)
  elseif not record and isGone(number) then
    drop(number, id, live)
  end
end
return {placed, lost, pools}
`,
);

/** What {@link COMPARE_DELIVERIES} finds deliveries by, and where they may stand. */
function comparisonPlan({ keys, declare, declareAll }: PlanKeys) {
  return {
    log: keys.deliveryLog,
    names: keys.watchNames,
    live: keys.liveDeliveries(''),
    deliveries: keys.delivery(''),
    orderings: `${keys.queuePrefix}:lane:`,
    dues: keys.due(''),
    parked: keys.parked(''),
    taken: keys.taken(''),
    poolDue: keys.poolDue(''),
    claims: declare(keys.deliveryClaims),
    indexes: declareAll(['pending', 'parked'].map((state) => keys.deliveries('state', state))),
  };
}

/** Compares deliveries, by their numbers, with where they stand, and puts those that stand nowhere where they belong. */
export function compareDeliveries(redis: Redis, keys: Keys, numbers: readonly number[]) {
  const planKeys = new PlanKeys(keys);
  const plan = JSON.stringify(comparisonPlan(planKeys));
  const behind = { further: planKeys.declared, rest: numbers };
  return COMPARE_DELIVERIES.run(redis, keys, { plan }, behind);
}
