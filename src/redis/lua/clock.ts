import { EVEN_IF_FULL } from './full.ts';

/**
 * The store's clock: Redis TIME plus an offset, so that no process's own clock matters. The offset is
 * raised when TIME would go back by more than a second, because the host's clock was set back or a
 * fail-over led to a slower host. It shrinks again by a tenth of the time that passes, until the clock
 * is the host's again. It never shrinks by so much at once that the clock would count as set back. A
 * step forward only shows against clocks that cannot be set: see `TAKE_OUT_STEP`.
 *
 * The key is a string of offset, highest time, and steps taken out. It is written once a second at
 * the most.
 *
 * `storeNow(key, text)` returns milliseconds since the epoch, the number of steps, and the offset. A
 * script that has read the key already gives its text.
 */
export const STORE_NOW = `
local function storeNow(key, text)
  local time = redis.call('TIME')
  local wall = time[1] * 1000 + math.floor(time[2] / 1000)
  local offset, highest, steps = string.match(text or redis.call('GET', key) or '', '^(-?%d+) (%d+) (%d+)$')
  offset, highest, steps = tonumber(offset or 0), tonumber(highest or 0), tonumber(steps or 0)
  local now = wall + offset
  local passed = now - highest
  if passed >= -1000 and passed < 1000 then return now, steps, offset end
  if passed < 0 then
    offset, now = highest - wall, highest
  elseif highest > 0 then
    local slewed = math.floor(math.min(math.abs(offset), passed / 10, 500))
    offset = offset > 0 and offset - slewed or offset + slewed
  end
  redis.call('SET', key, string.format('%.0f %.0f %.0f', offset, now, steps))
  return now, steps, offset
end
`;

/**
 * KEYS  clock.
 * Returns [now, steps, offset]
 */
export const READ_CLOCK = `
${EVEN_IF_FULL}
${STORE_NOW}
evenIfFull(KEYS[1])
return {storeNow(KEYS[1])}
`;

/** Due times are moved back by a step soon after; one that is open for longer is forgotten, ms. */
const STEP_KEPT_MS = 86_400_000;

/**
 * Takes a step forward out of the clock, unless another process has done so since it was seen. It
 * stands among the open steps until all due times were moved back by it. Permits that count are moved
 * back at once, so that none counts for longer than before, and none is forgotten.
 *
 * KEYS  clock, open steps, permits of each source.
 * ARGV  the step in ms, the number of steps when it was seen, 1 where the clock had long been ahead.
 * Returns the number of the step when it was taken out, else 0
 */
export const TAKE_OUT_STEP = `
${STORE_NOW}
local now, steps = storeNow(KEYS[1])
if steps ~= tonumber(ARGV[2]) then return 0 end
local offset = string.match(redis.call('GET', KEYS[1]) or '', '^(-?%d+) ') or 0
local text = string.format('%.0f %.0f %.0f', offset - ARGV[1], now - ARGV[1], steps + 1)
redis.call('SET', KEYS[1], text)
local from = ARGV[3] == '1' and now - ARGV[1] or now
redis.call('HSET', KEYS[2], steps + 1, string.format('%.0f %.0f', ARGV[1], from))
redis.call('PEXPIRE', KEYS[2], ${STEP_KEPT_MS})
for place = 3, #KEYS do
  local counting = redis.call('ZRANGEBYSCORE', KEYS[place], '(' .. now, '+inf', 'WITHSCORES')
  redis.call('ZREMRANGEBYSCORE', KEYS[place], '-inf', now)
  for at = 1, #counting, 2 do
    redis.call('ZADD', KEYS[place], counting[at + 1] - ARGV[1], counting[at])
  end
end
return steps + 1
`;
