import { LEARN } from './learn.ts';
import { PLAN_DELIVERIES } from './plan-deliveries.ts';

/**
 * Writes a watch if nobody else has since it was read, together with everything that follows from
 * the change: its places in the indexes, its events, their fan-out, and what it tells of how long
 * states last. One step or none.
 *
 * KEYS  watch
 * ARGV  expected version, document, effects as JSON or '' where there are none
 * Returns false on a conflict, else the gates at which deliveries are due now.
 */
export const COMMIT_WATCH = `
${PLAN_DELIVERIES}
${LEARN}
local version, number = string.match(redis.call('GETRANGE', KEYS[1], 0, 40), '^(%d+) (%d+) ')
if (version or '0') ~= ARGV[1] then return false end
local effects = ARGV[3] ~= '' and cjson.decode(ARGV[3])
if effects then
  for _, index in ipairs(effects.leave) do redis.call('ZREM', index, number) end
  if effects.begins then
    number = redis.call('INCR', effects.watchNumber)
    redis.call('ZADD', effects.watches, number, effects.member)
  end
  for _, index in ipairs(effects.enter) do redis.call('ZADD', index, number, number) end
end
redis.call('SET', KEYS[1], (ARGV[1] + 1) .. ' ' .. number .. ' ' .. ARGV[2])
if not effects then return {} end

if effects.endedAt then
  redis.call('ZADD', effects.ended, effects.endedAt, effects.member)
else
  redis.call('ZREM', effects.ended, effects.member)
end

if effects.goneCheckAt then
  redis.call('ZADD', effects.goneChecks, effects.goneCheckAt, effects.member)
elseif effects.wasGone then
  redis.call('ZREM', effects.goneChecks, effects.member)
end

for _, event in ipairs(effects.events) do
  local place = redis.call('INCR', effects.eventPlace)
  redis.call('HSET', event.key, 'place', place, 'body', event.body)
  for _, index in ipairs(event.indexes) do redis.call('ZADD', index, place, event.id) end
end

local gates = {}
plan(effects, gates)
if effects.learned then learn(effects.learned) end
if #effects.events > 0 then redis.call('PUBLISH', effects.eventBell, redis.call('GET', effects.eventPlace)) end
return gates
`;

/**
 * Forgets an ended watch and its events, unless it has changed or a delivery of it is kept; that
 * puts it off.
 *
 * KEYS  watch
 * ARGV  plan as JSON
 * Returns 1 when it is gone, 0 when it was kept.
 */
export const FORGET_WATCH = `
local plan = cjson.decode(ARGV[1])
local version, number = string.match(redis.call('GETRANGE', KEYS[1], 0, 40), '^(%d+) (%d+) ')
if version ~= plan.version then return 0 end
for _, event in ipairs(plan.events) do
  if redis.call('EXISTS', event.deliveries) == 1 then
    redis.call('ZADD', plan.ended, 'XX', plan.againAt, plan.member)
    return 0
  end
end
for _, event in ipairs(plan.events) do
  redis.call('DEL', event.key)
  for _, index in ipairs(event.indexes) do redis.call('ZREM', index, event.id) end
end
for _, index in ipairs(plan.indexes) do redis.call('ZREM', index, number) end
redis.call('ZREM', plan.watches, plan.member)
redis.call('ZREM', plan.ended, plan.member)
redis.call('DEL', KEYS[1])
return 1
`;
