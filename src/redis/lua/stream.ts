import { EVEN_IF_FULL } from './full.ts';
import { IDENTITY } from '../stores/watch-script.ts';
import { SCHEDULE } from './schedule.ts';

/**
 * Which runs of a source are streamed: a hash from a run's id to the process, and what is known of the
 * run's nodes as JSON. A + after the process says that the stream stands in for reads.
 */
const HELD = `
local function isHeldBy(id, process)
  local entry = redis.call('HGET', KEYS[1], id) or ''
  return string.match(entry, '^[^ +]+') == process
end
`;

/**
 * Takes a run for a process, unless it is streamed already, or there are as many as may be.
 *
 * KEYS  holders.
 * ARGV  run, process, how many there may be.
 * Returns 1 where it is taken
 */
export const TAKE_STREAM = `
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
return redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
`;

/**
 * Notes of a stream whether it stands in for reads, and where its run stands, and moves the next read
 * of the run. It moves later only where the watch is as it was read, and the read neither under way nor
 * due. It moves earlier in any case, even where another process streams the run by now; of a read under
 * way, a mark does that.
 *
 * KEYS  holders, watch, clock, claims, due sets.
 * ARGV  run, process, entry, 'later', 'earlier' or '' for no move, ms, identity of the watch.
 * Returns 1 where the process holds the run
 */
export const NOTE_STREAM = `
${HELD}
${SCHEDULE}
${IDENTITY}
local run, move = ARGV[1], ARGV[4]
local isHeld = isHeldBy(run, ARGV[2])
if isHeld then redis.call('HSET', KEYS[1], run, ARGV[3]) end
local due = schedule(KEYS[4], 5)
local now = storeNow(KEYS[3])
local at = move ~= '' and now + ARGV[5]
if move == 'earlier' then due.expedite(run, at, now) end
if move == 'later' and isHeld and identityOf(KEYS[2]) == ARGV[6] then
  local kind, dueAt = due.kindOf(run)
  if kind and dueAt > now and dueAt < at then due.put(run, kind, at) end
end
return isHeld and 1 or 0
`;

/**
 * Gives runs back. Those with reads left to their streams are read in their order, or all, also those
 * that the process does not hold any more.
 *
 * KEYS  holders, clock, claims, due sets.
 * ARGV  process, 1 to read all, ms from one read to the next, how many reads go before, runs.
 * Returns how many were made due
 */
export const RELEASE_STREAMS = `
${EVEN_IF_FULL}
${HELD}
${SCHEDULE}
evenIfFull(KEYS[2])
local due = schedule(KEYS[3], 4)
local now, count = storeNow(KEYS[2]), 0
for place = 5, #ARGV do
  local run, isRead = ARGV[place], ARGV[2] == '1'
  if isHeldBy(run, ARGV[1]) then
    isRead = isRead or string.match(redis.call('HGET', KEYS[1], run), '^[^ +]+%+')
    redis.call('HDEL', KEYS[1], run)
  end
  local at = now + math.floor((ARGV[4] + count) * ARGV[3])
  if isRead and due.expedite(run, at, now) then count = count + 1 end
end
return count
`;

/**
 * Adds to the histories of a source and of a workflow whether a stream reported a transition. Where there
 * are too many histories, any one of a workflow is forgotten.
 *
 * KEYS  histories: from workflow/kind to a text of 0 and 1; the source's have no workflow.
 * ARGV  1 or 0, how long a history is, how many there may be, ms to the expiry of the key, the fields
 */
export const ADD_REPORT = `
for place = 5, #ARGV do
  local reports = (redis.call('HGET', KEYS[1], ARGV[place]) or '') .. ARGV[1]
  redis.call('HSET', KEYS[1], ARGV[place], string.sub(reports, -ARGV[2]))
end
while redis.call('HLEN', KEYS[1]) > tonumber(ARGV[3]) do
  local field = redis.call('HRANDFIELD', KEYS[1])
  -- A workflow's id may itself begin with a slash.
  if not string.find(field, '^/[^/]*$') then redis.call('HDEL', KEYS[1], field) end
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
`;

/**
 * Sets a field. Where there are too many, any other one is forgotten.
 *
 * KEYS  hash.
 * ARGV  field, text, how many fields there may be, ms to the expiry of the key
 */
export const PUT_BOUNDED = `
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
while redis.call('HLEN', KEYS[1]) > tonumber(ARGV[3]) do
  local field = redis.call('HRANDFIELD', KEYS[1])
  if field ~= ARGV[1] then redis.call('HDEL', KEYS[1], field) end
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
`;

/**
 * Replaces a field that is still as it was read.
 *
 * KEYS  hash.
 * ARGV  field, text as it was read or '' for none, text or '' for none.
 * Returns 1 where it is replaced
 */
export const REPLACE_FIELD = `
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1])
else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return 1
`;
