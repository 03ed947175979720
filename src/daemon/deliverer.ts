import type { Config } from '../config/schema.ts';
import type { Random } from '../core/backoff.ts';
import type { Delivery } from '../core/delivery.ts';
import { isOldNotice } from '../core/reminder.ts';
import { createAlerts } from '../deliver/alerts.ts';
import { createDeliverEvent, type DeliverEventDependencies } from '../deliver/deliver-event.ts';
import { createPermits } from '../deliver/permits.ts';
import { createRedeliver, type Redeliver } from '../deliver/redeliver.ts';
import { createReleaseParked } from '../deliver/release-parked.ts';
import { createSweep } from '../deliver/sweep.ts';
import type { QueueWorker } from '../queue/job-queue.ts';
import type { DeliveryStore } from '../redis/delivery-store.ts';
import type { EventStore } from '../redis/event-store.ts';
import type { GateStore } from '../redis/gate-store.ts';
import type { WatchStore } from '../redis/watch-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { logDelivery } from '../telemetry/report.ts';
import { DEFAULT_RETRY_MS, type Endpoints } from './endpoints.ts';
import { faultLog } from './faults.ts';
import { startPeriodic, type Periodic } from './periodic.ts';
import type { QueueFactory } from './queues.ts';
import type { Routes } from './routes.ts';

/**
 * How often the outbox is looked through, and how long a delivery may be overdue before that counts:
 * together less than the 30 s after which others have taken over all work of a killed process.
 */
const SWEEP = { everyMs: 10_000, overdueMs: 15_000 };

/** How often parked deliveries are looked at. */
const RELEASE_EVERY_MS = 500;

/**
 * Attempts that wait for their receivers use next to nothing of this process, so that many more of
 * them may be on their way than may run: this many times as many, which bounds the sockets.
 */
const ON_THEIR_WAY = 16;

interface DelivererDependencies {
  config: Config;
  endpoints: Endpoints;
  routeOf: Routes;
  watches: WatchStore;
  deliveries: DeliveryStore;
  gates: GateStore;
  events: EventStore;
  metrics: Metrics;
  queueOf: QueueFactory;
  now: () => number;
  random: Random;
  log: Logger;
}

/** The half of the daemon that tells: one queue and worker, and what keeps them honest. */
export interface Deliverer {
  /** Gives deliveries their jobs. A failure is logged only: the sweeper makes good for it. */
  dispatch: (ids: string[]) => Promise<void>;
  redeliver: Redeliver;
  isRunning(): boolean;
  /** Looks for deliveries without a job now. */
  sweep(): void;
  start(): void;
  /** @param force does not wait for attempts that run: they cannot be settled while Redis is away */
  stop(force: boolean): Promise<void>;
}

export function createDeliverer(deps: DelivererDependencies): Deliverer {
  const { config, log, deliveries, endpoints, gates, now } = deps;
  const queue = deps.queueOf('deliver');
  const dispatch = (ids: string[]) =>
    queue.ensure(ids).catch(faultLog(log, 'dispatch', { deliveries: ids.length }));
  const shared = { deliveries, gates, limitsOf: endpoints.limitsOf, dispatch, now };
  const inLine = new Set<string>();
  const deliverEvent = createDeliverEvent(attemptDependencies(deps, { ...shared, inLine }));
  const sweep = sweeping(createSweep({ deliveries, jobs: queue, now }), log);
  const release = createReleaseParked(shared, RELEASE_EVERY_MS);
  const onError = faultLog(log, 'sweep');
  const periodics: Periodic[] = [];
  let worker: QueueWorker | null = null;

  return {
    dispatch,
    redeliver: createRedeliver(shared),
    isRunning: () => worker?.isRunning() ?? false,
    sweep() {
      sweep.askForAll();
      for (const periodic of periodics) periodic.trigger();
    },
    start() {
      worker = queue.work(deliverEvent, {
        concurrency: config.delivery.concurrency * ON_THEIR_WAY,
        isWanted: async (id) => inLine.delete(id) && deliveries.isDue(id, now()),
      });
      periodics.push(
        startPeriodic(() => sweep.run(), { everyMs: SWEEP.everyMs, onError }),
        startPeriodic(release, { everyMs: RELEASE_EVERY_MS, onError }),
      );
    },
    async stop(force) {
      await Promise.all(periodics.map((periodic) => periodic.stop()));
      await worker?.close(force);
      await queue.close();
    },
  };
}

/** Whatever was due when this process started, or when Redis came back, has waited long enough. */
function sweeping(sweep: (overdueMs: number) => Promise<number>, log: Logger) {
  let overdueMs = 0;
  return {
    askForAll() {
      overdueMs = 0;
    },
    async run() {
      const asked = overdueMs;
      // Before the sweep, not after it: what is asked for meanwhile is for the next one.
      overdueMs = SWEEP.overdueMs;
      const mended = await sweep(asked).catch((error: unknown) => {
        overdueMs = Math.min(overdueMs, asked);
        throw error;
      });
      if (mended > 0) log.warn({ mended }, 'deliveries without a job were given one');
    },
  };
}

function attemptDependencies(
  deps: DelivererDependencies,
  shared: Pick<
    DeliverEventDependencies,
    'deliveries' | 'gates' | 'limitsOf' | 'dispatch' | 'now'
  > & {
    inLine: Set<string>;
  },
): DeliverEventDependencies {
  const { config, events, watches, metrics, log, random, routeOf } = deps;
  return {
    ...shared,
    random,
    routeOf,
    bodyOf: (id) => events.body(id),
    isOvertaken: (delivery) => isOvertaken(watches, delivery),
    stoodInLine: (id) => shared.inLine.add(id),
    withPermit: createPermits(config.delivery.concurrency),
    alerts: createAlerts({
      operatorEndpoint: config.alerts.endpoint ?? null,
      log: ({ type, ...alert }) => {
        if (type === 'endpoint.recovered') log.info(alert, type);
        else log.error(alert, type);
      },
    }),
    defaultRetry: DEFAULT_RETRY_MS,
    report(report) {
      metrics.attempt(report);
      logDelivery(log, report);
    },
  };
}

/** A notice of awaiting feedback is news only while the run still waits where it did. */
async function isOvertaken(watches: WatchStore, delivery: Delivery): Promise<boolean> {
  if (delivery.eventType !== 'run.awaiting_human_feedback') return false;
  const stored = await watches.get(delivery);
  return stored !== null && isOldNotice(stored.watch, delivery.eventId);
}
