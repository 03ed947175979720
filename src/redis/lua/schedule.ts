import { REQUEST_KINDS } from '../../core/source/request-order.ts';
import { PLAN_MEMBER } from '../../core/feed/page-name.ts';
import { CLAIMS } from './leases.ts';
import { STORE_NOW } from './clock.ts';

/** How long the set of widened intervals is kept after the last change, ms. */
const SPARE_KEPT_MS = 3_600_000;

const KINDS = REQUEST_KINDS.map((kind) => `'${kind}'`).join(', ');

/** `isPoll(member)`: whether it is a watch's. */
export const IS_POLL = `
local function isPoll(member) return string.byte(member) ~= ${PLAN_MEMBER.charCodeAt(0)} end
`;

/**
 * The schedule of a source: one sorted set for each kind of request, of members by when they are due,
 * and the hash of those that are claimed. A member stands in exactly one of these. A watch's member is
 * its run's id; those of pages, streams and of the plan begin with a space.
 *
 * A watch with an interval that a short rate limit has widened stands in one more set: by when its
 * configured longest interval is over. From then on it may be polled with a request that is left over.
 *
 * A claim notes the end of its lease, its kind, and a mark: by when the member is to be due again,
 * left by whatever asked for that meanwhile. A new claim has none.
 *
 * `schedule(claims, first)` gives the functions that move members; the sorted sets are KEYS from `first`
 * on, in the order of their kinds, and the last is that of widened intervals.
 */
export const SCHEDULE = `
${STORE_NOW}
${CLAIMS}
local KINDS = {${KINDS}}

${IS_POLL}

local function schedule(claims, first)
  local self, due, spare = {}, {}, KEYS[first + #KINDS]
  for place, kind in ipairs(KINDS) do due[kind] = KEYS[first + place - 1] end

  function self.put(member, kind, at) redis.call('ZADD', due[kind], at, member) end

  function self.take(member, kind) redis.call('ZREM', due[kind], member) end

  function self.leave(member)
    for _, kind in ipairs(KINDS) do redis.call('ZREM', due[kind], member) end
    self.dropSpare(member)
  end

  function self.kindOf(member)
    for _, kind in ipairs(KINDS) do
      local at = redis.call('ZSCORE', due[kind], member)
      if at then return kind, tonumber(at) end
    end
  end

  -- Notes that a claimed member is to be due by a time; false where it is not claimed.
  function self.mark(member, at)
    local token, dueAt, notes = holder(claims, member)
    if not token then return false end
    local lease, kind, mark = string.match(notes, '^(%d+) (%a+) ?(%d*)')
    if mark == '' or at < tonumber(mark) then
      hold(claims, member, token, dueAt, string.format('%s %s %.0f', lease, kind, at))
    end
    return true
  end

  function self.claim(member, kind, claim)
    self.take(member, kind)
    hold(claims, member, claim.token, claim.dueAt, string.format('%.0f %s', claim.leaseUntil, kind))
  end

  -- The mark of a claim: when its member was to be due, by a wish during the request; nil without one.
  function self.markOf(claim)
    return tonumber(string.match(claim.notes, '^%d+ %a+ ?(%d*)'))
  end

  -- Ends a claim. Its member is due at a time, or earlier by its mark; nil lets it leave.
  function self.finish(member, claim, now, next)
    redis.call('HDEL', claims, member)
    if not next then return end
    local kind = next.kind or string.match(claim.notes, '^%d+ (%a+)')
    -- It was due as it was claimed, also where the clock was ahead then.
    local at, marked = next.at or math.min(claim.dueAt, now), self.markOf(claim)
    if marked and marked < at then
      at = marked
      if marked <= now and isPoll(member) then kind = 'prompt' end
    end
    self.put(member, kind, at)
    if next.spareAt and next.spareAt < at then
      redis.call('ZADD', spare, next.spareAt, member)
      redis.call('PEXPIRE', spare, ${SPARE_KEPT_MS})
    end
  end

  -- Where no interval is widened any more, what is left in the set expires: to see to it would cost each poll.
  function self.dropSpare(member) redis.call('ZREM', spare, member) end

  -- The watch that is beyond its configured longest interval for longest: it counts as due now. Or else
  -- when the first one will be.
  function self.longestBeyond(now)
    for _ = 1, 100 do
      local member, at = unpack(redis.call('ZRANGE', spare, 0, 0, 'WITHSCORES'))
      if not member or tonumber(at) > now then return nil, tonumber(at) end
      local kind = self.kindOf(member)
      if kind then return {member = member, kind = kind, dueAt = now} end
      self.dropSpare(member)
    end
    return nil, now
  end

  -- Enters a member, or makes it due earlier where it is in the schedule already.
  function self.enter(member, kind, at)
    if self.mark(member, at) then return end
    local known = self.kindOf(member)
    if known then
      redis.call('ZADD', due[known], 'XX', 'LT', at, member)
    else
      self.put(member, kind, at)
    end
  end

  -- Makes a member due by a time, if it is in the schedule; what is due now goes before others.
  function self.expedite(member, at, now)
    if self.mark(member, at) then return true end
    local kind, dueAt = self.kindOf(member)
    if not kind or dueAt <= at and at > now then return kind ~= nil end
    local promptly = at <= now and isPoll(member) and 'prompt' or kind
    if promptly ~= kind then self.take(member, kind) end
    self.put(member, promptly, math.min(dueAt, at))
    return true
  end

  return self
end
`;
