import { ErrorCode, type Queue } from 'bullmq';
import type { Redis } from 'ioredis';

/**
 * Makes a job sleep that is due and waits for its turn, in the order of deadlines. The score of a
 * delayed job is its time with twelve more bits, by which BullMQ tells apart those of one time.
 *
 * KEYS  prioritized, delayed
 * ARGV  job id, time in ms
 */
const SEND_BACK = `
if redis.call('ZREM', KEYS[1], ARGV[1]) == 1 then
  redis.call('ZADD', KEYS[2], ARGV[2] * 0x1000, ARGV[1])
end
`;

/** Moves the time of a job that sleeps or waits; one that runs, or does not exist, is left alone. */
export async function rescheduleJob(
  redis: Redis,
  queue: Queue,
  { id, at }: { id: string; at: number },
): Promise<void> {
  const [prioritized, delayed] = [queue.toKey('prioritized'), queue.toKey('delayed')];
  await redis.eval(SEND_BACK, 2, prioritized, delayed, id, Math.round(at));
  try {
    // Wakes the workers, should it now be the next that is due.
    await queue.backend.changeDelay(id, Math.max(0, at - Date.now()));
  } catch (error) {
    if (!isElsewhere(error)) throw error;
  }
}

function isElsewhere(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false;
  return error.code === ErrorCode.JobNotInState || error.code === ErrorCode.JobNotExist;
}
