import type { Redis } from 'ioredis';
import {
  LONGEST_ONE_IN,
  NEWEST_ONE_IN,
  patienceMs,
  POLL_KINDS,
  REQUEST_KINDS,
  REQUEST_RANKS,
  SURE_OF_ONE_IN,
  type RequestKind,
} from '../../core/source/request-order.ts';
import { holdMs, paceOf, type RateLimit } from '../../core/source/rate-limit.ts';
import type { StoredWatch } from '../watch-change.ts';
import type { Keys } from '../keys.ts';
import { SCHEDULE } from '../lua/schedule.ts';
import { RATE_LIMIT } from '../lua/rate-limit.ts';
import { PROBED_MS, SOURCE_GATE } from '../lua/source-gate.ts';
import { script } from '../script.ts';
import { ACTIVE, IDENTITY_LENGTH, readWatch } from './watch-record.ts';

/** What a process asks for when it can make requests to a source. */
export interface ClaimRequestsOptions {
  /** The token of each claimed request is this one, a dot and its place. */
  token: string;
  most: number;
  /** The rate limit that the claim takes permits of. */
  limit: RateLimit;
  leaseMs: number;
  /** How long it takes to poll every watch of the source once, ms. */
  roundMs: number;
  /** True where a short rate limit widens intervals: what is left of it goes to those watches. */
  isShort?: boolean;
  /** Set where each request takes a second permit: how long that counts, ms. */
  secondHoldMs?: number | undefined;
}

/** A request that a process may make now. Times are milliseconds since the epoch by the store's clock. */
export interface ClaimedRequest {
  /** A run id, or the name of a page or plan. */
  member: string;
  kind: RequestKind;
  token: string;
  dueAt: number;
  /** When it was claimed. */
  now: number;
  /** Null for a page or plan, and for a run without a watch. */
  stored: StoredWatch | null;
  /** Whether the source has any trouble, which the answer may change. */
  isTroubled: boolean;
  /** Failed probes so far, if this request probes a closed source; else null. */
  failedProbes: number | null;
  /** Requests that count against the rate limit. */
  count: number;
}

/**
 * When another claim is worthwhile, ms from now: when the earliest request is due, null where nothing is
 * scheduled at all; or when the source or its rate limit lets one through.
 */
export type NextClaim =
  | { is: 'idle'; ms: number | null }
  | { is: 'paused' | 'limited'; ms: number };

/** What a process may request now, the most urgent first. */
export interface ClaimedRequests {
  claimed: ClaimedRequest[];
  next: NextClaim;
}

const RANKS = Object.entries(REQUEST_RANKS)
  .map(([kind, rank]) => `${kind} = ${rank}`)
  .join(', ');

/**
 * The selection that a claim makes, as `core/source/request-order.ts` says. Where several kinds are due, `counts` counts
 * such requests, and at which each kind was served last: one that was passed over too often goes first.
 * Last in it stand how many confirming polls and first reads were claimed while several were due.
 *
 * `heads` are the members of each kind that are due first, as far as they were read. What this claim
 * has taken meanwhile is skipped.
 */
const SELECT = `
local RANK = {${RANKS}}
local heads, taken = {}, {}

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
  local last = redis.call('ZREVRANGEBYSCORE', KEYS[further + head.place - 1], now, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  head.member, head.dueAt = last[1], tonumber(last[2])
end

-- The place in a list of a member that was not taken, from a place on.
local function untaken(list, at)
  while list[at] and taken[list[at]] do at = at + 2 end
  return at
end

-- The first two of a kind: the member that is due first, when it is, and when the second is.
local function headOf(place, ahead)
  local list = heads[place]
  local at = list and untaken(list, list.at)
  local second = list and untaken(list, at + 2)
  if not list or not list[second] and not list.isWhole then
    list = redis.call('ZRANGE', KEYS[further + place - 1], 0, ahead - 1, 'WITHSCORES')
    list.isWhole = #list < 2 * ahead
    heads[place], at, second = list, 1, 3
  end
  list.at = at
  return list[at], tonumber(list[at + 1]), tonumber(list[second + 1])
end

-- What is due first of each kind, when something is at the earliest where nothing is, and of which kinds several are.
local function dueNow(now, ahead, isProbe)
  local due, soonest, backlog = {}, nil, {}
  for place, kind in ipairs(KINDS) do
    -- A page may turn out not to be worth a request, so it probes only where no poll is due.
    if not isProbe or place <= ${POLL_KINDS} or kind == 'list' and #due == 0 then
      local member, dueAt, secondAt = headOf(place, ahead)
      if NEWEST[kind] and secondAt and not isProbe and secondAt <= now then backlog[kind] = true end
      if dueAt and dueAt <= now then
        local one = {member = member, kind = kind, place = place, dueAt = dueAt, deadline = dueAt + ARGV[rest + place - 1]}
        if kind == 'plan' then return {one}, soonest, {} end
        due[#due + 1] = one
      elseif dueAt and (not soonest or dueAt < soonest) then
        soonest = dueAt
      end
    end
  end
  return due, soonest, backlog
end
`;

