import { CLAIMS } from './claims.ts';
import { STORE_NOW } from './clock.ts';

/**
 * Gives slots among the attempts at a pool to deliveries that are due. A pool is a configured endpoint,
 * or an origin whose webhooks share its slots: one of them gets half of these at the most, never the
 * last free one besides others, and one alone after a time-out. While a backlog
 * drains, one claim in four takes the newest delivery, so that what happens now does not wait for it.
 *
 * What a user wants now has the due time 0 and goes past breaker, quiet and pace. A lease that has
 * lapsed makes its delivery due again.
 *
 * `p` is what `claimPlan` of `delivery-claims.ts` makes. `claimAt(p, now, most)` returns the reply that
 * `readClaims` there reads. `reschedule(p)` notes when it is worth asking the pool again.
 */
export const CLAIM_DELIVERIES = `
${CLAIMS}
local function rulesOf(p, name)
  local from, parkedFrom, probes =
    unpack(redis.call('HMGET', p.states .. name, 'from', 'parkedFrom', 'probes'))
  local rules = {from = tonumber(from or 0)}
  if parkedFrom ~= '-' and redis.call('EXISTS', p.parked .. name) == 1 then
    if probes ~= '1' or redis.call('EXISTS', p.probes .. name) == 0 then
      rules.parkedFrom, rules.isProbe = tonumber(parkedFrom or 0), probes == '1'
    end
  end
  return rules
end

local function limitOf(p)
  local text = redis.call('GET', p.slots)
  return math.min(text and math.floor(cjson.decode(text).limit) or p.first, p.limit), text
end

-- When it is worth claiming at a receiver: nil for never, 0 for now whatever holds.
local function nextAt(p, name, rules)
  local head = redis.call('ZRANGE', p.dues .. name, 0, 0, 'WITHSCORES')[2]
  local at = head and tonumber(head)
  if at == 0 then return 0 end
  if at then at = math.max(at, rules.from) end
  if rules.parkedFrom then
    local parkedAt = math.max(rules.parkedFrom, rules.from)
    at = math.min(at or parkedAt, parkedAt)
  end
  return at
end

-- More waits than goes out in two rounds.
local function isBacklog(p, name)
  local waiting = redis.call('ZCARD', p.dues .. name) + redis.call('ZCARD', p.parked .. name)
  return waiting > math.max(8, 2 * limitOf(p))
end

-- The next delivery at a receiver, and whether it was parked.
local function pick(p, name, now, rules)
  local due = p.dues .. name
  local head, score = unpack(redis.call('ZRANGE', due, 0, 0, 'WITHSCORES'))
  if score and tonumber(score) == 0 then return head end
  if p.isHeld or now < rules.from then return nil end
  local mayUnpark = rules.parkedFrom and now >= rules.parkedFrom
  p.turn = p.turn + 1
  local isNewest = p.turn % 4 == 0 and isBacklog(p, name)
  if isNewest then
    local newest = redis.call('ZREVRANGEBYSCORE', due, now, '-inf', 'LIMIT', 0, 1)[1]
    if newest then return newest end
  end
  if mayUnpark then
    if rules.isProbe then rules.parkedFrom = nil end
    local id = redis.call(isNewest and 'ZREVRANGE' or 'ZRANGE', p.parked .. name, 0, 0)[1]
    if id then return id, true end
  end
  if head and tonumber(score) <= now then return head end
  return nil
end

local function take(p, name, id, isParked, now, claims)
  local dueAt = isParked and now or tonumber(redis.call('ZSCORE', p.dues .. name, id))
  redis.call('ZREM', (isParked and p.parked or p.dues) .. name, id)
  local version, doc, event = unpack(redis.call('HMGET', p.deliveries .. id, 'version', 'doc', 'event'))
  if not version then return 0 end
  redis.call('ZADD', p.taken, now + p.leaseMs, id)
  if p.isShared then redis.call('ZADD', p.takens .. name, now + p.leaseMs, id) end
  hold(p.claims, id, p.token, dueAt)
  for _, part in ipairs({version, doc, redis.call('HGET', p.events .. event, 'body') or ''}) do
    claims[#claims + 1] = part
  end
  return 1
end

-- Claims at one receiver; returns how many.
local function claimOf(p, name, now, most, found)
  local rules, claims, count = rulesOf(p, name), {}, 0
  while count < most do
    local id, isParked = pick(p, name, now, rules)
    if not id then break end
    count = count + take(p, name, id, isParked, now, claims)
    if p.paceMs and not p.isHeld then
      redis.call('SET', p.hold, now + p.paceMs, 'PX', math.ceil(p.paceMs) + 1000)
      p.isHeld = true
    end
  end
  if #claims > 0 then
    found[#found + 1] = name
    found[#found + 1] = redis.call('HGETALL', p.states .. name)
    found[#found + 1] = claims
  end
  return count
end

-- Notes when a webhook is worth asking among those of its origin; one without a free slot is not.
local function rescheduleWebhook(p, name, isFull)
  local at = not isFull and nextAt(p, name, rulesOf(p, name))
  if at then redis.call('ZADD', p.poolDue, at, name) else redis.call('ZREM', p.poolDue, name) end
end

local function isFullAt(p, name, limit, free)
  local own = redis.call('ZCARD', p.takens .. name)
  local isSlow = redis.call('HGET', p.states .. name, 'slow') == '1'
  local most = isSlow and 1 or math.max(1, math.floor(limit / 2))
  return own >= most or (own > 0 and free <= 1), most - own
end

local function claimShared(p, now, limit, free, most, found)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', p.poolDue, '-inf', p.isHeld and 0 or now, 'LIMIT', 0, 64)) do
    if most <= 0 or free <= 0 then break end
    local isFull, own = isFullAt(p, name, limit, free)
    if not isFull then
      local share = math.min(own, free, most, math.max(1, free - 1))
      local count = claimOf(p, name, now, share, found)
      free, most = free - count, most - count
      isFull = isFullAt(p, name, limit, free)
    end
    rescheduleWebhook(p, name, isFull)
  end
end

local function backToDue(p, id, at)
  local doc = redis.call('HGET', p.deliveries .. id, 'doc')
  if not doc then return end
  local delivery = cjson.decode(doc)
  local name = delivery.endpoint
  if delivery.state == 'parked' then
    redis.call('ZADD', p.parked .. name, at, id)
  else
    redis.call('ZADD', p.dues .. name, delivery.urgent and 0 or at, id)
  end
  if redis.call('GET', p.probes .. name) == id then redis.call('DEL', p.probes .. name) end
  if p.isShared then
    redis.call('ZREM', p.takens .. name, id)
    rescheduleWebhook(p, name, false)
  end
end

local function claimAt(p, now, most)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', p.taken, '-inf', now)) do
    redis.call('ZREM', p.taken, id)
    redis.call('HDEL', p.claims, id)
    backToDue(p, id, now)
  end
  local found = {}
  local limit, slots = limitOf(p)
  local free = limit - redis.call('ZCARD', p.taken)
  p.isHeld = tonumber(redis.call('GET', p.hold) or 0) > now
  if p.isShared then
    claimShared(p, now, limit, free, most, found)
  else
    claimOf(p, p.pool, now, math.min(free, most), found)
  end
  if slots and #found > 0 then redis.call('PEXPIRE', p.slots, p.slotsKeptMs) end
  return found, slots
end

-- Returns whether deliveries are due that have no slot.
local function reschedule(p, now)
  local lapse = redis.call('ZRANGE', p.taken, 0, 0, 'WITHSCORES')[2]
  local at = lapse and tonumber(lapse)
  local due
  if p.isShared then
    local first = redis.call('ZRANGE', p.poolDue, 0, 0, 'WITHSCORES')[2]
    due = first and tonumber(first)
  else
    due = nextAt(p, p.pool, rulesOf(p, p.pool))
  end
  if due and redis.call('ZCARD', p.taken) < limitOf(p) then
    local possible = due == 0 and 0 or math.max(due, tonumber(redis.call('GET', p.hold) or 0))
    at = math.min(at or possible, possible)
  end
  if at then redis.call('ZADD', p.poolsDue, at, p.pool) else redis.call('ZREM', p.poolsDue, p.pool) end
  return due and due <= now and 1 or 0
end

local function claimAndReschedule(p, now, most)
  local found, slots = claimAt(p, now, most)
  return {slots or '', reschedule(p, now), found}
end
`;

