import type { Config } from '../config/schema.ts';
import type { Random } from '../core/backoff.ts';
import type { Delivery } from '../core/delivery.ts';
import type { NewMark } from '../core/event-id.ts';
import { isOldNotice } from '../core/reminder.ts';
import { createAlerts } from '../deliver/alerts.ts';
import { createDeliverEvent, type DeliverEventDependencies } from '../deliver/deliver-event.ts';
import { createDispatcher, LOOK_EVERY_MS } from '../deliver/dispatcher.ts';
import { outlasting } from '../deliver/outlast.ts';
import { createPermits } from '../deliver/permits.ts';
import { createRedeliver, type Redeliver } from '../deliver/redeliver.ts';
import { createReleaseParked } from '../deliver/release-parked.ts';
import type { DeliveryStore } from '../redis/delivery-store.ts';
import type { GateStore } from '../redis/gate-store.ts';
import type { WatchStore } from '../redis/watch-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { logDelivery } from '../telemetry/report.ts';
import { DEFAULT_RETRY_MS, type Endpoints } from './endpoints.ts';
import { faultLog } from './faults.ts';
import { startPeriodic, type Periodic } from './periodic.ts';
import type { Routes } from './routes.ts';

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
  metrics: Metrics;
  newMark: NewMark;
  now: () => number;
  random: Random;
  log: Logger;
}

/** The half of the daemon that tells. */
export interface Deliverer {
  /** Deliveries of these gates have become due. */
  dispatch: (gates: string[]) => void;
  redeliver: Redeliver;
  isRunning(): boolean;
  /** Looks for what is due now. */
  look(): void;
  start(): void;
  /** @param force does not wait for attempts that run: they cannot be settled while Redis is away */
  stop(force: boolean): Promise<void>;
}

export function createDeliverer(deps: DelivererDependencies): Deliverer {
  const { config, log, deliveries, endpoints, gates, now } = deps;
  const onError = faultLog(log, 'deliver');
  const stopping = new AbortController();
  const dispatcher = createDispatcher({
    gates,
    limitsOf: endpoints.limitsOf,
    deliver: createDeliverEvent(attemptDependencies(deps, stopping.signal)),
    capacity: config.delivery.concurrency * ON_THEIR_WAY,
    later: (ms, action) => void setTimeout(action, ms).unref(),
    onError,
    now,
  });
  let isRunning = false;
  const dispatch = (due: string[]) => {
    if (isRunning) dispatcher.dispatch(due);
  };
  const shared = { deliveries, gates, limitsOf: endpoints.limitsOf, dispatch, now };
  const release = createReleaseParked(shared, RELEASE_EVERY_MS);
  const periodics: Periodic[] = [];

  return {
    dispatch,
    redeliver: createRedeliver(shared),
    isRunning: () => isRunning,
    look() {
      for (const periodic of periodics) periodic.trigger();
    },
    start() {
      isRunning = true;
      periodics.push(
        startPeriodic(() => dispatcher.look(), { everyMs: LOOK_EVERY_MS, onError }),
        startPeriodic(release, { everyMs: RELEASE_EVERY_MS, onError }),
      );
    },
    async stop(force) {
      isRunning = false;
      await Promise.all(periodics.map((periodic) => periodic.stop()));
      const closed = dispatcher.close();
      if (!force) await closed;
      stopping.abort();
    },
  };
}

function attemptDependencies(
  deps: DelivererDependencies,
  stopping: AbortSignal,
): DeliverEventDependencies {
  const { config, deliveries, endpoints, watches, metrics, log, random, routeOf } = deps;
  return {
    move: outlasting((step) => deliveries.move(step), stopping),
    gates: deps.gates,
    limitsOf: endpoints.limitsOf,
    now: deps.now,
    random,
    routeOf,
    isOvertaken: (delivery) => isOvertaken(watches, delivery),
    withPermit: createPermits(config.delivery.concurrency),
    alerts: createAlerts({
      operatorEndpoint: config.alerts.endpoint ?? null,
      newMark: deps.newMark,
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
