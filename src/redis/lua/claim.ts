/**
 * Gives places among the attempts at an endpoint to the deliveries that have been due longest. A
 * place that has lapsed was held by a process that died: its delivery is due again.
 *
 * `claim(gate, now, most)` returns the gate as it stands, and for each delivery its version, its
 * document and the text of its event, one after the other. `reschedule(gate)` notes when it is worth
 * asking this gate again: when something is due and there is a place for it, or a place lapses.
 */
export const CLAIM_DELIVERIES = `
local function take(gate, id)
  redis.call('ZREM', gate.due, id)
  local version, doc, event = unpack(redis.call('HMGET', gate.deliveries .. id, 'version', 'doc', 'event'))
  if not version then return {} end
  redis.call('ZADD', gate.places, gate.heldUntil, id)
  return {version, doc, redis.call('HGET', gate.events .. event, 'body') or ''}
end

local function claim(gate, now, most)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', gate.places, '-inf', now)) do
    redis.call('ZREM', gate.places, id)
    redis.call('ZADD', gate.due, now, id)
  end
  local claims = {}
  local room = math.min(gate.limit - redis.call('ZCARD', gate.places), most)
  while room > 0 and tonumber(redis.call('GET', gate.hold) or 0) <= now do
    local batch = gate.paceMs and 1 or room
    local ids = redis.call('ZRANGEBYSCORE', gate.due, '-inf', now, 'LIMIT', 0, batch)
    for _, id in ipairs(ids) do
      for _, part in ipairs(take(gate, id)) do claims[#claims + 1] = part end
    end
    if #ids > 0 and gate.paceMs then
      redis.call('SET', gate.hold, now + gate.paceMs, 'PX', math.ceil(gate.paceMs) + 1000)
    end
    room = #ids < batch and 0 or room - batch
  end
  return {#claims > 0 and redis.call('HGETALL', gate.key) or {}, claims}
end

local function reschedule(gate)
  local lapse = redis.call('ZRANGE', gate.places, 0, 0, 'WITHSCORES')[2]
  local at = lapse and tonumber(lapse)
  if redis.call('ZCARD', gate.places) < gate.limit then
    local due = redis.call('ZRANGE', gate.due, 0, 0, 'WITHSCORES')[2]
    if due then
      local possible = math.max(tonumber(due), tonumber(redis.call('GET', gate.hold) or 0))
      at = math.min(at or possible, possible)
    end
  end
  if at then
    redis.call('ZADD', gate.gatesDue, at, gate.name)
  else
    redis.call('ZREM', gate.gatesDue, gate.name)
  end
end
`;

/**
 * Claims deliveries of one gate.
 *
 * KEYS  gate
 * ARGV  the gate's keys and limits as JSON, now, how many at most
 * Returns what `claim` does.
 */
export const CLAIM = `
${CLAIM_DELIVERIES}
local gate, now = cjson.decode(ARGV[1]), tonumber(ARGV[2])
local claimed = claim(gate, now, tonumber(ARGV[3]))
reschedule(gate)
return claimed
`;
