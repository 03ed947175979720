import type { Queue } from 'bullmq';
import type { Redis } from 'ioredis';

/** Moves a job from one time to another, milliseconds since the epoch. */
export interface Move {
  from: number;
  to: number;
}

/**
 * Moves a job that sleeps until the given time, or that waits for its turn because that is past. Any
 * other time was set by a run in between, which knew better. The score of a sleeping job is its time
 * with twelve more bits, by which BullMQ tells apart those of one time; its marker wakes the workers.
 *
 * KEYS  prioritized, delayed, marker
 * ARGV  job id, from, to, now; in ms
 */
const MOVE_JOB = `
local id, from, to, now = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local score = redis.call('ZSCORE', KEYS[2], id)
if score then
  if math.abs(math.floor(score / 0x1000) - from) > 1 then return end
elseif from > now or redis.call('ZREM', KEYS[1], id) == 0 then
  return
end
redis.call('ZADD', KEYS[2], to * 0x1000, id)
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
redis.call('ZADD', KEYS[3], first / 0x1000, '1')
`;

/** Moves the time of a job that still has it; one that runs, or does not exist, is left alone. */
export async function rescheduleJob(
  redis: Redis,
  queue: Queue,
  { id, from, to }: Move & { id: string },
): Promise<void> {
  const keys = ['prioritized', 'delayed', 'marker'].map((name) => queue.toKey(name));
  const times = [from, to].map((time) => Math.round(time));
  await redis.eval(MOVE_JOB, keys.length, ...keys, id, ...times, Date.now());
}
