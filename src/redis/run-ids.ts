import type { WatchKey } from '../core/watch/watch.ts';
import type { Keys, PlanKeys } from './keys.ts';

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

/** The sorted sets of a source's runs, as {@link RUN_IDS} take them. */
interface RunIds {
  /** Those of the beginnings of blocks. */
  blocks: string;
  /** How the keys of blocks begin. */
  block: string;
}

export function runIdsOf(keys: Keys, source: string): RunIds {
  return { blocks: keys.runIdBlocks(source), block: keys.runIds(source, '') };
}

/** The same with the members by which a run is found. */
export function runIdPlan({ keys, declare }: PlanKeys, { source, runId }: WatchKey) {
  const last = runId.slice(runId.lastIndexOf('/') + 1);
  const members = last === runId ? [runId] : [runId, `${last} ${runId}`];
  const { blocks, block } = runIdsOf(keys, source);
  return { runIds: { blocks: declare(blocks), block, members } };
}

/** The id that a member stands for. */
export function runIdOf(member: string): string {
  return member.slice(member.indexOf(' ') + 1);
}

/** The part of a member that a text is all of: the id, or the last part of it. */
export function wholePart(member: string, text: string): 'id' | 'last part' | null {
  if (member === text) return 'id';
  return member.startsWith(`${text} `) ? 'last part' : null;
}
