import { TOLERANCE_MS } from '../../core/clock.ts';

/**
 * Permits: a log of the requests that count against a rate limit, by until when each does.
 *
 * `countPermits(log, now, limit, holdMs)` counts them; those that do not count any more are forgotten now
 * and then, since a poll pays for it. `usedUpMs(log, now)` is how long a limit stays used up.
 */
export const PERMITS = `
local function countPermits(log, now, limit, holdMs)
  if now % 16 == 0 then redis.call('ZREMRANGEBYSCORE', log, '-inf', now) end
  local count = redis.call('ZCOUNT', log, '(' .. now, '+inf')
  if count < limit then return count end
  -- What counts for longer than any request can was entered before the clock was taken back. The
  -- clock may step back by less than its tolerance without that.
  return count - redis.call('ZREMRANGEBYSCORE', log, '(' .. (now + holdMs + ${TOLERANCE_MS}), '+inf')
end

local function usedUpMs(log, now)
  local first = redis.call('ZRANGEBYSCORE', log, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return math.ceil(first[2] - now)
end
`;

/**
 * The pace of a rate limit with a period of more than a second, by the time at which its next request would be
 * were all at equal distances; it is kept for as long as it is to come. `openPace(key, spacing, burst, now)` reads
 * it; without a spacing nothing is paced. `waitMs` is for how long no request goes, `take` counts one, `save`
 * writes.
 */
export const PACE = `
local function openPace(key, spacing, burst, now)
  spacing, burst = tonumber(spacing), tonumber(burst)
  if not spacing then return {waitMs = function() return 0 end, take = function() end, save = function() end} end
  local pace, isTaken = {}, false
  local nextAt = tonumber(redis.call('GET', key) or now)
  -- Later than a burst can lead to is a time from before the clock or the limit was changed.
  if nextAt < now or nextAt > now + burst * spacing + ${TOLERANCE_MS} then nextAt = now end
  function pace.waitMs() return math.max(0, math.ceil(nextAt - (burst - 1) * spacing - now)) end
  function pace.take() nextAt, isTaken = nextAt + spacing, true end
  function pace.save()
    if isTaken then redis.call('SET', key, string.format('%.3f', nextAt), 'PX', math.ceil(nextAt - now)) end
  end
  return pace
end
`;
