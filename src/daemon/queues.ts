import type { Redis } from 'ioredis';
import { createSlotQueue, type SlotQueue } from '../queue/slot-queue.ts';
import type { Logger } from '../telemetry/logger.ts';
import { faultLog } from './faults.ts';

export type QueueFactory = (name: string) => SlotQueue;

interface QueueGround {
  prefix: string;
  producer: Redis;
  consumer: Redis;
  log: Logger;
}

/** Makes queues that share connections, prefix and a voice for their errors. */
export function queueFactory({ prefix, producer, consumer, log }: QueueGround): QueueFactory {
  return (name) =>
    createSlotQueue({
      name,
      prefix,
      producer,
      consumer,
      onError: faultLog(log, 'queue', { queue: name }),
    });
}
