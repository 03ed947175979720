import { EVEN_IF_FULL } from '../lua/full.ts';
import { SCHEDULE } from '../lua/schedule.ts';
import { script } from '../script.ts';
import { RUN_IDS } from '../run-ids.ts';
import { AUDIT } from '../lua/audit.ts';
import { BATCHES } from './batch-store.ts';
import { PLAN_DELIVERIES, RAISE } from './event-plan.ts';
import { COUNT_RUNS } from './run-figures-store.ts';
import { LEARN } from './statistics-store.ts';

/**
 * `isBeyondQuota(tokens)` is true where a token would have registered more active watches than it may.
 * `countTokens(tokens)` counts an active watch for the tokens that registered it, or no more.
 */
const COUNT_TOKENS = `
local function isBeyondQuota(tokens)
  if not tokens.limited then return false end
  return tonumber(redis.call('HGET', tokens.key, tokens.limited) or 0) >= tokens.most
end

local function countTokens(tokens)
  for _, one in ipairs(tokens.counts) do
    if redis.call('HINCRBY', tokens.key, one.name, one.by) <= 0 then
      redis.call('HDEL', tokens.key, one.name)
    end
  end
end
`;

/** What {@link COMMIT_WATCH} returns where it has written nothing. */
export const NOT_WRITTEN = {
  /** The watch has changed since it was read, or is packed. */
  changed: 0,
  /** Another process has the claim by now. */
  claimLost: -1,
  /** A token would have more active watches than it may. */
  beyondQuota: -2,
  /** A backlog is not as it was read. */
  backlogMoved: -3,
  /** A batch that the watch is to join is not as it was read. */
  batchMoved: -4,
} as const;

/**
 * `isAsRead(backlog, number)` says whether as many other watches are stalled as the change was judged by. It
 * counts no further than `enough`: each field of the index holds one at least.
 */
const COUNT_STALLED = `
local function isAsRead(backlog, number)
  local count = redis.call('HLEN', backlog.index)
  if count < backlog.enough then
    count = 0
    for _, held in ipairs(redis.call('HVALS', backlog.index)) do count = count + #held end
  end
  -- A step that has failed half-way may have moved this watch already.
  if number and isInIndex(backlog.index, number) then count = count - 1 end
  return count >= backlog.least and (not backlog.most or count <= backlog.most)
end
`;

/**
 * `identityOf(key)` returns version and number of a live watch as one text, the beginning of its record,
 * see `watch-record.ts`; '' where there is none, nil where the watch is packed. A write compares both: a
 * watch that was erased and registered again has another number, though perhaps the same version.
 */
export const IDENTITY = `
local function identityOf(key)
  local head = redis.call('GETRANGE', key, 0, 25)
  if string.find(head, '%c$') then return nil end
  return string.sub(head, 1, 25)
end
`;

/**
 * Writes a watch that no other process has written since it was read. With it go its places in the
 * indexes, its events, their deliveries, its duration samples and its next due time. One step or none.
 * A document that is the same is not written again; then one slot of the poll history is written in place.
 *
 * Its further keys are the due sets of the source, then those that the effects name. It returns the pools at which
 * deliveries are due now, or one of {@link NOT_WRITTEN}.
 */
