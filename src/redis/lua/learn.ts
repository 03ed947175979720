/**
 * Adds samples to what is known of their workflow. What a sample adds to which bin has been worked out
 * already: here it is only decayed and added, as `learn` of `core/cadence/hazard.ts` does. Where there are
 * too many tables or workflows then, those that were used longest ago are forgotten.
 *
 * A table is a packed string of doubles: samples, endings by bin, seconds at risk by bin. So is what was
 * polled: runs, requests, seconds of delay.
 */
export const LEARN = `
local function addSample(plan, key, sample)
  local size = 1 + 2 * plan.bins
  local format = '<' .. string.rep('d', size)
  local packed = redis.call('HGET', key, sample.field) or string.rep('\\0', 8 * size)
  local numbers = {struct.unpack(format, packed)}
  if sample.endedIn then
    for place = 2, size do numbers[place] = numbers[place] * plan.decay end
    local ending = 2 + sample.endedIn
    numbers[1], numbers[ending] = numbers[1] + 1, numbers[ending] + 1
  end
  local before = 1 + plan.bins + sample.firstBin
  for place, seconds in ipairs(sample.seconds) do
    numbers[before + place] = numbers[before + place] + seconds
  end
  redis.call('HSET', key, sample.field, struct.pack(format, unpack(numbers, 1, size)))
end

local function addPolled(plan, key)
  local packed = redis.call('HGET', key, 'polled') or string.rep('\\0', 24)
  local runs, requests, delay = struct.unpack('<ddd', packed)
  redis.call('HSET', key, 'polled', struct.pack('<ddd',
    runs * plan.decay + 1,
    requests * plan.decay + plan.polled.requests,
    delay * plan.decay + plan.polled.delayS))
end

local function makesRoom(plan, key, sample)
  if not sample.isCounted or redis.call('HEXISTS', key, sample.field) == 1 then return true end
  if tonumber(redis.call('HGET', key, 'tables') or 0) >= plan.mostOfOne then return false end
  redis.call('HINCRBY', key, 'tables', 1)
  redis.call('INCR', plan.count)
  return true
end

local function forget(plan, name)
  local ofSource = plan.bySource .. string.match(name, '^[^/]*')
  for _, order in ipairs({plan.used, plan.workflows, ofSource}) do
    redis.call('ZREM', order, name)
  end
  local tables = redis.pcall('HGET', plan.hashes .. name, 'tables')
  redis.call('DECRBY', plan.count, tonumber(tables) or 0)
  redis.call('DEL', plan.hashes .. name)
end

-- So many at a time, so that no change takes long; the next one goes on.
local function forgetOldest(plan, key)
  for _ = 1, plan.mostForgotten do
    local isOver = tonumber(redis.call('GET', plan.count) or 0) > plan.mostOfAll
    if not isOver and redis.call('ZCARD', plan.used) <= plan.mostWorkflows then return end
    local oldest = redis.call('ZRANGE', plan.used, 0, 0)[1]
    if oldest == plan.name then
      return redis.call('SET', plan.count, redis.call('HGET', key, 'tables'))
    end
    forget(plan, oldest)
  end
end

local function addAll(plan)
  local name, key = plan.name, plan.hash
  local now = redis.call('INCR', plan.clock)
  redis.call('ZADD', plan.used, now, name)
  redis.call('ZADD', plan.workflows, 'NX', now, name)
  redis.call('ZADD', plan.ofSource, 'NX', now, name)
  for _, sample in ipairs(plan.samples) do
    if makesRoom(plan, key, sample) then addSample(plan, key, sample) end
  end
  if plan.polled then addPolled(plan, key) end
  -- Begun anew, it has a version that no reader can have: the clock counts each write of all.
  redis.call('HSETNX', key, 'version', now - 1)
  redis.call('HINCRBY', key, 'version', 1)
  forgetOldest(plan, key)
end

-- What was learned is worth less than the change that it comes with: where it cannot be added to,
-- it begins anew.
local function learn(plan)
  if not pcall(addAll, plan) then pcall(forget, plan, plan.name) end
end
`;

/**
 * Reads what is known of a workflow, which may count as using it.
 *
 * KEYS  hash of the workflow, sorted set of workflows by use, clock.
 * ARGV  version that the reader has or '', name of the workflow where reading it is using it or ''.
 * Returns the fields and values of the hash: none where nothing is known; false where the reader has
 * that version.
 */
export const READ_STATISTICS = `
local version = redis.call('HGET', KEYS[1], 'version')
if not version then return {} end
if version == ARGV[1] then return false end
if ARGV[2] ~= '' then redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[3]), ARGV[2]) end
return redis.call('HGETALL', KEYS[1])
`;
