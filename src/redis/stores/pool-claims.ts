import type { Delivery } from '../../core/delivery/delivery.ts';
import { FOLD_ABOVE } from '../../core/delivery/fold.ts';
import type { Claim } from '../../core/delivery/claim.ts';
import type { EndpointLimits } from '../../core/delivery/endpoint-state.ts';
import { isOrigin, isWebhook, urlOf, type Receiver } from '../../core/delivery/receiver.ts';
import { FIRST_SLOTS, SLOTS_KEPT_MS } from '../../core/delivery/slots.ts';
import { PlanKeys, type Keys } from '../keys.ts';
import { CLAIMS, LEASE } from '../lua/leases.ts';
import { readEndpoint } from './endpoint-record.ts';

/** The deliveries of the same pool that a step claims: how many at most, and by which token. */
export interface NextClaims {
  most: number;
  token: string;
}

/** Claims made at a pool. */
export interface PoolClaims {
  claims: Claim[];
  /** The slots of the pool as JSON; '' where nothing is known of them. */
  slots: string;
  /** For how long the pace of the pool holds back what is due, ms; null where it does not. */
  heldMs: number | null;
}

/**
 * Gives slots among the attempts at a pool to deliveries that are due. A pool is a configured endpoint,
 * or an origin whose webhooks share its slots. One of them gets half of these at the most, and one slot
 * after a time-out. It never gets the last free one besides others. While some are held back by a pause
 * of the origin, the others get one slot each. While a backlog drains, one claim
 * in four takes the newest delivery, so that what happens now does not wait for it.
 *
 * What a user wants now has the due time 0 and goes past breaker, quiet and pace. A lease that has
 * lapsed makes its delivery due again, unless its process asks: that is alive, and releases what it does
 * not attempt.
 *
 * `p` is the plan of the pool, see {@link createPoolPlans}. `claimAndReschedule` returns the reply that
 * {@link readClaims} reads. `reschedule(p, now)` notes when it is worth asking the pool again.
 */
