import { DelayedError, RateLimitError, RedisConnection, Worker, type Job } from 'bullmq';
import type { Redis } from 'ioredis';
import { fetchAhead } from './fetch-ahead.ts';

/**
 * How often jobs are looked for whose lock is gone. A check that comes a hair too early is left out
 * by BullMQ, so that the time between two of them may be twice this.
 */
const STALLED_CHECK_MS = 3_000;

/**
 * A lock is renewed while its job runs, however long that takes. So this is not the time that a run
 * may take but the time for which a process may be held up, and, with the checks above, how long the
 * jobs of a killed process wait: 21 s at most.
 */
const LOCK_MS = 15_000;

/**
 * The oldest Redis that the connections let pass. Where its own check is skipped, BullMQ takes the
 * server for this version, and for one before 6.0 it would wait for delayed jobs in whole seconds.
 */
const OLDEST_REDIS = '6.2.0';

/** A run that threw is tried again after this time; what it worked on decides nothing by itself. */
const FAULT_DELAY_MS = 5_000;

/** When a job wants to run again. Times are milliseconds since the epoch. */
interface NextRun {
  dueAt: number;
  /** Of the jobs that are due and may not all start, those with the earliest deadline go first. */
  deadline: number;
}

/** The job could not run: it keeps its place in the line, and no job of the queue starts before. */
interface HeldUp {
  heldForMs: number;
}

/**
 * Runs one job. Resolves with when it wants to run again, a bare time where the order in which jobs
 * become due is all that counts, or null when its work is over.
 */
export type JobRun = (id: string) => Promise<number | NextRun | HeldUp | null>;

export interface WorkOptions {
  concurrency: number;
  /** At most `max` runs start per `duration` ms, over all processes. */
  limiter?: { max: number; duration: number };
}

interface WorkerGround {
  name: string;
  /** BullMQ's key prefix. */
  prefix: string;
  consumer: Redis;
  onError: (error: Error) => void;
}

/** Starts to run the jobs of a queue. */
export function startWorker(options: WorkerGround, run: JobRun, work: WorkOptions): Worker {
  // Thrown after runs to tell BullMQ what became of the job; one of each serves for all of them.
  const isPutOff = new DelayedError();
  const isHeldUp = new RateLimitError();
  const process = async (job: Job, token?: string): Promise<void> => {
    const next = await run(job.id ?? '').catch((error: unknown) => {
      options.onError(error instanceof Error ? error : new Error(String(error)));
      return Date.now() + FAULT_DELAY_MS;
    });
    if (next === null) return;
    if (typeof next === 'object' && 'heldForMs' in next) {
      if (next.heldForMs > 0) await worker.backend.setRateLimit(Math.ceil(next.heldForMs));
      throw isHeldUp;
    }
    // A job that cannot be put off, as when its lock was lost, stays where it is: BullMQ would make
    // a failed job of it, while the stalled check gives it to whoever takes it next.
    await putOff(job.id ?? '', putOffTo(next), token ?? '').catch(options.onError);
    throw isPutOff;
  };
  RedisConnection.minimumVersion = OLDEST_REDIS;
  const worker: Worker = new Worker(options.name, process, {
    connection: options.consumer,
    prefix: options.prefix,
    // The version is looked at, unlike above: where BullMQ does not know it, it rounds what it waits
    // for the next due job up to whole seconds, which runs jobs up to a second late.
    concurrency: work.concurrency,
    lockDuration: LOCK_MS,
    stalledInterval: STALLED_CHECK_MS,
    // Being on a process that was killed says nothing about a job: it is never given up for that.
    maxStalledCount: Number.MAX_SAFE_INTEGER,
    // How long a worker waits before it asks again after an error or an exhausted limit, ms.
    runRetryDelay: 1_000,
    maximumRateLimitDelay: 1_000,
    removeOnComplete: { count: 0 },
    removeOnFail: { count: 0 },
    ...(work.limiter && { limiter: work.limiter }),
  });
  const putOff = fetchAhead(worker);
  return worker.on('error', options.onError);
}

/**
 * A deadline is BullMQ's priority of the job, of which the lowest goes first. It bounds priorities
 * where jobs are added by users, for the sake of a counter that it keeps in the lower bits of scores;
 * without those, jobs are still in order to the millisecond.
 */
function putOffTo(next: number | NextRun): { at: number; priority: number | null } {
  return typeof next === 'number'
    ? { at: next, priority: null }
    : { at: next.dueAt, priority: Math.round(next.deadline) };
}
