import type { Queue } from 'bullmq';
import type { Redis } from 'ioredis';

/**
 * Tells which ids have no job that will ever run: `absent` ones have none at all, `dead` ones have
 * one that stands in no list. A job is live while it is delayed, locked by a worker, waiting, or
 * active (where BullMQ's stalled check finds it once its lock is gone). The lists are read once for
 * all ids, and only when an id cannot be told from its keys alone.
 *
 * KEYS  delayed, wait, active
 * ARGV  key prefix of jobs, ids
 * Returns [absent, dead].
 */
const MISSING_JOBS = `
local listed
local function isListed(id)
  if not listed then
    listed = {}
    for list = 2, 3 do
      for _, member in ipairs(redis.call('LRANGE', KEYS[list], 0, -1)) do listed[member] = true end
    end
  end
  return listed[id]
end

local absent, dead = {}, {}
for place = 2, #ARGV do
  local id = ARGV[place]
  local job = ARGV[1] .. id
  if redis.call('EXISTS', job) == 0 then
    absent[#absent + 1] = id
  elseif not redis.call('ZSCORE', KEYS[1], id) and redis.call('EXISTS', job .. ':lock') == 0
    and not isListed(id) then
    dead[#dead + 1] = id
  end
end
return {absent, dead}
`;

/**
 * The ids without a live job. What is left of dead jobs is removed: an id can only be added anew
 * when nothing of it is there.
 */
export async function findMissingJobs(
  redis: Redis,
  queue: Queue,
  ids: string[],
): Promise<string[]> {
  if (ids.length === 0) return [];
  const lists = ['delayed', 'wait', 'active'].map((list) => queue.toKey(list));
  const reply = await redis.eval(MISSING_JOBS, lists.length, ...lists, queue.toKey(''), ...ids);
  const [absent, dead] = reply as [string[], string[]];
  for (const id of dead) await queue.remove(id);
  return [...absent, ...dead];
}