/** The most members of a kind that a claim reads at once. */
const READ_AHEAD = 32;

/**
 * Claims the most urgent requests that are due, and takes their permits of the source's rate limit with them.
 * Which scheduled request goes next, if any, is decided here, by `core/source/request-order.ts`: `sourceAdmission`
 * says what the source admits, `openLimit` what its rate limit does, `dueNow` and `pick` which request goes first.
 * Where nothing is due, the rest of the rate limit goes to watches beyond their configured longest interval. Requests
 * that stand in no schedule, such as those for names, take a permit of the same limit by `ADMIT_REQUEST`.
 *
 * Its further keys are the due sets, its further arguments the patience of each kind in ms. A limit of 0 is none.
 * Returns [next, ms, now, troubled, failed probes], then [member, kind, due time, watch, requests] of each.
 * `next` says when another claim is worthwhile, in `ms`: 'idle' when the earliest is due, -1 for never; 'limited'
 * when the rate limit lets one more through, 'paused' when the source does.
 * `troubled` is 1 where the source is throttled, paused or unreachable. `failed probes` is -1 where this is
 * no probe. `requests` count against the rate limit. The token of each is that of the claim, a dot and its place.
 */
export const CLAIM_REQUESTS = script(
  'rwClaimRequests',
  {
    keys: ['clock', 'claims', 'permits', 'pace', 'shares', 'state', 'probe', 'open'],
    args: [
      'token',
      'most',
      'limit',
      'holdMs',
      'leaseMs',
      'watches',
      'isShort?',
      'secondHoldMs?',
      'spacingMs?',
      'burst?',
    ],
    reply: (reply: (string | number)[]) => reply,
  },
  `
${SCHEDULE}
${SELECT}
${RATE_LIMIT}
${SOURCE_GATE}
local plan = schedule(keys.claims, further)
local most = tonumber(args.most)
local isShort = args.isShort

local function isOver(record)
  return not record or string.sub(record, ${IDENTITY_LENGTH + 1}, ${IDENTITY_LENGTH + 1}) ~= '${ACTIVE}'
end

local texts = redis.call('MGET', keys.clock, keys.state, keys.open)
local now, found = storeNow(keys.clock, texts[1] or ''), {texts[2], texts[3]}
local gate, pausedMs = sourceAdmission(found[1], keys.probe, args.token .. '.1', args.leaseMs, now)
if gate == 2 then return {'paused', math.max(1, pausedMs), now, 1, -1} end
local isProbe = gate == 1
if isProbe then most = 1 end
local limit = openLimit(keys, rising(found[2], tonumber(args.limit), now, permitsOf(args)), args, now)
local ahead = math.min(most, ${READ_AHEAD}) + 1

local reply = {'idle', -1, now, found[1] and 1 or 0,
  isProbe and tonumber(string.match(found[1], '"failedProbes":(%d+)')) or -1}
local claimed, counts = 0, nil

local function finish(is, ms)
  limit.save()
  if counts then redis.call('SET', keys.shares, table.concat(counts, ' '), 'EX', 60) end
  if isProbe and claimed == 1 then
    -- When the probe is answered is not known: ask again soon.
    is, ms = 'paused', ${PROBED_MS}
  elseif is == 'limited' or ms >= 0 and claimed > 0 and limit.isUsedUp() then
    local usedMs = limit.waitMs()
    if is == 'limited' or ms < usedMs then is, ms = 'limited', usedMs end
  end
  -- What takes the probe and does not make it lets go of it.
  if isProbe and claimed == 0 then redis.call('DEL', keys.probe) end
  reply[1], reply[2] = is, ms
  return reply
end

-- The most urgent request of those that are due.
local function mostUrgent(due, backlog)
  if #due < 2 and not next(backlog) then return due[1] end
  counts = counts or readShares(keys.shares)
  local best = #due > 1 and pick(due, counts) or due[1]
  if backlog[best.kind] then pickWithin(best, counts, now) end
  return best
end

local function claim(best, record)
  claimed = claimed + 1
  local token = args.token .. '.' .. claimed
  local counting = best.kind ~= 'plan' and limit.take(token) or 0
  plan.claim(best.member, best.kind, {token = token, dueAt = best.dueAt, leaseUntil = now + args.leaseMs})
  if isShort then plan.dropSpare(best.member) end
  for _, part in ipairs({best.member, best.kind, best.dueAt, record or '', counting}) do
    reply[#reply + 1] = part
  end
end

for _ = 1, most + 100 do
  local due, soonest, backlog = dueNow(now, ahead, isProbe)
  if #due == 0 and isShort and not isProbe then
    local spare, spareAt = plan.longestBeyond(now)
    due[1] = spare
    if spareAt and (not soonest or spareAt < soonest) then soonest = spareAt end
  end
  if #due == 0 then return finish('idle', soonest and math.ceil(soonest - now) or -1) end
  if claimed == most then break end
  if due[1].kind ~= 'plan' and limit.isUsedUp() then return finish('limited') end
  local best = mostUrgent(due, backlog)
  local record = isPoll(best.member) and redis.call('GET', args.watches .. best.member)
  if isPoll(best.member) and isOver(record) then plan.take(best.member, best.kind) else claim(best, record) end
  taken[best.member] = true
end
return finish('idle', 0)
`,
);

