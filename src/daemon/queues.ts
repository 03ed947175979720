import type { Redis } from 'ioredis';
import { createJobQueue, type JobQueue } from '../queue/job-queue.ts';
import { isOutage } from '../redis/guard.ts';
import type { Logger } from '../telemetry/logger.ts';

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
      onError(error) {
        // Every connection of every worker meets an outage, and it is told of once.
        const level = isOutage(error) ? 'debug' : 'warn';
        log[level]({ queue: name, error: error.message }, 'queue');
      },
    });
}
