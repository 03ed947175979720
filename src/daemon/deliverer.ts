import { createDeliverEvent, type DeliverEventDependencies } from '../deliver/deliver-event.ts';
import { createSweep } from '../deliver/sweep.ts';
import { createTurns } from '../deliver/turns.ts';
import type { JobQueue, QueueWorker } from '../queue/job-queue.ts';
import type { DeliveryStore } from '../redis/delivery-store.ts';
import type { EventStore } from '../redis/event-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import { startPeriodic, type Periodic } from './periodic.ts';

/** How often the outbox is looked through, and how long a delivery may be overdue before that counts. */
const SWEEP = { everyMs: 10_000, overdueMs: 30_000 };

interface DelivererDependencies extends Omit<
  DeliverEventDependencies,
  'deliveries' | 'bodyOf' | 'dispatch' | 'inTurn'
> {
  deliveries: DeliveryStore;
  events: EventStore;
  queue: JobQueue;
  limits: { concurrency: number; perEndpoint: number; deadlineMs: number };
  log: Logger;
}

/** The half of the daemon that tells: one queue and worker, and the sweeper behind them. */
export interface Deliverer {
  /** Gives deliveries their jobs. A failure is logged only: the sweeper makes good for it. */
  dispatch(ids: string[]): Promise<void>;
  isRunning(): boolean;
  /** Looks for deliveries without a job now. */
  sweep(): void;
  start(): void;
  /** @param force does not wait for attempts that run: they cannot be settled while Redis is away */
  stop(force: boolean): Promise<void>;
}

export function createDeliverer(deps: DelivererDependencies): Deliverer {
  const { queue, limits, log, deliveries, events } = deps;
  const dispatch = (ids: string[]) =>
    queue
      .ensure(ids)
      .catch((error: unknown) => log.warn({ err: error, deliveries: ids.length }, 'dispatch'));
  const deliverEvent = createDeliverEvent({
    ...deps,
    dispatch,
    bodyOf: (id) => events.body(id),
    inTurn: createTurns(limits.perEndpoint),
  });
  const sweep = createSweep({ deliveries, jobs: queue, now: deps.now });
  let worker: QueueWorker | null = null;
  let sweeper: Periodic | null = null;

  /** Whatever was due when this process started, or when Redis came back, has waited long enough. */
  let overdueMs = 0;
  const sweepOnce = async () => {
    const mended = await sweep(overdueMs);
    overdueMs = SWEEP.overdueMs;
    if (mended > 0) log.warn({ mended }, 'deliveries without a job were given one');
  };

  return {
    dispatch,
    isRunning: () => worker?.isRunning() ?? false,
    sweep() {
      overdueMs = 0;
      sweeper?.trigger();
    },
    start() {
      worker = queue.work(deliverEvent, limits);
      sweeper = startPeriodic(sweepOnce, {
        everyMs: SWEEP.everyMs,
        onError: (error) => log.warn({ err: error }, 'sweep'),
      });
    },
    async stop(force) {
      await sweeper?.stop();
      await worker?.close(force);
      await queue.close();
    },
  };
}
