import { DelayedError, Job, Queue, RateLimitError, RedisConnection, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { hastenJob } from './hasten.ts';
import { findMissingJobs } from './missing-jobs.ts';
import { rescheduleJob, type Move } from './reschedule.ts';

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

/** BullMQ keeps a stream of job events that nobody reads here; this bounds it. */
const EVENTS_KEPT = 10;

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
type JobRun = (id: string) => Promise<number | NextRun | HeldUp | null>;

/** When the job of an id should have begun, milliseconds since the epoch. */
type DeadlineOf = (id: string) => number;

export interface JobQueueOptions {
  name: string;
  /** BullMQ's key prefix; with a hash tag, so that our keys and its keys share a slot. */
  prefix: string;
  /** For commands; fails fast while Redis is away. */
  producer: Redis;
  /** For workers; waits for Redis (`maxRetriesPerRequest: null`). */
  consumer: Redis;
  onError: (error: Error) => void;
}

interface WorkOptions {
  concurrency: number;
  /** At most `max` runs start per `duration` ms, over all processes. */
  limiter?: { max: number; duration: number };
  /**
   * Whether an id whose job has just ended wants one again. Who asked for a job a moment before the
   * end found the old one still there, and got none.
   */
  isWanted?: (id: string) => Promise<boolean>;
}

/** A worker on a queue. */
export interface QueueWorker {
  isRunning(): boolean;
  /** Takes no new jobs and waits for those that run. Never returns while Redis is away: use `force`. */
  close(force: boolean): Promise<void>;
}

/**
 * A queue of things that have one job each, whose id is theirs: the job runs strictly one at a time,
 * and each run says when the next is due or that there is none. A job that exists is never added
 * twice, so that asking for one again is always safe.
 */
export interface JobQueue {
  /**
   * Makes sure that each id has a job; those that have none get one that is due at once. Jobs with a
   * deadline go after those without.
   */
  ensure(ids: string[], deadlineOf?: DeadlineOf): Promise<void>;
  /** Makes the job of an id due at once; one that runs right now, as soon as it has ended. */
  hasten(id: string, deadline?: number): Promise<void>;
  /**
   * Moves the time at which the job of an id runs next, unless that is another by now or the job
   * runs.
   */
  reschedule(id: string, move: Move): Promise<void>;
  /** Lets no job start for so long, in any process; longer than zero, ms. */
  hold(ms: number): Promise<void>;
  /** Removes the job of an id; one that is running right now is left to end by itself. */
  drop(id: string): Promise<void>;
  /** How many jobs there are. */
  count(): Promise<number>;
  /** The ids that have no live job, whatever became of it. */
  withoutJob(ids: string[]): Promise<string[]>;
  work(run: JobRun, options: WorkOptions): QueueWorker;
  close(): Promise<void>;
}

export function createJobQueue(options: JobQueueOptions): JobQueue {
  const { name, prefix, producer, onError } = options;
  const queue = new Queue(name, {
    connection: producer,
    prefix,
    skipVersionCheck: true,
    skipWaitingForReady: true,
    streams: { events: { maxLen: EVENTS_KEPT } },
  });
  queue.on('error', onError);
  const closing = new AbortController();

  async function ensure(ids: string[], deadlineOf?: DeadlineOf): Promise<void> {
    const entries = ids.map((jobId) => {
      const priority = deadlineOf && Math.round(deadlineOf(jobId));
      const job = new Job(queue, 'run', {}, { jobId, ...(priority && { priority }) }, jobId);
      return { job: job.asJSON(), jobId };
    });
    if (entries.length > 0) await queue.backend.addJobs(entries);
  }

  return {
    ensure,

    async hasten(id, deadline) {
      const hastening = { queue, id, deadline, signal: closing.signal };
      if (await hastenJob(hastening, onError)) return;
      await ensure([id], deadline === undefined ? undefined : () => deadline);
    },

    reschedule: (id, move) => rescheduleJob(producer, queue, { id, ...move }),

    hold: (ms) => queue.rateLimit(Math.ceil(ms)),

    async drop(id) {
      await queue.remove(id);
    },

    count: () => queue.getJobCountByTypes('delayed', 'prioritized', 'wait', 'active'),

    withoutJob: (ids) => findMissingJobs(producer, queue, ids),

    work(run, workOptions) {
      const worker = startWorker(options, run, workOptions);
      const { isWanted = async () => false } = workOptions;
      worker.on('completed', ({ id = '' }) => {
        isWanted(id)
          .then((wanted) => ensure(wanted ? [id] : []))
          .catch(onError);
      });
      return { isRunning: () => worker.isRunning(), close: (force) => worker.close(force) };
    },

    close: () => {
      closing.abort();
      return queue.close();
    },
  };
}

function startWorker(options: JobQueueOptions, run: JobRun, work: WorkOptions): Worker {
  // Thrown after runs to tell BullMQ what became of the job; one of each serves for all of them.
  const putOff = new DelayedError();
  const heldUp = new RateLimitError();
  const process = async (job: Job, token?: string): Promise<void> => {
    const next = await run(job.id ?? '').catch((error: unknown) => {
      options.onError(error instanceof Error ? error : new Error(String(error)));
      return Date.now() + FAULT_DELAY_MS;
    });
    if (next === null) return;
    if (typeof next === 'object' && 'heldForMs' in next) {
      if (next.heldForMs > 0) await worker.backend.setRateLimit(Math.ceil(next.heldForMs));
      throw heldUp;
    }
    // A job that cannot be put off, as when its lock was lost, stays where it is: BullMQ would make
    // a failed job of it, while the stalled check gives it to whoever takes it next.
    await putOffUntil(worker, job.id ?? '', next, token).catch(options.onError);
    throw putOff;
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
  return worker.on('error', options.onError);
}

/**
 * A deadline is BullMQ's priority of the job, of which the lowest goes first. It bounds priorities
 * where jobs are added by users, for the sake of a counter that it keeps in the lower bits of scores;
 * without those, jobs are still in order to the millisecond.
 */
async function putOffUntil(
  { backend }: Worker,
  id: string,
  next: number | NextRun,
  token: string | undefined,
): Promise<void> {
  const { dueAt, deadline } = typeof next === 'number' ? { dueAt: next, deadline: null } : next;
  const now = Date.now();
  await backend.moveToDelayed(id, now, Math.max(0, dueAt - now), token, {
    skipAttempt: true,
    ...(deadline !== null && { fieldsToUpdate: { priority: Math.round(deadline) } }),
  });
}
