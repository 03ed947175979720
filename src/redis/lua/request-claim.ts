import {
  LONGEST_ONE_IN,
  NEWEST_ONE_IN,
  POLL_KINDS,
  SURE_OF_ONE_IN,
} from '../../core/cadence/load.ts';
import { ACTIVE, IDENTITY_LENGTH } from '../stores/watch-record.ts';
import { CLAIMS } from './leases.ts';
import { STORE_NOW } from './clock.ts';
import { EVEN_IF_FULL } from './full.ts';
import { SCHEDULE } from './schedule.ts';
import { ADMIT, SOURCE_GATE } from './source.ts';

/**
 * Parts of the selection that a claim makes; see there. Where several kinds are due, `shares` counts
 * such claims, and at which each kind was served last: one that was passed over too often goes first.
 * Last in it stand how many confirming polls and first reads were claimed while several were due.
 */
const SELECT = `
local RANK = {prompt = 1, first = 2, list = 3, watch = 4, frugal = 4, stream = 4}

local function readShares(shares)
  local counts = {}
  for count in string.gmatch(redis.call('GET', shares) or '', '%d+') do counts[#counts + 1] = tonumber(count) end
  for place = 1, #KINDS + 3 do counts[place] = counts[place] or 0 end
  return counts
end

local function pick(due, counts)
  local turn = counts[1] + 1
  local best, owed
  for _, one in ipairs(due) do
    local passed = turn - counts[one.place + 1]
    if passed >= ${SURE_OF_ONE_IN} and (not owed or passed > owed) then best, owed = one, passed end
  end
  if not best then
    for _, one in ipairs(due) do
      local rank = RANK[one.kind]
      if not best or rank < RANK[best.kind] or rank == RANK[best.kind] and one.deadline < best.deadline then
        best = one
      end
    end
  end
  counts[1], counts[best.place + 1] = turn, turn
  return best
end

-- Of several, the longest due or at times the newest: what happens now does not wait for a backlog.
local NEWEST = {
  prompt = {place = #KINDS + 2, at = function(count) return count % ${NEWEST_ONE_IN} == 0 end},
  first = {place = #KINDS + 3, at = function(count) return count % ${LONGEST_ONE_IN} > 0 end},
}

local function pickWithin(head, counts, now)
  local newest = NEWEST[head.kind]
  counts[newest.place] = counts[newest.place] + 1
  if not newest.at(counts[newest.place]) then return end
  local last = redis.call('ZREVRANGEBYSCORE', KEYS[4 + head.place], now, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  head.member, head.dueAt = last[1], tonumber(last[2])
end

-- What goes next, when something is due at the earliest where nothing is, and the shares after it.
local function select(now, isProbe)
  local due, soonest, backlog = {}, nil, {}
  for place, kind in ipairs(KINDS) do
    -- A page may turn out not to be worth a request, so it is no probe.
    local head = isProbe and place > ${POLL_KINDS} and {}
      or redis.call('ZRANGE', KEYS[4 + place], 0, NEWEST[kind] and 1 or 0, 'WITHSCORES')
    local dueAt = tonumber(head[2])
    if head[4] and not isProbe and tonumber(head[4]) <= now then backlog[kind] = true end
    if dueAt and dueAt <= now then
      local one = {member = head[1], kind = kind, place = place, dueAt = dueAt, deadline = dueAt + ARGV[5 + place]}
      if kind == 'plan' then return one end
      due[#due + 1] = one
    elseif dueAt and (not soonest or dueAt < soonest) then
      soonest = dueAt
    end
  end
  if #due < 2 and not next(backlog) then return due[1], soonest end
  local counts, best = readShares(KEYS[4]), due[1]
  if #due > 1 then best = pick(due, counts) end
  if backlog[best.kind] then pickWithin(best, counts, now) end
  return best, soonest, table.concat(counts, ' ')
end
`;

/**
 * Claims the most urgent request that is due, and takes its permit of the source's rate limit with it.
 * Which one that is, and whether there is one at all, is decided here and nowhere else: `sourceAdmission`
 * says what the source admits, `select` which request goes first. Where nothing is due, the rest of the
 * rate limit goes to watches beyond their configured longest interval.
 *
 * KEYS  clock, claims, permits, shares, due sets, state, probe and open of the source.
 * ARGV  token, limit (0 for none), ms that a permit is held, ms of a lease, key prefix of watches,
 *       patience of each kind in ms; 1 where a short rate limit widens intervals.
 * Returns ['claimed', member, kind, due time, now, watch, troubled, requests, ms, failed probes].
 * `troubled` is 1 where the source is throttled, paused or unreachable. `requests` count against the
 * rate limit, which is used up for `ms`. `failed probes` is -1 where this is no probe.
 * Else ['paused', ms], ['limited', ms], or ['idle', ms until the earliest is due, or -1].
 */