export const COMMIT_WATCH = script(
  'rwCommitWatch',
  {
    keys: ['watch', 'clock', 'claims', 'permits'],
    args: [
      // As the watch was read; absent where there was none.
      'identity?',
      'head',
      // Document and poll history, absent where the document is the same; then a slot, and where it stands.
      'record?',
      // JSON.
      'effects?',
      // What happens in the schedule: settle, enter, expedite or leave.
      'does?',
      'member?',
      'token?',
      'kind?',
      // In how long it is due; of a settled one absent where it leaves.
      'inMs?',
      // For how long the permit counts after its answer.
      'permitMs?',
      'slotAt?',
      'slot?',
      // From when on what is left over may poll it.
      'spareInMs?',
    ],
    reply: (reply: string[] | number) => reply,
  },
  `
${EVEN_IF_FULL}
${PLAN_DELIVERIES}
${RAISE}
${LEARN}
${COUNT_RUNS}
${COUNT_TOKENS}
${COUNT_STALLED}
${RUN_IDS}
${SCHEDULE}
${IDENTITY}
${AUDIT}
${BATCHES}
local identity = identityOf(keys.watch)
local does, member = args.does, args.member
local claim = {}
if does == 'settle' then claim.token, claim.dueAt, claim.notes = holder(keys.claims, member) end
if does == 'settle' and claim.token ~= args.token then return ${NOT_WRITTEN.claimLost} end
if identity ~= (args.identity or '') then return ${NOT_WRITTEN.changed} end

local version, number = tonumber(string.sub(identity, 1, 12)) or 0, tonumber(string.sub(identity, 14))
local effects = args.effects and cjson.decode(args.effects)
if effects and effects.tokens and isBeyondQuota(effects.tokens) then return ${NOT_WRITTEN.beyondQuota} end
for _, backlog in ipairs(effects and effects.backlogs or {}) do
  if not isAsRead(backlog, number) then return ${NOT_WRITTEN.backlogMoved} end
end
if effects and effects.batches and not mayJoin(effects.batches) then return ${NOT_WRITTEN.batchMoved} end
-- A watch is ended, by whoever purges it, before it is forgotten.
if does == 'leave' and (not effects or #effects.events == 0) then evenIfFull(keys.clock) end
-- What is in a log under the number of its watch.
local function renumber(log, live)
  local found = redis.call('ZRANGE', live, 0, -1, 'WITHSCORES')
  for at = 2, #found, 2 do enterLog(log, tonumber(found[at]), number) end
end

if effects then
  for _, index in ipairs(effects.leave) do leaveIndex(index, number) end
  if effects.begins then
    local before = number
    number = nextNumber(effects.watchNumber, effects.names)
    enterLog(effects.names, number, effects.member)
    enterRun(effects.runIds)
    if before then
      leaveLog(effects.names, before)
      redis.call('ZREM', effects.ended, before)
      redis.call('ZREM', effects.changed, before)
      renumber(effects.eventLog, effects.liveEvents)
      renumber(effects.deliveryLog, effects.liveDeliveries)
    else
      redis.call('HINCRBY', effects.sources, effects.source, 1)
    end
  end
  for _, index in ipairs(effects.enter) do enterIndex(index, number) end
end
local pools = {}
if effects then
  if effects.changedAt then redis.call('ZADD', effects.changed, effects.changedAt, number) end
  if effects.endedAt then
    redis.call('ZADD', effects.ended, effects.endedAt, number)
    redis.call('ZADD', effects.packDue, 'NX', effects.endedAt, effects.member)
  elseif effects.wasEnded then
    redis.call('ZREM', effects.ended, number)
    redis.call('ZREM', effects.packDue, effects.member)
  end

  if effects.goneCheckAt then
    redis.call('ZADD', effects.goneChecks, effects.goneCheckAt, effects.member)
  elseif effects.wasGone then
    redis.call('ZREM', effects.goneChecks, effects.member)
  end

  for _, event in ipairs(effects.events) do
    -- One that is there was written by a step that failed afterwards, or before the watch was lost.
    if redis.call('HEXISTS', event.key, 'place') == 0 then
      local place = nextNumber(effects.eventPlace, effects.eventLog)
      enterNumber(effects.eventLog, event.indexes, place, number)
      redis.call('ZADD', effects.liveEvents, place, event.id)
      redis.call('HSET', event.key, 'place', place, 'body', event.body)
    end
  end

  numbers[keys.watch] = number
  plan(effects, pools)
  enterInbox(effects.judged)
  if effects.learned then learn(effects.learned) end
  if effects.counted then countRuns(effects.counted) end
  audit(effects.audited)
  if effects.batches then moveBatches(effects.batches) end
  for _, pool in ipairs(effects.raised and raise(effects.raised) or {}) do pools[#pools + 1] = pool end
end

-- From here on the change counts: a step that has failed before leaves the watch as it was, so that the
-- next poll finds the same change again.
local head = string.format('%012.0f %012.0f', version + 1, number) .. args.head
if args.record then
  redis.call('SET', keys.watch, head .. args.record)
else
  redis.call('SETRANGE', keys.watch, 0, head)
  if args.slot then redis.call('SETRANGE', keys.watch, args.slotAt, args.slot) end
end

if does then
  local due = schedule(keys.claims, further)
  local now = storeNow(keys.clock)
  local at = args.inMs and now + args.inMs
  if does == 'settle' then
    local spareAt = args.spareInMs and now + args.spareInMs
    due.finish(member, claim, now, at and {at = at, kind = args.kind, spareAt = spareAt})
    if args.permitMs then redis.call('ZADD', keys.permits, 'XX', 'LT', now + args.permitMs + 1, args.token) end
  elseif does == 'enter' then
    due.enter(member, args.kind, at)
  elseif does == 'expedite' then
    due.expedite(member, at, now)
  else
    due.leave(member)
  end
end
if effects and effects.tokens then countTokens(effects.tokens) end
if effects and #effects.events > 0 then ringEvents(effects) end
return pools
`,
);