export const CLAIM_DELIVERIES = `
${CLAIMS}
${LEASE}
-- How many slots the pool has, and until when it is held, read once.
local function poolOf(p)
  if p.slotCount then return end
  local text, hold
  if p.isShared then
    text = redis.call('GET', p.slots)
    p.pausedUntil = tonumber(redis.call('ZREVRANGE', p.held, 0, 0, 'WITHSCORES')[2] or 0)
  else
    text, hold = unpack(redis.call('MGET', p.slots, p.hold))
  end
  p.slotsText = text or ''
  p.slotCount = math.min(text and math.floor(cjson.decode(text).limit) or p.first, p.limit)
  -- A hold by the pace ends by the pace of now: a reload may have changed it.
  local untilAt, pace = string.match(hold or '0', '^(%S+) ?(%S*)$')
  p.heldUntil = tonumber(untilAt)
  if pace ~= '' then p.heldUntil = p.heldUntil - pace + (p.paceMs or 0) end
end

-- How many slots are taken, and when the first lease ends, read once: nothing may take or free one
-- between this and the claims that are made here.
local function countTaken(p)
  if p.takenCount then return end
  local lapse = redis.call('ZRANGE', p.taken, 0, 0, 'WITHSCORES')[2]
  p.lapse = lapse and tonumber(lapse)
  p.takenCount = lapse and redis.call('ZCARD', p.taken) or 0
end

local function freeSlots(p)
  poolOf(p)
  countTaken(p)
  return p.slotCount - p.takenCount
end

-- The hashed URL of a webhook: watches of several sources may share it, and its slots with it.
local function urlOf(name)
  return string.match(name, '^[^@]+')
end

-- Holds webhooks of an origin back, each no less long than before.
local function holdBack(p, pause, now)
  redis.call('ZREMRANGEBYSCORE', p.held, '-inf', now)
  for _, name in ipairs(pause.receivers) do redis.call('ZADD', p.held, 'GT', now + pause.ms, name) end
  local last = redis.call('ZREVRANGE', p.held, 0, 0, 'WITHSCORES')[2]
  redis.call('PEXPIRE', p.held, math.ceil(last - now))
end

-- A receiver as far as up to so many claims ask for it: its state, what is due first, what is parked.
local function openReceiver(p, name, most)
  local flat, state = redis.call('HGETALL', p.states .. name), {}
  for at = 1, #flat, 2 do state[flat[at]] = flat[at + 1] end
  local r = {name = name, state = flat, isSlow = state.slow == '1', from = tonumber(state.from or 0)}
  -- One more than can be claimed: what is due first afterwards.
  r.due = redis.call('ZRANGE', p.dues .. name, 0, most, 'WITHSCORES')
  r.at, r.isWhole, r.gone, r.parked = 1, #r.due <= 2 * most, {}, 0
  if p.isShared then
    poolOf(p)
    if p.pausedUntil > 0 then
      r.from = math.max(r.from, tonumber(redis.call('ZSCORE', p.held, urlOf(name)) or 0))
    end
  end
  if state.parkedFrom ~= '-' then
    r.parked = redis.call('ZCARD', p.parked .. name)
    r.isProbe = state.probes == '1'
    if r.parked > 0 and not (r.isProbe and redis.call('EXISTS', p.probes .. name) == 1) then
      r.parkedFrom = tonumber(state.parkedFrom or 0)
    end
  end
  return r
end

-- What is due first at a receiver, and when.
local function headOf(r)
  while r.due[r.at] and r.gone[r.due[r.at]] do r.at = r.at + 2 end
  return r.due[r.at], tonumber(r.due[r.at + 1])
end

-- When it is worth claiming at a receiver: nil for never, 0 for now whatever holds.
local function nextAt(r)
  local _, at = headOf(r)
  if at == 0 then return 0 end
  if at then at = math.max(at, r.from) end
  if r.parkedFrom and r.parked > 0 then
    local parkedAt = math.max(r.parkedFrom, r.from)
    at = math.min(at or parkedAt, parkedAt)
  end
  return at
end

-- More waits than goes out in two rounds.
local function isBacklog(p, r)
  local due = r.isWhole and (#r.due + 1 - r.at) / 2 or redis.call('ZCARD', p.dues .. r.name)
  return due + r.parked > math.max(8, 2 * p.slotCount)
end

-- The next delivery at a receiver, since when it is due, and whether it was parked.
local function pick(p, r, now)
  local head, at = headOf(r)
  if at == 0 then return head, 0 end
  if p.heldUntil > now or now < r.from then return nil end
  local mayUnpark = r.parkedFrom and r.parked > 0 and now >= r.parkedFrom
  p.turn = p.turn + 1
  local isNewest = p.turn % 4 == 0 and isBacklog(p, r)
  if isNewest then
    local newest, since = unpack(redis.call('ZREVRANGEBYSCORE', p.dues .. r.name, now, '-inf', 'WITHSCORES', 'LIMIT', 0, 1))
    if newest then return newest, tonumber(since) end
  end
  if mayUnpark then
    return redis.call(isNewest and 'ZREVRANGE' or 'ZRANGE', p.parked .. r.name, 0, 0)[1], now, true
  end
  if head and at <= now then return head, at end
  return nil
end

local function take(p, r, id, dueAt, isParked, now, claims)
  local version, number, doc, event =
    unpack(redis.call('HMGET', p.deliveries .. id, 'version', 'number', 'doc', 'event'))
  if version then
    hold(p.claims, id, p.token, dueAt)
    redis.call('ZADD', p.taken, now + p.leaseMs, id)
    if p.isShared then redis.call('ZADD', p.takens .. urlOf(r.name), now + p.leaseMs, id) end
  end
  -- Last: until then it is due, or its process finds a claim that it does not hold.
  redis.call('ZREM', (isParked and p.parked or p.dues) .. r.name, id)
  if isParked then r.parked = r.parked - 1 else r.gone[id] = true end
  if not version then return 0 end
  p.takenCount = p.takenCount + 1
  p.lapse = math.min(p.lapse or math.huge, now + p.leaseMs)
  for _, part in ipairs({version, number, doc, redis.call('HGET', p.events .. event, 'body') or ''}) do
    claims[#claims + 1] = part
  end
  return 1
end

-- The most events of a message about a delivery, where one about more was rejected.
local function foldMostOf(doc)
  return tonumber(string.match(doc, '"foldMost":(%d+)'))
end

-- Claims what else waits of the type of the delivery that was claimed last, where that is more than a
-- few: one message tells them. A probe stays alone, and so does what a user wants now. What a rejected
-- message covered stays apart from the rest.
local function claimAlong(p, r, now, most, claims)
  local doc = claims[#claims - 1]
  local mark, own = string.match(doc, '"eventType":"[^"]+"'), foldMostOf(doc)
  if r.isProbe or not mark or string.find(doc, '"runId":""', 1, true) then return end
  local along, foldMost = {}, math.min(p.foldMost, own or p.foldMost)
  local function gather(ids, isParked)
    for _, id in ipairs(ids) do
      if #along >= foldMost - 1 then return end
      local other = redis.call('HGET', p.deliveries .. id, 'doc')
      local isAlike = other and string.find(other, mark, 1, true) and foldMostOf(other) == own
      if isAlike and not string.find(other, '"runId":""', 1, true) then
        along[#along + 1] = {id, isParked}
      end
    end
  end
  gather(redis.call('ZRANGEBYSCORE', p.dues .. r.name, '(0', now, 'LIMIT', 0, 2 * p.foldMost), false)
  if r.parkedFrom and r.parked > 0 and now >= r.parkedFrom then
    gather(redis.call('ZRANGE', p.parked .. r.name, 0, 2 * p.foldMost), true)
  end
  if #along < p.foldAbove then return end
  for _, one in ipairs(along) do take(p, r, one[1], now, one[2], now, claims) end
  r.due = redis.call('ZRANGE', p.dues .. r.name, 0, most, 'WITHSCORES')
  r.at, r.isWhole = 1, #r.due <= 2 * most
end

-- Claims at one receiver; returns how many, without those that are told along with others.
local function claimOf(p, r, now, most, found)
  local claims, count = {}, 0
  while count < most do
    local id, dueAt, isParked = pick(p, r, now)
    if not id then break end
    local taken = take(p, r, id, dueAt, isParked, now, claims)
    count = count + taken
    -- One without a record probes nothing, so that the next one does.
    if taken == 1 and isParked and r.isProbe then r.parkedFrom = nil end
    if p.foldMost and taken == 1 and dueAt > 0 then claimAlong(p, r, now, most, claims) end
    if p.paceMs and p.heldUntil <= now then
      p.heldUntil = now + p.paceMs
      redis.call('SET', p.hold, string.format('%.3f %.3f', p.heldUntil, p.paceMs), 'PX',
        math.ceil(p.paceMs) + 1000)
    end
  end
  if count > 0 then
    for _, part in ipairs({r.name, r.state, claims}) do found[#found + 1] = part end
  end
  return count
end

-- Notes when a webhook is worth asking among those of its origin; one without a free slot waits for one.
local function rescheduleWebhook(p, r, isFull)
  local at = nextAt(r)
  if at and not isFull then
    redis.call('ZADD', p.poolDue, at, r.name)
    return
  end
  redis.call('ZREM', p.poolDue, r.name)
  if at then redis.call('SADD', p.waiting .. urlOf(r.name), r.name) end
end

-- A delivery gives its slot of a webhook back: what waits for one there is worth asking again.
local function leaveWebhook(p, name, id)
  local url = urlOf(name)
  redis.call('ZREM', p.takens .. url, id)
  local waiting = redis.call('SMEMBERS', p.waiting .. url)
  if #waiting > 0 then redis.call('DEL', p.waiting .. url) end
  for _, one in ipairs(waiting) do rescheduleWebhook(p, openReceiver(p, one, 0), false) end
end

-- How many slots of its origin a webhook has. Where the record of a delivery was lost with its process,
-- nothing said whose slot it had.
local function ownSlots(p, takens, most, now)
  local own = redis.call('ZCARD', takens)
  if own < most then return own end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', takens, '-inf', now)) do
    if not redis.call('ZSCORE', p.taken, id) then own = own - redis.call('ZREM', takens, id) end
  end
  return own
end

-- Of the slots of an origin, how many one webhook may take now.
local function shareOf(p, r, now)
  local free = freeSlots(p)
  local isSingle = r.isSlow or p.pausedUntil > now
  local most = isSingle and 1 or math.max(1, math.floor(p.slotCount / 2))
  local own = ownSlots(p, p.takens .. urlOf(r.name), most, now)
  if own >= most or (own > 0 and free <= 1) then return 0 end
  return math.min(most - own, free, math.max(1, free - 1))
end

local function claimShared(p, now, most, found)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', p.poolDue, '-inf', now, 'LIMIT', 0, 64)) do
    if most <= 0 or freeSlots(p) <= 0 then break end
    local r = openReceiver(p, name, most)
    local share = shareOf(p, r, now)
    if share > 0 then
      most = most - claimOf(p, r, now, math.min(share, most), found)
      share = shareOf(p, r, now)
    end
    rescheduleWebhook(p, r, share <= 0)
  end
end

-- Its slot is free. It is due again, unless it has settled: a result is written also where the claim was lost.
local function backToDue(p, id, at)
  local doc, wish = unpack(redis.call('HMGET', p.deliveries .. id, 'doc', 'wish'))
  if not doc then return end
  local delivery = cjson.decode(doc)
  local name, state = delivery.endpoint, delivery.state
  if state == 'parked' then
    redis.call('ZADD', p.parked .. name, at, id)
  elseif state == 'pending' then
    redis.call('ZADD', p.dues .. name, (delivery.urgent or wish == 'now') and 0 or at, id)
  end
  endLease(p.probes .. name, id)
  if p.isShared then
    leaveWebhook(p, name, id)
    rescheduleWebhook(p, openReceiver(p, name, 0), false)
  end
end

local function processOf(token)
  return string.match(token, '^[^.]+')
end

local function endLapsed(p, now)
  countTaken(p)
  -- A user's step has no token, and leaves them to the processes.
  if not p.lapse or p.lapse > now or p.token == '' then return end
  local own = processOf(p.token)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', p.taken, '-inf', now)) do
    if processOf(holder(p.claims, id) or '') == own then
      redis.call('ZADD', p.taken, now + p.leaseMs, id)
    else
      redis.call('ZREM', p.taken, id)
      redis.call('HDEL', p.claims, id)
      backToDue(p, id, now)
    end
  end
  p.takenCount = nil
end

local function claimAt(p, now, most)
  endLapsed(p, now)
  local found = {}
  most = math.min(freeSlots(p), most)
  if p.isShared then
    claimShared(p, now, most, found)
  else
    p.only = openReceiver(p, p.pool, math.max(0, most))
    claimOf(p, p.only, now, most, found)
  end
  -- One time in four is often enough, for a receiver that needs more slots than at first.
  local isUsed = #found > 0 and p.turn % 4 == 0
  if p.slotsText ~= '' and isUsed then redis.call('PEXPIRE', p.slots, p.slotsKeptMs) end
  return found
end

-- Notes when the pool is worth asking. Returns whether deliveries are due that have no slot.
local function reschedule(p, now)
  local due
  if p.isShared then
    local first = redis.call('ZRANGE', p.poolDue, 0, 0, 'WITHSCORES')[2]
    due = first and tonumber(first)
  else
    due = nextAt(p.only or openReceiver(p, p.pool, 0))
  end
  local free = freeSlots(p)
  local at = p.lapse
  if due and free > 0 then
    local possible = due == 0 and 0 or math.max(due, p.heldUntil)
    at = math.min(at or possible, possible)
  end
  if at then redis.call('ZADD', p.poolsDue, at, p.pool) else redis.call('ZREM', p.poolsDue, p.pool) end
  return due and due <= now and 1 or 0
end

-- By which token, and which of four claims goes to the newest delivery.
local function claimAndReschedule(p, now, most, token, turn)
  p.token, p.turn = token, tonumber(turn)
  local found = claimAt(p, now, most)
  local isWaiting = reschedule(p, now)
  -- The pace holds back what is due: this process asks again when it is over.
  local heldMs = isWaiting == 1 and p.paceMs and p.heldUntil > now and math.ceil(p.heldUntil - now)
  return {p.slotsText, isWaiting, found, heldMs or -1}
end
`;

