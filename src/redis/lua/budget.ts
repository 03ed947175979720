/**
 * The budget of a source: a log of the requests that count against its rate limit, each with the
 * time by Redis's clock until which it counts. That is a sliding window, unlike the fixed ones of
 * BullMQ's limiter, of which two full ones may meet.
 *
 * `admit(log, request, limit, holdMs)` enters a request that may then be sent.
 * Returns whether it may, how many count now, and for how long the budget is used up, ms; 0 when it
 * is not.
 */
const ADMIT = `
local function clockMs()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function usedUpFor(log, now)
  return math.ceil(redis.call('ZRANGE', log, 0, 0, 'WITHSCORES')[2] - now)
end

local function admit(log, request, limit, holdMs)
  local now = clockMs()
  redis.call('ZREMRANGEBYSCORE', log, '-inf', now)
  local count = redis.call('ZCARD', log)
  if count >= limit then
    -- What counts for longer than any request can was entered before the clock was set back.
    count = count - redis.call('ZREMRANGEBYSCORE', log, '(' .. (now + holdMs), '+inf')
    if count >= limit then return 0, count, usedUpFor(log, now) end
  end
  redis.call('ZADD', log, now + holdMs, request)
  count = count + 1
  return 1, count, count >= limit and usedUpFor(log, now) or 0
end
`;

/**
 * Leave for one request, unless the source is paused.
 *
 * KEYS  log, pause
 * ARGV  request, limit, hold
 * Returns [0 or 1, requests that count, ms for which the budget is used up or the source paused]
 */
export const ADMIT_REQUEST = `
${ADMIT}
local paused = redis.call('PTTL', KEYS[2])
if paused > 0 then return {0, 0, paused} end
return {admit(KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]))}
`;

/**
 * Everything that a poll needs to begin, in one step: the watch, how its source stands, and, unless
 * that is paused or nobody watches any more, leave for one request. A record of a watch that is not
 * active begins with its state.
 *
 * KEYS  watch, pause, refusal, log
 * ARGV  request, limit (0 for none), hold
 * Returns [watch, pause, refusal, 0 or 1, requests that count, ms for which the budget is used up]
 */
export const BEGIN_POLL = `
${ADMIT}
local found = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3])
local admitted, count, usedUp = 1, 0, 0
if found[1] and not found[2] and ARGV[2] ~= '0' and not string.find(found[1], '^%d+ %d+ {"state"') then
  admitted, count, usedUp = admit(KEYS[4], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]))
end
return {found[1], found[2], found[3], admitted, count, usedUp}
`;

/**
 * Notes that a request was answered: it arrived by now, and counts no longer than the limit's time.
 *
 * KEYS  log
 * ARGV  request, the limit's time in ms
 */
export const SETTLE_REQUEST = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.ceil(time[2] / 1000)
redis.call('ZADD', KEYS[1], 'XX', 'LT', now + ARGV[2], ARGV[1])
`;
