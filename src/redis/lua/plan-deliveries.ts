/**
 * Adds deliveries that are not there yet to store, ledger and lanes. One that is alone in its lane is
 * due: it goes to the outbox, and its id is added to `due`.
 */
export const PLAN_DELIVERIES = `
local function plan(effects, due)
  for _, delivery in ipairs(effects.deliveries) do
    if redis.call('EXISTS', delivery.key) == 0 then
      local at = redis.call('INCR', effects.deliveryNumber)
      redis.call('HSET', delivery.key, 'version', 1, 'number', at, 'doc', delivery.doc)
      for _, index in ipairs(delivery.indexes) do redis.call('ZADD', index, at, delivery.id) end
      redis.call('HINCRBY', effects.ledger, 'planned', 1)
      redis.call('HINCRBY', effects.ledger, delivery.count, 1)
      if redis.call('RPUSH', delivery.lane, delivery.id) == 1 then
        redis.call('ZADD', effects.outbox, delivery.dueAt, delivery.id)
        due[#due + 1] = delivery.id
      end
    end
  end
end
`;
