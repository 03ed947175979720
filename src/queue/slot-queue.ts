import { Queue } from 'bullmq';
import { startSlotWorker, type SlotQueueOptions, type SlotWorker } from './slot-worker.ts';

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