/**
 * Claims deliveries of one pool.
 *
 * KEYS  clock, due pools
 * ARGV  the plan as JSON, how many at most
 */
export const CLAIM = `
${STORE_NOW}
${CLAIM_DELIVERIES}
return claimAndReschedule(cjson.decode(ARGV[1]), storeNow(KEYS[1]), tonumber(ARGV[2]))
`;

/**
 * Gives claims back: their deliveries are due at once.
 *
 * KEYS  clock, due pools, due bell
 * ARGV  the plan as JSON, then ids and tokens in turn
 * Returns how many were given back; those whose token is another by now were not.
 */
export const RELEASE_DELIVERIES = `
${STORE_NOW}
${CLAIM_DELIVERIES}
local p, now, released = cjson.decode(ARGV[1]), storeNow(KEYS[1]), 0
for at = 2, #ARGV, 2 do
  local id = ARGV[at]
  local dueAt = letGo(p.claims, id, ARGV[at + 1])
  if dueAt then
    redis.call('ZREM', p.taken, id)
    backToDue(p, id, dueAt)
    released = released + 1
  end
end
reschedule(p, now)
if released > 0 then redis.call('PUBLISH', KEYS[3], p.pool) end
return released
`;

/**
 * Pools that are worth asking, the first first, and the store's time.
 *
 * KEYS  clock, due pools
 * ARGV  how many at most
 */