/** Twice the deadline: a process that sent in time has written the result by then, ms. */
export function leaseMs({ deadlineMs }: EndpointLimits): number {
  return 2 * deadlineMs;
}

/** What scripts need of a pool: its JSON, and the keys that it names. */
export interface PoolPlan {
  json: string;
  named: readonly string[];
}

/** Plans that are kept. A plan is made of two dozen names, and every step of a delivery needs one. */
const PLANS_KEPT = 1_000;

/** Finds the plan of a pool. */
export function createPoolPlans(keys: Keys) {
  const kept = new Map<string, PoolPlan>();
  return function planOf(pool: string, limits: EndpointLimits): PoolPlan {
    const { most, rate, deadlineMs, foldMost } = limits;
    const name = `${pool} ${most} ${rate} ${deadlineMs} ${foldMost}`;
    const found = kept.get(name);
    if (found !== undefined) return found;
    const plan = poolPlan(keys, pool, limits);
    if (kept.size >= PLANS_KEPT) kept.clear();
    kept.set(name, plan);
    return plan;
  };
}

function poolPlan(keys: Keys, pool: string, limits: EndpointLimits): PoolPlan {
  const isShared = isOrigin(pool);
  const planKeys = new PlanKeys(keys);
  const { declare } = planKeys;
  const plan = {
    pool,
    isShared,
    first: Math.min(FIRST_SLOTS, limits.most),
    limit: limits.most,
    leaseMs: leaseMs(limits),
    ...(limits.rate !== null && { paceMs: 1_000 / limits.rate }),
    ...(limits.foldMost !== undefined && { foldMost: limits.foldMost, foldAbove: FOLD_ABOVE }),
    states: keys.endpointState(''),
    parked: keys.parked(''),
    probes: keys.probe(''),
    dues: keys.due(''),
    deliveries: keys.delivery(''),
    events: keys.event(''),
    takens: keys.taken(''),
    waiting: keys.waiting(''),
    taken: declare(keys.taken(pool)),
    slots: declare(keys.slots(pool)),
    slotsKeptMs: SLOTS_KEPT_MS,
    ...(isShared
      ? { held: declare(keys.held(pool)), poolDue: declare(keys.poolDue(pool)) }
      : { hold: declare(keys.hold(pool)) }),
    poolsDue: declare(keys.poolsDue),
    claims: declare(keys.deliveryClaims),
  };
  if (!isShared) planKeys.declareAll(receiverKeys(keys, pool));
  return { json: JSON.stringify(plan), named: planKeys.declared };
}

