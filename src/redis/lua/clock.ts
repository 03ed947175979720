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
