import type { Redis } from 'ioredis';
import { createJobQueue, type JobQueue } from '../queue/job-queue.ts';
import type { Logger } from '../telemetry/logger.ts';
import { faultLog } from './faults.ts';

export type QueueFactory = (name: string) => JobQueue;

interface QueueGround {
  prefix: string;
  producer: Redis;
  consumer: Redis;
  log: Logger;
}

/** Makes queues that share connections, prefix and a voice for their errors. */
export function queueFactory({ prefix, producer, consumer, log }: QueueGround): QueueFactory {
  return (name) =>
    createJobQueue({
      name,
      prefix,
      producer,
      consumer,
      onError: faultLog(log, 'queue', { queue: name }),
    });
}
