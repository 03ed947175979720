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