export const DUE_POOLS = `
${STORE_NOW}
return {storeNow(KEYS[1]), redis.call('ZRANGE', KEYS[2], 0, ARGV[1] - 1, 'WITHSCORES')}
`;

/**
 * Makes all that waits at a receiver due at once: what is parked, and what waits for its next attempt.
 * In steps of so many at the most, so that Redis is never busy for long.
 *
 * KEYS  clock, due pools, due bell
 * ARGV  the plan as JSON, the receiver, how many at most
 * Returns how many deliveries were moved up.
 */
export const RETRY_RECEIVER = `
${STORE_NOW}
${CLAIM_DELIVERIES}
local p, name, now = cjson.decode(ARGV[1]), ARGV[2], storeNow(KEYS[1])
local ids = redis.call('ZRANGEBYSCORE', p.dues .. name, '(' .. now, '+inf', 'LIMIT', 0, ARGV[3])
for _, id in ipairs(ids) do redis.call('ZADD', p.dues .. name, now, id) end
if p.isShared then rescheduleWebhook(p, name, false) end
reschedule(p, now)
redis.call('PUBLISH', KEYS[3], p.pool)
return #ids
`;

/**
 * The clock was set back to what it was before somebody set it forward: what was due only because of
 * that time is due now, rather than late by as much.
 *
 * KEYS  clock, due pools
 * ARGV  the plan as JSON, the step in ms
 */
export const MOVE_DELIVERIES_BACK = `
${STORE_NOW}
${CLAIM_DELIVERIES}
local p, now = cjson.decode(ARGV[1]), storeNow(KEYS[1])
local function moveBack(name)
  local ids = redis.call('ZRANGEBYSCORE', p.dues .. name, '(' .. now, now + ARGV[2])
  for _, id in ipairs(ids) do redis.call('ZADD', p.dues .. name, now, id) end
  if p.isShared then rescheduleWebhook(p, name, false) end
end
if p.isShared then
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', p.poolDue, '(' .. now, now + ARGV[2])) do moveBack(name) end
else
  moveBack(p.pool)
end
reschedule(p, now)
`;
