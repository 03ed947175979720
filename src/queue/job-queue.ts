import { Job, Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { hastenJob } from './hasten.ts';
import { startWorker, type JobRun, type WorkOptions } from './job-worker.ts';
import { findMissingJobs } from './missing-jobs.ts';
import { rescheduleJob, type Move } from './reschedule.ts';

/** BullMQ keeps a stream of job events that nobody reads here; this bounds it. */
const EVENTS_KEPT = 10;

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

interface QueueWorkOptions extends WorkOptions {
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
  work(run: JobRun, options: QueueWorkOptions): QueueWorker;
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
      const { isWanted = async () => false, ...how } = workOptions;
      const worker = startWorker(options, run, how);
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