/** Claims the most urgent requests that are due, with their permits. */
export async function claimRequests(
  redis: Redis,
  keys: Keys,
  source: string,
  ask: ClaimRequestsOptions,
): Promise<ClaimedRequests> {
  const reply = await CLAIM_REQUESTS.run(
    redis,
    {
      ...keys.schedule(source),
      permits: keys.budget(source),
      pace: keys.pace(source),
      shares: keys.requestShares(source),
      ...keys.sourceAdmission(source),
    },
    {
      token: ask.token,
      most: ask.most,
      limit: ask.limit.requests,
      holdMs: holdMs(ask.limit),
      leaseMs: ask.leaseMs,
      watches: keys.watch({ source, runId: '' }),
      isShort: ask.isShort === true ? 1 : undefined,
      secondHoldMs: ask.secondHoldMs,
      ...paceOf(ask.limit),
    },
    {
      further: keys.requestsDue(source),
      rest: REQUEST_KINDS.map((kind) => patienceMs(kind, ask.roundMs)),
    },
  );
  return claimedRequests(source, ask.token, reply);
}

/** Parts of each claimed request in the reply. */
const PARTS = 5;

function claimedRequests(
  source: string,
  token: string,
  [is, ms, now, isTroubled, failedProbes, ...parts]: readonly (string | number)[],
): ClaimedRequests {
  const shared = {
    now: Number(now),
    isTroubled: isTroubled === 1,
    failedProbes: failedProbes === -1 ? null : Number(failedProbes),
  };
  const claimed: ClaimedRequest[] = [];
  for (let at = 0; at < parts.length; at += PARTS) {
    const [member, kind, dueAt, record, count] = parts.slice(at, at + PARTS);
    const runId = String(member);
    claimed.push({
      ...shared,
      member: runId,
      kind: kind as RequestKind,
      token: `${token}.${claimed.length + 1}`,
      dueAt: Number(dueAt),
      stored: record === '' ? null : readWatch({ source, runId }, String(record)),
      count: Number(count),
    });
  }
  return { claimed, next: nextClaim(is as NextClaim['is'], Number(ms)) };
}

function nextClaim(is: NextClaim['is'], ms: number): NextClaim {
  return is === 'idle' ? { is, ms: ms < 0 ? null : ms } : { is, ms };
}
