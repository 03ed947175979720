import { setTimeout as delay } from 'node:timers/promises';
import { ErrorCode, type Queue } from 'bullmq';

/** A job that runs is looked at again after these times, ms: for longer than any run takes. */
const LOOK_AGAIN_MS = [10, 20, 40, 80, 160, 320, 640, 1_000, 2_000, 4_000, 8_000, 16_000];

interface Hastening {
  queue: Queue;
  id: string;
  /** The job's new place among those that are due; undefined leaves it. */
  deadline: number | undefined;
  /** Fires when nobody waits any more. */
  signal: AbortSignal;
}

/** What became of an attempt; `running`: it cannot be woken before its run has ended. */
type Woken = 'awake' | 'none' | { running: number };

/**
 * Wakes the job of an id, if it sleeps. One that runs, or whose run has just ended, may have looked
 * before that for which it is hastened: it is woken as soon as it sleeps again. That is seen to in
 * the background, and lost with the process.
 * @returns false when there is no such job
 */
export async function hastenJob(
  hastening: Hastening,
  onError: (error: Error) => void,
): Promise<boolean> {
  const woken = await wake(hastening);
  if (typeof woken === 'object') void wakeLater(hastening, woken.running).catch(onError);
  return woken !== 'none';
}

async function wakeLater(hastening: Hastening, run: number): Promise<void> {
  for (const ms of LOOK_AGAIN_MS) {
    await delay(ms, undefined, { signal: hastening.signal, ref: false }).catch(() => undefined);
    if (hastening.signal.aborted) return;
    const woken = await wake(hastening);
    // By now another run may be on, which began after the hastening.
    if (typeof woken !== 'object' || woken.running !== run) return;
  }
}

async function wake({ queue, id, deadline }: Hastening): Promise<Woken> {
  const { backend } = queue;
  if (deadline !== undefined) {
    const ranked = await unless(ErrorCode.JobNotExist, backend.changePriority(id, deadline));
    if (!ranked) return 'none';
  }
  if (await unless(ErrorCode.JobNotInState, backend.promote(id))) return 'awake';
  const job = await queue.getJob(id);
  if (job === undefined) return 'none';
  return (await job.isActive()) ? { running: job.attemptsStarted } : 'awake';
}

/** Whether BullMQ did what it was asked; false where it answers with the error that is expected. */
async function unless(expected: ErrorCode, asked: Promise<void>): Promise<boolean> {
  try {
    await asked;
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === expected) return false;
    throw error;
  }
}
