/**
 * Pauses a source, unless a longer pause stands.
 *
 * KEYS  pause
 * ARGV  the pause as JSON, milliseconds
 * Returns 1 when the source was not paused before, else 0.
 */
export const PAUSE_SOURCE = `
local left = redis.call('PTTL', KEYS[1])
if left < tonumber(ARGV[2]) then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return left < 0 and 1 or 0
`;

/**
 * Takes the checks of runs that are gone which are due, for the time of a lease.
 *
 * KEYS  checks
 * ARGV  now, lease in ms, how many at the most
 * Returns their ids
 */
export const TAKE_GONE = `
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, id in ipairs(ids) do redis.call('ZADD', KEYS[1], ARGV[1] + ARGV[2], id) end
return ids
`;
