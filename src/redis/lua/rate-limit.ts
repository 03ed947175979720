import { TOLERANCE_MS } from '../../core/clock.ts';

/** Stands behind the name of a request in that of its second permit. */
export const SECOND = '+';

/**
 * Whether the rate limit of a source allows one more request, over all daemons. Its permits are a log of the requests
 * that count against it, by until when each does; its pace, where its period is longer than a second, the time at
 * which the next request would be were all at equal distances. The pace, and for how long a permit counts, are decided
 * by `core/source/rate-limit.ts`.
 *
 * `openLimit(keys, limit, args, now)` reads both, by the keys `permits` and `pace` and the arguments `holdMs`,
 * `secondHoldMs`, `spacingMs` and `burst`; a limit of 0 is none. `isUsedUp` says no to a further request, `take`
 * counts one and returns how many count with it, `waitMs` is for how long none goes, and `save` writes what was
 * taken. With `secondHoldMs` a request takes two permits or none: the second, under its name and
 * `SECOND`, is for the request that its answer may call for, and counts for longer, since that goes later.
 * `longestHoldMs` is how long a permit counts at the longest, where a request takes one of a source that gives two.
 */
export const RATE_LIMIT = `
local function permitsOf(args)
  return args.secondHoldMs and 2 or 1
end

-- Those that do not count any more are forgotten now and then, since a poll pays for it.
local function countPermits(log, now, limit, holdMs)
  if now % 16 == 0 then redis.call('ZREMRANGEBYSCORE', log, '-inf', now) end
  local count = redis.call('ZCOUNT', log, '(' .. now, '+inf')
  if count < limit then return count end
  -- What counts for longer than any request can was entered before the clock was taken back. The
  -- clock may step back by less than its tolerance without that.
  return count - redis.call('ZREMRANGEBYSCORE', log, '(' .. (now + holdMs + ${TOLERANCE_MS}), '+inf')
end

local function nextOfPace(key, spacing, burst, now)
  local nextAt = tonumber(redis.call('GET', key) or now)
  -- Later than a burst and a second permit can lead to is a time from before the clock or the limit was changed.
  if nextAt < now or nextAt > now + (burst + 1) * spacing + ${TOLERANCE_MS} then return now end
  return nextAt
end

local function openLimit(keys, limit, args, now)
  local holdMs, spacing, burst = tonumber(args.holdMs), tonumber(args.spacingMs), tonumber(args.burst)
  local secondHoldMs, each = tonumber(args.secondHoldMs), permitsOf(args)
  local self, count, nextAt, taken = {}, nil, nil, {}

  local function paceMs()
    if not spacing then return 0 end
    nextAt = nextAt or nextOfPace(keys.pace, spacing, burst, now)
    return math.max(0, math.ceil(nextAt - (burst - 1) * spacing - now))
  end

  function self.isUsedUp()
    if limit == 0 then return false end
    count = count or countPermits(keys.permits, now, limit, tonumber(args.longestHoldMs) or secondHoldMs or holdMs)
    return count + each > limit or paceMs() > 0
  end

  function self.take(request)
    if limit == 0 then return 0 end
    count = count + each
    taken[#taken + 1] = now + holdMs
    taken[#taken + 1] = request
    if secondHoldMs then
      taken[#taken + 1] = now + secondHoldMs
      taken[#taken + 1] = request .. '${SECOND}'
    end
    if spacing then nextAt = nextAt + each * spacing end
    return count
  end

  function self.save()
    if #taken == 0 then return end
    redis.call('ZADD', keys.permits, unpack(taken))
    if spacing then redis.call('SET', keys.pace, string.format('%.3f', nextAt), 'PX', math.ceil(nextAt - now)) end
  end

  function self.waitMs()
    if count + each <= limit then return paceMs() end
    local first = redis.call('ZRANGEBYSCORE', keys.permits, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    return math.max(paceMs(), math.ceil(first[2] - now))
  end

  return self
end
`;
