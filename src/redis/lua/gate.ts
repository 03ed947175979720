/**
 * Frees places that were held too long, and gives free ones to the deliveries that have waited
 * longest; those are due, and their ids are added to `due`.
 */
export const FILL_PLACES = `
local function fill(gate, outbox, now, due)
  redis.call('ZREMRANGEBYSCORE', gate.places, '-inf', now)
  local free = gate.limit - redis.call('ZCARD', gate.places)
  while free > 0 do
    local first = redis.call('ZPOPMIN', gate.waiting)
    if #first == 0 then
      redis.call('SREM', gate.gatesWaiting, gate.name)
      return
    end
    redis.call('ZADD', gate.places, gate.heldUntil, first[1])
    redis.call('ZADD', outbox, now, first[1])
    due[#due + 1] = first[1]
    free = free - 1
  end
end
`;

/**
 * Asks for a place among the attempts at an endpoint. Only a delivery that is as it was when read
 * gets one, or a place in the line: one that has been settled meanwhile would never leave it. And
 * only the first of its lane does, whoever may have given another one a job.
 *
 * KEYS  places
 * ARGV  delivery id, the gate as JSON, now
 * Returns 'go', 'full' (it waits now, and is told when there is a place), 'probed' (somebody else
 * probes), 'changed', 'behind', or the time at which the endpoint's rate allows the next attempt.
 */
export const TAKE_PLACE = `
local id, gate, now = ARGV[1], cjson.decode(ARGV[2]), tonumber(ARGV[3])
if tonumber(redis.call('HGET', gate.delivery, 'version') or 0) ~= gate.version then
  return 'changed'
end
if redis.call('LINDEX', gate.lane, 0) ~= id then return 'behind' end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if gate.probeMs then
  local prober = redis.call('GET', gate.probe)
  if prober and prober ~= id then return 'probed' end
  redis.call('SET', gate.probe, id, 'PX', gate.probeMs)
end
if not redis.call('ZSCORE', KEYS[1], id) and redis.call('ZCARD', KEYS[1]) >= gate.limit then
  redis.call('ZADD', gate.waiting, 'NX', now, id)
  redis.call('SADD', gate.gatesWaiting, gate.name)
  redis.call('ZREM', gate.outbox, id)
  return 'full'
end
redis.call('ZADD', KEYS[1], gate.heldUntil, id)
if redis.call('ZREM', gate.waiting, id) == 1 then redis.call('ZADD', gate.outbox, now, id) end
if gate.paceMs then
  local allowed = tonumber(redis.call('GET', gate.pace) or 0)
  if allowed > now then return tostring(allowed) end
  redis.call('SET', gate.pace, math.max(allowed, now) + gate.paceMs, 'PX', math.ceil(gate.paceMs) + 1000)
end
return 'go'
`;

/**
 * Gives the places of an endpoint that have become free to those that wait.
 *
 * KEYS  places
 * ARGV  the gate as JSON, now
 * Returns the ids of the deliveries that are due.
 */
export const REFILL_PLACES = `
${FILL_PLACES}
local gate, due = cjson.decode(ARGV[1]), {}
fill(gate, gate.outbox, tonumber(ARGV[2]), due)
return due
`;

/**
 * Writes the gate of an endpoint, if nobody else has since it was read.
 *
 * KEYS  gate
 * ARGV  expected version, document
 * Returns 1, or 0 on a conflict.
 */
export const WRITE_GATE = `
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
if version ~= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'version', version + 1, 'doc', ARGV[2])
return 1
`;
