/**
 * Pauses a source, unless a longer pause stands.
 *
 * KEYS  pause
 * ARGV  the pause as JSON, milliseconds
 */
export const PAUSE_SOURCE = `
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
`;