/** The arguments of a script that claims: its token, and which of four claims goes to the newest. */
export function claimArgs(token: string): { token: string; turn: number } {
  return { token, turn: turnOf(token) };
}

/** Which of four claims goes to the newest delivery: spread evenly, whichever pools take turns. */
function turnOf(token: string): number {
  const number = parseInt(token.slice(token.indexOf('.') + 1), 36) || 0;
  return (Math.imul(number, 2_654_435_761) >>> 16) % 4;
}

/** The keys that a script declares which runs for a receiver: those that it finds by name, and the plan's. */
export function keysOfReceiver(keys: Keys, receiver: Receiver, { named }: PoolPlan): string[] {
  // Those of a configured endpoint are in the plan of its pool.
  return isWebhook(receiver) ? [...named, ...receiverKeys(keys, receiver)] : [...named];
}

/** What scripts find by the name of a receiver. */
function receiverKeys(keys: Keys, receiver: Receiver): string[] {
  const { endpointState, due, parked, probe, taken, waiting } = keys;
  const own = [endpointState, due, parked, probe].map((key) => key(receiver));
  return [...own, ...[taken, waiting].map((key) => key(urlOf(receiver)))];
}

/**
 * The reply of the scripts that claim: the slots of the pool as JSON or '', whether more is due, and the
 * receivers. Last, for how many ms the pace holds back due deliveries, or -1.
 * A receiver has its name,
 * its state's hash, and for each delivery version, number, document and the text of its event, '' where that
 * is gone.
 */
