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
