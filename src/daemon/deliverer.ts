import type { Config } from '../config/schema.ts';
import type { Random } from '../core/backoff.ts';
import { createDeliverEvent, type DeliverEventDependencies } from '../deliver/deliver-event.ts';
import { createSweep } from '../deliver/sweep.ts';
import { createTurns } from '../deliver/turns.ts';
import type { QueueWorker } from '../queue/job-queue.ts';
import type { DeliveryStore } from '../redis/delivery-store.ts';
import type { EventStore } from '../redis/event-store.ts';
import type { WatchStore } from '../redis/watch-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { logDelivery } from '../telemetry/report.ts';
import { createRoutes, type RoutesDependencies } from './routes.ts';
import type { Endpoints } from './endpoints.ts';
import { startPeriodic, type Periodic } from './periodic.ts';
import type { QueueFactory } from './queues.ts';

/**
 * How often the outbox is looked through, and how long a delivery may be overdue before that counts:
 * together less than the 30 s after which others have taken over all work of a killed process.
 */
const SWEEP = { everyMs: 10_000, overdueMs: 15_000 };

/** What a per-watch webhook has, since it has no options of its own. */
const PER_WATCH_TIMEOUT_MS = 15_000;

/** The delays of the delivery policy, for deliveries whose endpoint names none, ms. */
const DEFAULT_RETRY_MS = [5, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400].map(
  (seconds) => seconds * 1_000,
);

interface DelivererDependencies extends Pick<
  RoutesDependencies,
  'agents' | 'sealer' | 'secrets' | 'eventLog' | 'signingSecret'
> {
  config: Config;
  endpoints: Endpoints;
  watches: WatchStore;
  deliveries: DeliveryStore;
  events: EventStore;
  metrics: Metrics;
  queueOf: QueueFactory;
  userAgent: string;
  now: () => number;
  random: Random;
  log: Logger;
}

/** The half of the daemon that tells: one queue and worker, and the sweeper behind them. */
export interface Deliverer {
  /** Gives deliveries their jobs. A failure is logged only: the sweeper makes good for it. */
  dispatch: (ids: string[]) => Promise<void>;
  isRunning(): boolean;
  /** Looks for deliveries without a job now. */
  sweep(): void;
  start(): void;
  /** @param force does not wait for attempts that run: they cannot be settled while Redis is away */
  stop(force: boolean): Promise<void>;
}

export function createDeliverer(deps: DelivererDependencies): Deliverer {
  const { config, log, deliveries } = deps;
  const queue = deps.queueOf('deliver');
  const dispatch = (ids: string[]) =>
    queue
      .ensure(ids)
      .catch((error: unknown) => log.warn({ err: error, deliveries: ids.length }, 'dispatch'));
  const deliverEvent = createDeliverEvent(attemptDependencies(deps, dispatch));
  const sweep = createSweep({ deliveries, jobs: queue, now: deps.now });
  let worker: QueueWorker | null = null;
  let sweeper: Periodic | null = null;

  /** Whatever was due when this process started, or when Redis came back, has waited long enough. */
  let overdueMs = 0;
  const sweepOnce = async () => {
    const asked = overdueMs;
    // Before the sweep, not after it: what is asked for meanwhile is for the next one.
    overdueMs = SWEEP.overdueMs;
    const mended = await sweep(asked).catch((error: unknown) => {
      overdueMs = Math.min(overdueMs, asked);
      throw error;
    });
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
      worker = queue.work(deliverEvent, { concurrency: config.delivery.concurrency });
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

function attemptDependencies(
  deps: DelivererDependencies,
  dispatch: Deliverer['dispatch'],
): DeliverEventDependencies {
  const { config, endpoints, events, metrics, log } = deps;
  return {
    ...deps,
    dispatch,
    bodyOf: (id) => events.body(id),
    routeOf: createRoutes({
      ...deps,
      endpoints: endpoints.all,
      perWatch: { timeoutMs: PER_WATCH_TIMEOUT_MS, retry: DEFAULT_RETRY_MS },
    }),
    inTurn: createTurns(config.delivery.per_endpoint),
    defaultRetry: DEFAULT_RETRY_MS,
    report(report) {
      metrics.attempt(report);
      logDelivery(log, report);
    },
  };
}
