import { Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';

/** Longer than any slot runs: BullMQ renews locks at half of this, ms. */
const LOCK_MS = 30_000;

/** How often slots of killed processes are looked for. What they worked on does not wait for that, ms. */
const STALLED_CHECK_MS = 60_000;

/** How long a worker without slots blocks; the silence of the connection is bounded at 20 s. */
const BLOCK_S = 15;

/** How long a worker waits before it asks again after an error, ms. */
const RETRY_MS = 1_000;

export interface SlotQueueOptions {
  name: string;
  /** BullMQ's key prefix; with a hash tag, so that our keys and its keys share a slot of a cluster. */
  prefix: string;
  /** For commands; fails fast while Redis is away. */
  producer: Redis;
  /** For workers; waits for Redis (`maxRetriesPerRequest: null`). */
  consumer: Redis;
  onError: (error: Error) => void;
}

export interface SlotWorker {
  isRunning(): boolean;
  /** Takes no new slots and waits for those that run. Never returns while Redis is away: use `force`. */
  close(force: boolean): Promise<void>;
}

/** Starts to run slots. A run that throws ends its slot, and is told of. */
function startSlotWorker(
  { name, prefix, consumer, onError }: SlotQueueOptions,
  run: () => Promise<void>,
  concurrency: number,
): SlotWorker {
  const worker = new Worker(name, run, {
    connection: consumer,
    prefix,
    // It would ask for INFO, which users may lack; without it, BullMQ rounds waits up to whole seconds.
    skipVersionCheck: true,
    concurrency,
    lockDuration: LOCK_MS,
    stalledInterval: STALLED_CHECK_MS,
    drainDelay: BLOCK_S,
    runRetryDelay: RETRY_MS,
    removeOnComplete: { count: 0 },
    removeOnFail: { count: 0 },
  });
  worker.on('error', onError);
  worker.on('failed', (_, error) => onError(error));
  return { isRunning: () => worker.isRunning(), close: (force) => worker.close(force) };
}

/** BullMQ keeps a stream of job events that nothing reads here; this bounds it. */
const EVENTS_KEPT = 10;

/**
 * Slots: jobs that name nothing to be done. A slot is leave for one worker, on whichever machine, to
 * make requests one after another. One that is lost, doubled or left over changes nothing.
 */
export interface SlotQueue {
  add(count: number): Promise<void>;
  /** @param concurrency slots that run at once in this process */
  work(run: () => Promise<void>, concurrency: number): SlotWorker;
  close(): Promise<void>;
}

export function createSlotQueue(options: SlotQueueOptions): SlotQueue {
  const { name, prefix, producer, onError } = options;
  const queue = new Queue(name, {
    connection: producer,
    prefix,
    skipVersionCheck: true,
    skipWaitingForReady: true,
    streams: { events: { maxLen: EVENTS_KEPT } },
  });
  queue.on('error', onError);
  return {
    async add(count) {
      await queue.addBulk(Array.from({ length: count }, () => ({ name: 'slot', data: {} })));
    },
    work: (run, concurrency) => startSlotWorker(options, run, concurrency),
    close: () => queue.close(),
  };
}