export type ClaimReply = [
  slots: string,
  isWaiting: number,
  found: (string | string[])[],
  heldMs: number,
];

/** @param asked by which token and when, by the monotonic clock */
export function readClaims(
  [slots, isWaiting, found, heldMs]: ClaimReply,
  { token, askedAt }: { token: string; askedAt: number },
): PoolClaims {
  const claims: Claim[] = [];
  for (let at = 0; at < found.length; at += 3) {
    const [name, hash, parts] = found.slice(at, at + 3) as [string, string[], string[]];
    const endpoint = readEndpoint(name, pairs(hash));
    for (let part = 0; part < parts.length; part += 4) {
      const [version, number, doc = '', body = ''] = parts.slice(part, part + 4);
      const stored = {
        version: Number(version),
        number: Number(number),
        delivery: JSON.parse(doc) as Delivery,
      };
      const hadWaiting = isWaiting === 1;
      claims.push({
        stored,
        endpoint,
        token,
        askedAt,
        hadWaiting,
        body: body === '' ? null : body,
      });
    }
  }
  return { claims, slots, heldMs: heldMs < 0 ? null : heldMs };
}

function pairs(flat: string[]): Record<string, string> {
  const entries = Array.from({ length: flat.length / 2 }, (_, at) =>
    flat.slice(at * 2, at * 2 + 2),
  );
  return Object.fromEntries(entries) as Record<string, string>;
}
