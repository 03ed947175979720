import { createRequire } from 'node:module';
import type * as bullmq from 'bullmq';
import type { Redis } from 'ioredis';

// An import of this CommonJS package parses each of its files for names: a tenth of a daemon's start.
const { Queue, Worker } = createRequire(import.meta.url)('bullmq') as typeof bullmq;

/** How long a slot of a killed process counts as at work, ms; locks are renewed at half of this. */
const LOCK_MS = 30_000;

/** Interval of the search for slots of killed processes, ms; no work waits for it. */
const STALLED_CHECK_MS = 60_000;

/** How long a worker without slots blocks, s; a connection may be silent for 20 s. */
const BLOCK_S = 18;

/** The delay of a worker after an error, ms. */
const RETRY_MS = 1_000;

/** A free worker takes a slot within moments; one that waits for longer was announced to a process that hangs, ms. */
const ANNOUNCED_MS = 1_000;

export interface SlotQueueOptions {
  name: string;
  /** The id of this process. */
  process: string;
  /** BullMQ's key prefix, with a hash tag: all our keys share one slot of a Redis cluster. */
  prefix: string;
  /** For commands; fails fast while Redis is away. */
  producer: Redis;
  /** For workers; waits for Redis (`maxRetriesPerRequest: null`). */
  consumer: Redis;
  onError: (error: Error) => void;
}

export interface SlotWorker {
  isRunning(): boolean;
  /** Starts no more slots and waits for the running ones. While Redis is away only `force` returns. */
  close(force: boolean): Promise<void>;
}

/** Starts to run slots. A run that throws ends its slot and is reported. */
function startSlotWorker(
  { name, process, prefix, consumer, onError }: SlotQueueOptions,
  run: () => Promise<void>,
): SlotWorker {
  const worker = new Worker(name, run, {
    connection: consumer,
    prefix,
    // BullMQ notes it with each slot that this worker takes.
    name: process,
    // It would ask for INFO, which users may lack; without it, BullMQ rounds waits up to whole seconds.
    skipVersionCheck: true,
    concurrency: 1,
    lockDuration: LOCK_MS,
    stalledInterval: STALLED_CHECK_MS,
    drainDelay: BLOCK_S,
    runRetryDelay: RETRY_MS,
    removeOnComplete: { count: 0 },
    removeOnFail: { count: 0 },
  });
  worker.on('error', (error) => onError(withoutSlot(error)));
  worker.on('failed', (_, error) => onError(withoutSlot(error)));
  return { isRunning: () => worker.isRunning(), close: (force) => worker.close(force) };
}

/**
 * The error without the id of a slot. After an outage each running slot has lost its lock, which does no
 * harm, and one line says it for all.
 */
function withoutSlot(error: Error): Error {
  const message = error.message.replace(/\bjob \d+/, 'a slot');
  return message === error.message ? error : new Error(message, { cause: error });
}

/** The length of BullMQ's stream of job events, which runwatch does not read. */
const EVENTS_KEPT = 10;

/**
 * Slots are jobs without a task: one slot lets one worker, in any process, make requests, many side by
 * side. A worker has one at a time. Lost, duplicate and surplus slots do no harm.
 */
export interface SlotQueue {
  /** Adds a slot, unless one waits that no worker has taken. */
  ask(): Promise<void>;
  /** The number of slots that workers have taken; those of killed processes count for a while. */
  countAtWork(): Promise<number>;
  /** The processes that have taken these slots. */
  processesAtWork(): Promise<Set<string>>;
  work(run: () => Promise<void>): SlotWorker;
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
  /** Workers of this process without a slot; one that is closed with a slot counts less until that ends. */
  let free = 0;
  let check: NodeJS.Timeout | undefined;
  const add = async () => {
    await queue.add('slot', {});
  };
  const isWaiting = async () => (await queue.getWaitingCount()) > 0;

  /**
   * Redis announces a slot to the worker that waits for longest. Where that one is frozen, or its host has gone, the
   * others would look after `BLOCK_S`: one more slot is announced to the next of them.
   */
  function checkSoon(): void {
    check ??= setTimeout(() => {
      check = undefined;
      addWhereFree().catch(onError);
    }, ANNOUNCED_MS).unref();
  }

  async function addWhereFree(): Promise<void> {
    if (free <= 0 || !(await isWaiting())) return;
    await add();
    checkSoon();
  }

  async function runWithin(run: () => Promise<void>): Promise<void> {
    clearTimeout(check);
    check = undefined;
    free -= 1;
    await run().finally(() => (free += 1));
  }

  return {
    async ask() {
      if (!(await isWaiting())) await add();
      checkSoon();
    },
    countAtWork: () => queue.getActiveCount(),
    async processesAtWork() {
      const slots = await queue.getActive();
      return new Set(slots.map((slot) => slot.processedBy ?? ''));
    },
    work(run) {
      const worker = startSlotWorker(options, () => runWithin(run));
      free += 1;
      return {
        isRunning: () => worker.isRunning(),
        close(force) {
          free -= 1;
          return worker.close(force);
        },
      };
    },
    close() {
      clearTimeout(check);
      return queue.close();
    },
  };
}
