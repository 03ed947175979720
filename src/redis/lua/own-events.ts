/**
 * `logOwnEvents(own, now)` writes events that are about no run: of alerts, and about runwatch itself. They
 * stand in the log by their own ids. Needs `NUMBERS`. `ringEvents(keys)` wakes the followers of the log.
 */
export const LOG_OWN_EVENTS = `
local function ringEvents(keys)
  local place, epochs = unpack(redis.call('MGET', keys.eventPlace, keys.epochs))
  redis.call('PUBLISH', keys.eventBell, place .. ' ' .. (string.match(epochs or '', '^%S+') or ''))
end

local function logOwnEvents(own, now)
  if not own then return end
  for _, event in ipairs(own.events) do
    local place = redis.call('INCR', own.eventPlace)
    redis.call('HSET', event.key, 'place', place, 'body', event.body)
    for _, index in ipairs(event.indexes) do enterIndex(index, place) end
    enterLog(own.eventLog, place, event.id)
    redis.call('ZADD', own.ownEvents, now, event.id)
  end
  ringEvents(own)
end
`;
