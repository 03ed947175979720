import { LEASE } from './leases.ts';

/**
 * Whether a source may be asked. While it is closed only probes are, one at a time, from `probeAt` on.
 * A probe has a lease for as long as a request can take, so that a killed process holds up the next one
 * no longer.
 *
 * `sourceAdmission(state, probe, request, leaseMs, now)` gives 0 where everything may be asked, 1 where
 * this request is the probe, else 2, and for how long nothing may be asked, ms. `rising(open, limit,
 * now)` is the limit of a source that has just answered again: a quarter of it, doubled each second.
 */
export const SOURCE_GATE = `
${LEASE}
local function sourceAdmission(state, probe, request, leaseMs, now)
  local probeAt = state and tonumber(string.match(state, '"probeAt":(%d+)'))
  if not probeAt then return 0, 0 end
  if now < probeAt then return 2, probeAt - now end
  local takenMs = takeLease(probe, request, now, tonumber(leaseMs))
  -- When the probe is answered is not known: ask again soon.
  if takenMs then return 2, math.min(500, takenMs) end
  return 1, 0
end

local function rising(open, limit, now)
  local age = open and now - tonumber(open)
  if not age or age < 0 or age >= 2000 then return limit end
  return math.max(1, math.floor(limit / (age < 1000 and 4 or 2)))
end
`;

/**
 * Writes what is known of a source, unless another process has since it was read.
 *
 * KEYS  state, probe, open.
 * ARGV  state as read or '', new state or '', 1 to release the probe;
 *       when the source answered again, or '' where it did not just now;
 *       for how long that time is kept, ms.
 * Returns 1 when it was written.
 */
export const PUT_SOURCE = `
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2]) end
if ARGV[3] == '1' then redis.call('DEL', KEYS[2]) end
if ARGV[4] ~= '' then redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[5]) end
return 1
`;

/**
 * Takes the checks of runs that are gone which are due, for the time of a lease.
 *
 * KEYS  checks.
 * ARGV  now, lease in ms, how many at the most.
 * Returns their ids
 */
export const TAKE_GONE = `
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, id in ipairs(ids) do redis.call('ZADD', KEYS[1], ARGV[1] + ARGV[2], id) end
return ids
`;
