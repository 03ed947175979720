import type { Queue } from 'bullmq';
import type { Redis } from 'ioredis';

/** How much is asked of Redis in one go: a millisecond's work or two. */
const CHUNK = 500;

/**
 * Tells which ids have no job that will ever run: `absent` ones have none at all, `doubtful` ones
 * have one that is neither delayed, nor waiting in the order of deadlines, nor locked by a worker. With the lists, those are told apart: a
 * job that is waiting, or active (where BullMQ's stalled check finds it once its lock is gone), is
 * live, and one that stands in no list is dead.
 *
 * KEYS  delayed, prioritized, and where the lists are to be looked at, wait and active
 * ARGV  key prefix of jobs, ids
 * Returns [absent, doubtful].
 */
const MISSING_JOBS = `
local listed
local function isListed(id)
  if not listed then
    listed = {}
    for list = 3, #KEYS do
      for _, member in ipairs(redis.call('LRANGE', KEYS[list], 0, -1)) do listed[member] = true end
    end
  end
  return listed[id]
end

local absent, doubtful = {}, {}
for place = 2, #ARGV do
  local id = ARGV[place]
  local job = ARGV[1] .. id
  if redis.call('EXISTS', job) == 0 then
    absent[#absent + 1] = id
  elseif not redis.call('ZSCORE', KEYS[1], id) and not redis.call('ZSCORE', KEYS[2], id)
    and redis.call('EXISTS', job .. ':lock') == 0 and not isListed(id) then
    doubtful[#doubtful + 1] = id
  end
end
return {absent, doubtful}
`;

/**
 * The ids without a live job. What is left of dead jobs is removed: an id can only be added anew
 * when nothing of it is there.
 *
 * The queue's lists are read a page at a time, once for all ids: a hundred thousand jobs may be
 * waiting, and whoever searches so many inside Redis makes everybody else wait. Only for what moved
 * between the looks are they searched at one moment, and that is next to nothing.
 */
export async function findMissingJobs(
  redis: Redis,
  queue: Queue,
  ids: string[],
): Promise<string[]> {
  const sets = ['delayed', 'prioritized'].map((name) => queue.toKey(name));
  const lists = ['wait', 'active'].map((name) => queue.toKey(name));
  const seen = await survey(redis, queue, sets, ids);
  const listed = seen.doubtful.length === 0 ? new Set() : await readLists(redis, lists);
  const unlisted = seen.doubtful.filter((id) => !listed.has(id));
  const { absent, doubtful: dead } = await survey(redis, queue, [...sets, ...lists], unlisted);
  for (const id of dead) await queue.remove(id);
  return [...seen.absent, ...absent, ...dead];
}

async function survey(
  redis: Redis,
  queue: Queue,
  keys: string[],
  ids: string[],
): Promise<{ absent: string[]; doubtful: string[] }> {
  const found: { absent: string[]; doubtful: string[] } = { absent: [], doubtful: [] };
  for (let from = 0; from < ids.length; from += CHUNK) {
    const chunk = ids.slice(from, from + CHUNK);
    const reply = await redis.eval(MISSING_JOBS, keys.length, ...keys, queue.toKey(''), ...chunk);
    const [absent, doubtful] = reply as [string[], string[]];
    found.absent.push(...absent);
    found.doubtful.push(...doubtful);
  }
  return found;
}

/** New jobs come in at the head: what that moves is read twice, not left out. */
async function readLists(redis: Redis, lists: string[]): Promise<Set<string>> {
  const members = new Set<string>();
  for (const list of lists) {
    for (let from = 0; ; from += CHUNK) {
      const page = await redis.lrange(list, from, from + CHUNK - 1);
      for (const member of page) members.add(member);
      if (page.length < CHUNK) break;
    }
  }
  return members;
}
