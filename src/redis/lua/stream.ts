/**
 * Which runs of a source are streamed, and by which process: a hash from a run's id to the process,
 * with a + behind it while the stream stands in for reads, and what is known of its nodes as JSON.
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
 * Notes of a stream whether it stands in for reads, and where its run stands.
 *
 * KEYS  holders.
 * ARGV  run, process, entry
 */
export const NOTE_STREAM = `
${HELD}
if isHeldBy(ARGV[1], ARGV[2]) then redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
`;

/**
 * Gives runs back.
 *
 * KEYS  holders.
 * ARGV  process, runs
 */
export const RELEASE_STREAMS = `
${HELD}
for place = 2, #ARGV do
  if isHeldBy(ARGV[place], ARGV[1]) then redis.call('HDEL', KEYS[1], ARGV[place]) end
end
`;

/**
 * Adds to the histories of a source and of a workflow whether a stream told a transition. Where there
 * are too many histories, any one of them is forgotten.
 *
 * KEYS  histories: from workflow and kind to a text of 0 and 1; the source's have no workflow.
 * ARGV  1 or 0, how long a history is, how many there may be, the fields
 */
export const ADD_TOLD = `
for place = 4, #ARGV do
  local told = (redis.call('HGET', KEYS[1], ARGV[place]) or '') .. ARGV[1]
  redis.call('HSET', KEYS[1], ARGV[place], string.sub(told, -ARGV[2]))
end
while redis.call('HLEN', KEYS[1]) > tonumber(ARGV[3]) do
  local field = redis.call('HRANDFIELD', KEYS[1])
  if string.byte(field) ~= 47 then redis.call('HDEL', KEYS[1], field) end
end
`;

/**
 * Replaces a field that is still as it was read.
 *
 * KEYS  hash.
 * ARGV  field, text as it was read or '', text.
 * Returns 1 where it is replaced
 */
export const REPLACE_FIELD = `
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
`;
