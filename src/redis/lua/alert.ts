import { LEASE } from './leases.ts';
import { STORE_NOW } from './clock.ts';
import { PLAN_DELIVERIES, RAISE } from './outbox.ts';

/**
 * Claims the work of alerts, if there is any and no other process has it. The claim lasts as long as
 * its lease, which each call renews. The time for which some process has done so is counted for each source
 * that it sees: longer gaps are none of it.
 *
 * KEYS  clock, lease, inbox, groups due, deadlines, time seen.
 * ARGV  token, lease in ms, most entries, most groups, longest gap in ms, sources as JSON.
 * Returns [now, time seen by source, ms until something is due or -1, entries, groups due, deadlines due];
 * the last three only where there is work and the claim was got.
 */
export const TAKE_ALERT_WORK = `
${STORE_NOW}
${LEASE}
local now = storeNow(KEYS[1])
local before = tonumber(redis.call('HGET', KEYS[6], 'at') or now)
local gap = math.floor(now - before)
if gap >= 1000 and gap <= tonumber(ARGV[5]) then
  for _, source in ipairs(cjson.decode(ARGV[6])) do
    redis.call('HINCRBY', KEYS[6], 'seen ' .. source, gap)
  end
end
if gap >= 1000 or gap <= 0 then
  redis.call('HSET', KEYS[6], 'at', string.format('%.0f', gap > 0 and before + gap or now))
end

local function firstOf(key)
  return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
end
local first = math.min(firstOf(KEYS[4]) or math.huge, firstOf(KEYS[5]) or math.huge)
if redis.call('LLEN', KEYS[3]) > 0 then first = now end
local ms = first == math.huge and -1 or math.max(0, first - now)
local reply = {tostring(now), redis.call('HGETALL', KEYS[6]), tostring(ms)}
if ms ~= 0 then return reply end

local takenMs = takeLease(KEYS[2], ARGV[1], now, tonumber(ARGV[2]))
if takenMs then
  reply[3] = tostring(takenMs)
  return reply
end
reply[4] = redis.call('LRANGE', KEYS[3], 0, ARGV[3] - 1)
reply[5] = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, ARGV[4])
reply[6] = redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', now, 'LIMIT', 0, ARGV[4])
return reply
`;

/**
 * Writes groups that no other process has written since they were read, with their alerts, places in
 * indexes, due times, and events with their deliveries. What was judged leaves the inbox in the same
 * step. A process that judges writes nothing once another has the claim.
 *
 * KEYS  those that the plan names.
 * ARGV  plan as JSON.
 * Returns 0 where something has changed meanwhile, else the pools at which deliveries are due now.
 */
export const COMMIT_ALERTS = `
${PLAN_DELIVERIES}
${RAISE}
${LEASE}
local write = cjson.decode(ARGV[1])
if write.lease and (readLease(write.lease) or write.token) ~= write.token then return 0 end
for _, group in ipairs(write.groups) do
  if (redis.call('HGET', group.key, 'version') or '') ~= group.before then return 0 end
end
if write.judged > 0 and redis.call('LINDEX', write.inbox, 0) ~= write.first then return 0 end

local now = storeNow(write.clock)
for _, deadline in ipairs(write.deadlines) do
  if deadline.at then
    redis.call('ZADD', write.deadlinesKey, deadline.at, deadline.member)
  else
    redis.call('ZREM', write.deadlinesKey, deadline.member)
  end
end
for _, move in ipairs(write.moves) do
  for _, index in ipairs(move.leave) do redis.call('ZREM', index, move.id) end
  for _, index in ipairs(move.enter) do redis.call('ZADD', index, move.startedAt, move.id) end
end
for _, alert in ipairs(write.resolved) do
  redis.call('SET', alert.key, alert.doc)
  redis.call('ZADD', write.alertsResolved, alert.at, alert.id)
end
local pools = raise(write.raised)
-- Groups and inbox come last: what a step that fails before has judged is judged again.
for _, group in ipairs(write.groups) do
  if group.doc then
    redis.call('HSET', group.key, 'version', group.version, 'doc', group.doc)
    if group.keptMs then
      redis.call('PEXPIRE', group.key, group.keptMs)
    else
      redis.call('PERSIST', group.key)
    end
  else
    redis.call('DEL', group.key)
  end
  for _, owner in ipairs(group.left) do redis.call('ZREM', owner, group.id) end
  for _, owner in ipairs(group.owners) do
    redis.call('ZADD', owner, group.keptMs and now + group.keptMs or 'inf', group.id)
  end
  if group.dueAt then
    redis.call('ZADD', write.due, group.dueAt, group.id)
  else
    redis.call('ZREM', write.due, group.id)
  end
end
for _, groups in ipairs(write.owners) do
  redis.call('ZREMRANGEBYSCORE', groups, '-inf', now)
  local last = redis.call('ZRANGE', groups, -1, -1, 'WITHSCORES')[2]
  if last == 'inf' then
    redis.call('PERSIST', groups)
  elseif last then
    redis.call('PEXPIRE', groups, math.ceil(last - now))
  end
end
for _, count in ipairs(write.counts) do
  redis.call('HINCRBY', write.countsKey, count.field, count.by)
end
if write.judged > 0 then redis.call('LTRIM', write.inbox, write.judged, -1) end
return pools
`;

/**
 * Forgets alerts that have resolved.
 *
 * KEYS  resolved alerts, those that the plan names.
 * ARGV  plan as JSON
 */
export const FORGET_ALERTS = `
local plan = cjson.decode(ARGV[1])
for _, alert in ipairs(plan.alerts) do
  for _, index in ipairs(alert.indexes) do redis.call('ZREM', index, alert.id) end
  redis.call('DEL', alert.key)
  redis.call('ZREM', KEYS[1], alert.id)
end
`;

/**
 * Creates a silence, unless there is one of its id that has not expired: it takes the place of one that
 * has. Those that have expired count for nothing; the first of them to expire is forgotten where there are too many of both.
 *
 * KEYS  silences.
 * ARGV  id, document, most live ones, most of its token, most of both, now.
 * Returns the document that was there before, else 1; 0 where too many are live, -1 where too many of its
 * token are.
 */
export const ADD_SILENCE = `
local now, token = tonumber(ARGV[6]), cjson.decode(ARGV[2]).token
local there = redis.call('HGET', KEYS[1], ARGV[1])
if there and cjson.decode(there)['until'] > now then return there end
local live, own, kept, oldest = 0, 0, 0, nil
local flat = redis.call('HGETALL', KEYS[1])
for at = 1, #flat, 2 do
  local silence = cjson.decode(flat[at + 1])
  kept = kept + 1
  if silence['until'] > now then
    live = live + 1
    if token and silence.token == token then own = own + 1 end
  elseif not oldest or silence['until'] < oldest.at then
    oldest = {id = flat[at], at = silence['until']}
  end
end
if own >= tonumber(ARGV[4]) then return -1 end
if live >= tonumber(ARGV[3]) then return 0 end
if kept >= tonumber(ARGV[5]) and oldest then redis.call('HDEL', KEYS[1], oldest.id) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
`;
