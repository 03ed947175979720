import { EVEN_IF_FULL } from './full.ts';

/** Members of one block: so few that Redis keeps it as a listpack, at a third of the memory. */
const MOST = 120;

/**
 * The ids of a source's runs, in the order of their letters: sorted sets whose members all have one score.
 * There is one for each block of the order, and one of the members that blocks begin with. The block of the
 * first members begins with nothing, and is not among them.
 *
 * A member is an id, or the last part of an id with slashes, a space and the id: no id has a space. So one
 * range of members has the ids that begin with a text, and those with a last part that does.
 *
 * A plan names both as `runIds`: `blocks`, the beginnings; `block`, how the keys of blocks begin;
 * `members`, those of a run.
 */
export const RUN_IDS = `
local function blockOf(ids, member)
  return redis.call('ZREVRANGEBYLEX', ids.blocks, '[' .. member, '-', 'LIMIT', 0, 1)[1] or ''
end

local function hasRunId(ids, member)
  return redis.call('ZSCORE', ids.block .. blockOf(ids, member), member)
end

local function splitBlock(ids, block)
  local upper = redis.call('ZRANGE', block, ${MOST / 2}, -1)
  local scored = {}
  for _, member in ipairs(upper) do
    scored[#scored + 1] = 0
    scored[#scored + 1] = member
  end
  redis.call('ZADD', ids.block .. upper[1], unpack(scored))
  redis.call('ZADD', ids.blocks, 0, upper[1])
  redis.call('ZREM', block, unpack(upper))
end

local function enterRunId(ids, member)
  local block = ids.block .. blockOf(ids, member)
  if redis.call('ZCARD', block) >= ${MOST} and not redis.call('ZSCORE', block, member) then
    splitBlock(ids, block)
    block = ids.block .. blockOf(ids, member)
  end
  redis.call('ZADD', block, 0, member)
end

local function leaveRunId(ids, member)
  local first = blockOf(ids, member)
  redis.call('ZREM', ids.block .. first, member)
  if redis.call('EXISTS', ids.block .. first) == 0 then redis.call('ZREM', ids.blocks, first) end
end

local function enterRun(ids)
  for _, member in ipairs(ids.members) do enterRunId(ids, member) end
end

local function leaveRun(ids)
  for _, member in ipairs(ids.members) do leaveRunId(ids, member) end
end
`;

/**
 * Finds the first members that begin with a text.
 *
 * KEYS  of each source the beginnings of its blocks.
 * ARGV  text, most members of a source, then for each source how the keys of its blocks begin.
 * Returns a list of members for each source
 */
export const FIND_RUN_IDS = `
${RUN_IDS}
local text, most = ARGV[1], tonumber(ARGV[2])
-- No letter of an id comes after this one.
local last = '(' .. text .. '\\127'

local function find(ids)
  local found = {}
  local blocks = redis.call('ZRANGEBYLEX', ids.blocks, '(' .. text, last, 'LIMIT', 0, most)
  table.insert(blocks, 1, blockOf(ids, text))
  for _, first in ipairs(blocks) do
    local left = most - #found
    if left == 0 then break end
    for _, member in ipairs(redis.call('ZRANGEBYLEX', ids.block .. first, '[' .. text, last, 'LIMIT', 0, left)) do
      found[#found + 1] = member
    end
  end
  return found
end

local reply = {}
for at, blocks in ipairs(KEYS) do reply[at] = find({blocks = blocks, block = ARGV[at + 2]}) end
return reply
`;

/**
 * Takes members out of a block that stand for no watch. A block that is not among the beginnings, as after
 * these were lost, goes as a whole.
 *
 * KEYS  block, beginnings of blocks.
 * ARGV  the member that the block begins with, how the keys of the source's watches begin.
 * Returns how many it took out
 */
export const SWEEP_RUN_IDS = `
${EVEN_IF_FULL}
evenIfFull(KEYS[1])
if ARGV[1] ~= '' and not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  redis.call('DEL', KEYS[1])
  return 0
end
local dropped = 0
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local id = string.match(member, ' (.*)$') or member
  if redis.call('EXISTS', ARGV[2] .. id) == 0 then
    dropped = dropped + redis.call('ZREM', KEYS[1], member)
  end
end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('ZREM', KEYS[2], ARGV[1]) end
return dropped
`;
