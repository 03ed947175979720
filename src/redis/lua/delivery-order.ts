/**
 * The order in which deliveries are sent: an endpoint gets those of one ordering key, which is a run, an alert or a
 * subject of system events, first in, first out. Each key has a list, `ordering` of `keys.ts`, of those that are
 * outstanding. Only the first may be attempted: it is due, parked or claimed. The others stand in the list alone,
 * and each is due once the one before it has settled.
 *
 * `enterOrder(ordering, id)` adds a new one behind the others, `reenterOrder` one that had settled or was lost from
 * it. `isFirst` says whether it may be attempted. `leaveOrder` takes out one that has settled, and returns the next,
 * which is due then; nil where none is behind it, or others are still before it.
 */
export const DELIVERY_ORDER = `
local function isFirst(ordering, id)
  return redis.call('LINDEX', ordering, 0) == id
end

local function enterOrder(ordering, id)
  -- It is there already where this step was taken before, and failed.
  if redis.call('LINDEX', ordering, -1) ~= id then redis.call('RPUSH', ordering, id) end
end

local function reenterOrder(ordering, id)
  if not redis.call('LPOS', ordering, id) then redis.call('RPUSH', ordering, id) end
end

local function leaveOrder(ordering, id)
  local first, following = unpack(redis.call('LRANGE', ordering, 0, 1))
  if first ~= id then
    redis.call('LREM', ordering, 1, id)
    return nil
  end
  redis.call('LPOP', ordering)
  return following
end
`;
