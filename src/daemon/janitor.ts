import type { Config } from '../config/schema.ts';
import type { AlertStore } from '../redis/stores/alert-store.ts';
import type { HistoryStore } from '../redis/stores/history-store.ts';
import type { RedisMemoryStore } from '../redis/stores/redis-memory-store.ts';
import type { Forgotten, RetentionStore } from '../redis/stores/retention-store.ts';
import type { SilenceStore } from '../redis/stores/silence-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import { faultLog } from '../fault-log.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';

/** How often expired records are deleted, and the memory in use is noted, ms. */
const EVERY_MS = 60_000;

/** The longest time until a watch with unsettled deliveries is checked again, ms. */
const PUT_OFF_MS = 3_600_000;

/** The most chunks deleted by one run: the next run deletes the rest. */
const MOST_CHUNKS = 100;

/** The most resolved alerts to keep. */
const ALERTS_KEPT = 10_000;

interface JanitorDependencies {
  config: Config;
  stores: {
    retention: RetentionStore;
    history: Pick<HistoryStore, 'takeDue' | 'pack'>;
    alerts: AlertStore;
    silences: SilenceStore;
    memory: Pick<RedisMemoryStore, 'note'>;
  };
  now: () => number;
  log: Logger;
}

/**
 * The work in the background that keeps the store small. It deletes what is past its retention and packs
 * watches that have ended. It notes how much memory Redis uses, for the rate at which that grows.
 */
export function startJanitor(deps: JanitorDependencies): Pick<Periodic, 'stop'> {
  const { stores, log } = deps;
  const tasks = [
    forgetWatches(deps),
    forgetAlerts(deps),
    packWatches(deps),
    startPeriodic(() => stores.memory.note(), {
      everyMs: EVERY_MS,
      onError: faultLog(log, 'memory'),
    }),
  ];
  return { stop: async () => void (await Promise.all(tasks.map((task) => task.stop()))) };
}

/** Deletes watches, events and deliveries past their retention. */
function forgetWatches({ config, stores, now, log }: JanitorDependencies): Periodic {
  const { retention: store } = stores;
  const { watches: options, delivery } = config;
  // A short retention, as in tests, needs more frequent runs.
  const shortest = Math.min(options.retention, delivery.retention);
  const againAfterMs = Math.min(PUT_OFF_MS, options.retention);
  const onError = faultLog(log, 'retention');
  return startPeriodic(
    async () => {
      const old = await repeat(() => store.forgetDeliveries(now() - delivery.retention), onError);
      const many = await repeat(() => store.forgetDeliveriesBeyond(delivery.keep), onError);
      const watches = await repeat(
        () => store.forgetWatches(now() - options.retention, againAfterMs),
        onError,
      );
      const events = await repeat(() => store.forgetOwnEvents(now() - options.retention), onError);
      const deliveries = old + many;
      if (deliveries + watches + events > 0) {
        log.info({ watches, deliveries, events }, 'retention');
      }
    },
    { everyMs: Math.min(EVERY_MS, Math.max(1_000, shortest)), onError },
  );
}

/**
 * Repeats until no record is left to delete, or the remaining ones must be kept. An error is reported, not
 * thrown: what comes next may still delete something.
 */
async function repeat(
  forgetSome: () => Promise<Forgotten>,
  onError: (error: unknown) => void,
): Promise<number> {
  let total = 0;
  try {
    for (let chunk = 0; chunk < MOST_CHUNKS; chunk += 1) {
      const { forgotten, mayGoOn, failures } = await forgetSome();
      total += forgotten;
      failures.forEach(onError);
      if (!mayGoOn) break;
    }
  } catch (error) {
    onError(error);
  }
  return total;
}

/** Deletes resolved alerts and expired silences past their retention. */
function forgetAlerts({ config, stores, now, log }: JanitorDependencies): Periodic {
  const onError = faultLog(log, 'retention');
  return startPeriodic(
    async () => {
      const before = now() - config.watches.retention;
      const alerts = await repeat(async () => {
        const forgotten = await stores.alerts.forget({ before, keep: ALERTS_KEPT });
        return { forgotten, mayGoOn: forgotten > 0, failures: [] };
      }, onError);
      const silences = await stores.silences.forget(before);
      if (alerts + silences > 0) log.info({ alerts, silences }, 'retention');
    },
    { everyMs: EVERY_MS, onError },
  );
}

/**
 * How long after its last delivery settled a watch is packed, ms. Until then it is read, registered and
 * delivered again most.
 */
const PACK_AFTER_MS = 60_000;

/** How often watches are taken that are due for packing, ms. */
const PACK_EVERY_MS = 30_000;

/** The share of its time that a process packs at the most: under load, packing waits. */
const PACK_SHARE = 0.1;

/** Watches packed at a time. */
const PACKED_AT_ONCE = 10;

/** Packs watches that have ended, once their deliveries have settled. */
function packWatches({ config, stores, now, log }: JanitorDependencies): Periodic {
  const { history } = stores;
  // With a short retention, as in tests, watches are packed before they are forgotten.
  const afterMs = Math.min(PACK_AFTER_MS, config.watches.retention / 1_000);
  const everyMs = Math.min(PACK_EVERY_MS, Math.max(100, afterMs));
  const onError = faultLog(log, 'packing');
  return startPeriodic(
    async () => {
      const until = performance.now() + everyMs * PACK_SHARE;
      do {
        const due = await history.takeDue(now() - afterMs, PACKED_AT_ONCE);
        await Promise.all(due.map((key) => history.pack(key).catch(onError)));
        if (due.length < PACKED_AT_ONCE) return;
      } while (performance.now() < until);
    },
    { everyMs, onError },
  );
}
