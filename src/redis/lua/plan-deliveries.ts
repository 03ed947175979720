/**
 * Adds deliveries that are not there yet to store, ledger and lanes. One that is alone in its lane is
 * due; its gate is worth asking, and its name is added to `gates`.
 */
export const PLAN_DELIVERIES = `
local function plan(effects, gates)
  for _, delivery in ipairs(effects.deliveries) do
    if redis.call('EXISTS', delivery.key) == 0 then
      local at = redis.call('INCR', effects.deliveryNumber)
      redis.call('HSET', delivery.key, 'version', 1, 'number', at, 'doc', delivery.doc,
        'event', delivery.event)
      for _, index in ipairs(delivery.indexes) do redis.call('ZADD', index, at, delivery.id) end
      redis.call('HINCRBY', effects.ledger, 'planned', 1)
      redis.call('HINCRBY', effects.ledger, delivery.count, 1)
      if redis.call('RPUSH', delivery.lane, delivery.id) == 1 then
        redis.call('ZADD', delivery.due, delivery.dueAt, delivery.id)
        redis.call('ZADD', effects.gatesDue, 'LT', delivery.dueAt, delivery.gate)
        gates[#gates + 1] = delivery.gate
      end
    end
  end
end
`;
