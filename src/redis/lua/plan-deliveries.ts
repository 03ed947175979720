import { STORE_NOW } from './clock.ts';

/**
 * Adds deliveries that are not there yet to store, counters and orders. One that is alone in its order
 * is due; its pool is worth asking, is added to `pools`, and the other processes are woken.
 */
export const PLAN_DELIVERIES = `
${STORE_NOW}
local function plan(effects, pools)
  if #effects.deliveries == 0 then return end
  local now = storeNow(effects.clock)
  for _, delivery in ipairs(effects.deliveries) do
    if redis.call('EXISTS', delivery.key) == 0 then
      local at = redis.call('INCR', effects.deliveryNumber)
      redis.call('HSET', delivery.key, 'version', 1, 'number', at, 'doc', delivery.doc,
        'event', delivery.event)
      for _, index in ipairs(delivery.indexes) do redis.call('ZADD', index, at, delivery.id) end
      redis.call('HINCRBY', effects.ledger, 'planned', 1)
      redis.call('HINCRBY', effects.ledger, delivery.count, 1)
      if redis.call('RPUSH', delivery.lane, delivery.id) == 1 then
        redis.call('ZADD', delivery.due, now, delivery.id)
        if delivery.poolDue then redis.call('ZADD', delivery.poolDue, 'LT', now, delivery.receiver) end
        redis.call('ZADD', effects.poolsDue, 'LT', now, delivery.pool)
        pools[#pools + 1] = delivery.pool
      end
    end
  end
  if #pools > 0 then redis.call('PUBLISH', effects.dueBell, table.concat(pools, '\\n')) end
end
`;

/**
 * Adds deliveries, as {@link PLAN_DELIVERIES} does, outside any other step.
 *
 * KEYS  those that the plan names
 * ARGV  what `deliveryPlan` of `keys.ts` makes, as JSON
 */
export const ADD_DELIVERIES = `
${PLAN_DELIVERIES}
plan(cjson.decode(ARGV[1]), {})
`;