export const CLAIM_REQUEST = `
${SCHEDULE}
${SELECT}
${ADMIT}
${SOURCE_GATE}
local plan = schedule(KEYS[2], 5)
local limit, holdMs = tonumber(ARGV[2]), tonumber(ARGV[3])
local isShort = ARGV[6 + #KINDS] == '1'
local source = {state = KEYS[#KEYS - 2], probe = KEYS[#KEYS - 1], open = KEYS[#KEYS]}

local function isOver(record)
  return not record or string.sub(record, ${IDENTITY_LENGTH + 1}, ${IDENTITY_LENGTH + 1}) ~= '${ACTIVE}'
end

local texts = redis.call('MGET', KEYS[1], source.state, source.open)
local now, found = storeNow(KEYS[1], texts[1] or ''), {texts[2], texts[3]}
local gate, pausedMs = sourceAdmission(found[1], source.probe, ARGV[1], ARGV[4], now)
if gate == 2 then return {'paused', math.max(1, pausedMs)} end
local isProbe = gate == 1
limit = limit > 0 and rising(found[2], limit, now) or 0

-- What takes the probe and does not make it lets go of it.
local function nothing(...)
  if isProbe then redis.call('DEL', source.probe) end
  return {...}
end

for _ = 1, 100 do
  local best, soonest, shares = select(now, isProbe)
  if not best and isShort and not isProbe then
    local spareAt
    best, spareAt = plan.longestBeyond(now)
    if spareAt and (not soonest or spareAt < soonest) then soonest = spareAt end
  end
  if not best then return nothing('idle', soonest and math.ceil(soonest - now) or -1) end
  local record = isPoll(best.member) and redis.call('GET', ARGV[5] .. best.member)
  if isPoll(best.member) and isOver(record) then
    plan.take(best.member, best.kind)
  else
    local isAdmitted, count, usedUpMs = true, 0, 0
    if limit > 0 and best.kind ~= 'plan' then
      isAdmitted, count, usedUpMs = admit(KEYS[3], now, ARGV[1], limit, holdMs)
      if not isAdmitted then return nothing('limited', usedUpMs) end
    end
    if shares then redis.call('SET', KEYS[4], shares, 'EX', 60) end
    plan.claim(best.member, best.kind, {
      token = ARGV[1], dueAt = best.dueAt, leaseUntil = now + ARGV[4],
    })
    if isShort then plan.dropSpare(best.member) end
    return {
      'claimed', best.member, best.kind, best.dueAt, now, record or '', found[1] and 1 or 0, count,
      usedUpMs, isProbe and tonumber(string.match(found[1], '"failedProbes":(%d+)')) or -1,
    }
  end
end
return nothing('idle', 0)
`;

/**
 * Gives claims back. They are due after so many ms, at the time since when they were due, or no more.
 *
 * KEYS  clock, claims, due sets.
 * ARGV  'in', 'as before' or 'never', ms, then member and token of each.
 * Returns how many there were
 */
export const RELEASE_CLAIMS = `
${EVEN_IF_FULL}
${SCHEDULE}
evenIfFull(KEYS[1])
local plan = schedule(KEYS[2], 3)
local now = storeNow(KEYS[1])
local released = 0
for place = 3, #ARGV, 2 do
  local token, dueAt, notes = holder(KEYS[2], ARGV[place])
  if token == ARGV[place + 1] then
    local claim = {dueAt = dueAt, notes = notes}
    local next = {at = ARGV[1] == 'in' and now + ARGV[2] or nil}
    if ARGV[1] == 'never' then
      -- It may have been registered again since it was read; a claim of one that is over drops it.
      local mark = plan.markOf(claim)
      next = mark and {at = mark} or nil
    end
    plan.finish(ARGV[place], claim, now, next)
    released = released + 1
  end
end
return released
`;

/**
 * Keeps a claim for another lease.
 *
 * KEYS  clock, claims.
 * ARGV  member, token, lease in ms.
 * Returns 1 where it is still held by the token
 */
export const RENEW_CLAIM = `
${STORE_NOW}
${CLAIMS}
local token, dueAt, notes = holder(KEYS[2], ARGV[1])
if token ~= ARGV[2] then return 0 end
local rest = string.match(notes, '^%d+ (.*)$')
hold(KEYS[2], ARGV[1], token, dueAt, string.format('%.0f %s', storeNow(KEYS[1]) + ARGV[3], rest))
return 1
`;
