/**
 * Writes what a result or a human made of an endpoint's gate. Its document goes with a version, which
 * must be as it was when read; results that change nothing but the counts are only counted, in a
 * field per minute, so that attempts at a healthy endpoint are not in each other's way.
 *
 * `isGateKnown(write)` compares the version, `writeGate(write)` does the writing.
 */
export const WRITE_GATE_STATE = `
local function isGateKnown(write)
  return not write.doc or tonumber(redis.call('HGET', write.key, 'version') or 0) == write.version
end

local function forget(write, isOld)
  for _, field in ipairs(redis.call('HKEYS', write.key)) do
    local minute = tonumber(string.match(field, '^[df](%d+)$'))
    if minute and isOld(minute) then redis.call('HDEL', write.key, field) end
  end
end

local function writeGate(write)
  if write.doc then
    redis.call('HSET', write.key, 'version', write.version + 1, 'doc', write.doc)
    if write.holdUntil then
      redis.call('SET', write.hold, write.holdUntil, 'PX', write.holdMs)
    elseif write.isHoldOver then
      redis.call('DEL', write.hold)
      redis.call('ZADD', write.gatesDue, 'XX', 'LT', write.now, write.name)
    end
  end
  if write.isCleared then
    forget(write, function() return true end)
  elseif write.count and redis.call('HINCRBY', write.key, write.count, 1) == 1 then
    forget(write, function(minute) return minute <= write.forgottenMinute end)
  end
  if write.keptMs then redis.call('PEXPIRE', write.key, write.keptMs) end
end
`;

/**
 * Writes the gate of an endpoint, if nobody else has since it was read.
 *
 * KEYS  gate
 * ARGV  what to write, as JSON
 * Returns 1, or 0 on a conflict.
 */
export const WRITE_GATE = `
${WRITE_GATE_STATE}
local write = cjson.decode(ARGV[1])
if not isGateKnown(write) then return 0 end
writeGate(write)
return 1
`;
