/**
 * The streams of the runs of a source. A lease bounds how many streams there are in all processes, and
 * passes on what a killed process held. Times are by Redis's clock.
 *
 * leases   sorted set of watch ids by the end of their lease
 * ranks    sorted set of the same by how little they need a stream
 * holders  hash of the same: the process that streams, with a + behind it while it is relied upon
 * rests    sorted set of watch ids by when a stream may be tried again
 */
const CLOCK = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function forget(id)
  redis.call('ZREM', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
  redis.call('HDEL', KEYS[3], id)
end
local function isHeldBy(id, process)
  local holder = redis.call('HGET', KEYS[3], id)
  return holder == process or holder == process .. '+'
end
`;

/**
 * Takes the lease of a run, where need be from the one that needs it least.
 *
 * KEYS  leases, ranks, holders, rests.
 * ARGV  watch id, process, rank, limit, lease in ms.
 * Returns the id of the one that it was taken from, '' where there was room, nil when it is not had.
 */
export const LEASE_STREAM = `
${CLOCK}
local id, rank = ARGV[1], tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now)
if redis.call('ZSCORE', KEYS[4], id) or redis.call('ZSCORE', KEYS[1], id) then return nil end
local loser = ''
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then
  local least = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  if not least[1] or tonumber(least[2]) <= rank then return nil end
  loser = least[1]
  forget(loser)
end
redis.call('ZADD', KEYS[1], now + ARGV[5], id)
redis.call('ZADD', KEYS[2], rank, id)
redis.call('HSET', KEYS[3], id, ARGV[2])
return loser
`;

/**
 * Extends the leases of a process.
 *
 * KEYS  leases, ranks, holders.
 * ARGV  process, lease in ms, watch ids.
 * Returns the ids whose lease it has lost.
 */
export const RENEW_STREAMS = `
${CLOCK}
local lost = {}
for place = 3, #ARGV do
  if isHeldBy(ARGV[place], ARGV[1]) then
    redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[place])
  else
    lost[#lost + 1] = ARGV[place]
  end
end
return lost
`;

/**
 * Notes whether a stream is to be relied upon.
 *
 * KEYS  leases, ranks, holders.
 * ARGV  watch id, process, '+' or ''
 */
export const TRUST_STREAM = `
${CLOCK}
if isHeldBy(ARGV[1], ARGV[2]) then redis.call('HSET', KEYS[3], ARGV[1], ARGV[2] .. ARGV[3]) end
`;

/**
 * Gives a lease back; the run is not streamed again for some time.
 *
 * KEYS  leases, ranks, holders, rests.
 * ARGV  watch id, process, rest in ms
 */
export const RELEASE_STREAM = `
${CLOCK}
if isHeldBy(ARGV[1], ARGV[2]) then forget(ARGV[1]) end
if tonumber(ARGV[3]) > 0 then redis.call('ZADD', KEYS[4], now + ARGV[3], ARGV[1]) end
`;

/**
 * Leases that were not extended in time, because their process is no more.
 *
 * KEYS  leases, ranks, holders.
 * ARGV  how many at most
 */
export const LAPSED_STREAMS = `
${CLOCK}
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
`;

/**
 * Forgets a lease that was not extended in time.
 *
 * KEYS  leases, ranks, holders.
 * ARGV  watch id
 */
export const FORGET_LAPSED_STREAM = `
${CLOCK}
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or now + 1) <= now then forget(ARGV[1]) end
`;
