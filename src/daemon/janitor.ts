import type { AlertStore } from '../redis/stores/alert-store.ts';
import type { MemoryStore } from '../redis/stores/memory-store.ts';
import type { Forgotten, RetentionStore } from '../redis/stores/retention-store.ts';
import type { SilenceStore } from '../redis/stores/silence-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import { faultLog } from './faults.ts';
import { startPeriodic, type Periodic } from './periodic.ts';

/** How often expired records are deleted, ms. */
const EVERY_MS = 60_000;

/** The longest time until a watch with unsettled deliveries is checked again, ms. */
const PUT_OFF_MS = 3_600_000;

/** The most chunks deleted by one run: the next run deletes the rest. */
const MOST_CHUNKS = 100;

interface JanitorOptions {
  retention: {
    watchesMs: number;
    deliveriesMs: number;
    /** The most settled deliveries to keep. */
    deliveriesKept: number;
  };
  now: () => number;
  log: Logger;
}

/** Deletes watches, events and deliveries past their retention. */
export function startJanitor(store: RetentionStore, options: JanitorOptions): Periodic {
  const { retention, now, log } = options;
  // A short retention, as in tests, needs more frequent runs.
  const shortest = Math.min(retention.watchesMs, retention.deliveriesMs);
  const againAfterMs = Math.min(PUT_OFF_MS, retention.watchesMs);
  return startPeriodic(
    async () => {
      const old = await repeat(() => store.forgetDeliveries(now() - retention.deliveriesMs));
      const many = await repeat(() => store.forgetDeliveriesBeyond(retention.deliveriesKept));
      const watches = await repeat(() =>
        store.forgetWatches(now() - retention.watchesMs, againAfterMs),
      );
      const events = await repeat(() => store.forgetOwnEvents(now() - retention.watchesMs));
      const deliveries = old + many;
      if (deliveries + watches + events > 0) {
        log.info({ watches, deliveries, events }, 'retention');
      }
    },
    {
      everyMs: Math.min(EVERY_MS, Math.max(1_000, shortest)),
      onError: faultLog(log, 'retention'),
    },
  );
}

/** Repeats until no record is left to delete, or the remaining ones must be kept. */
async function repeat(forgetSome: () => Promise<Forgotten>): Promise<number> {
  let total = 0;
  for (let chunk = 0; chunk < MOST_CHUNKS; chunk += 1) {
    const { forgotten, mayGoOn } = await forgetSome();
    total += forgotten;
    if (!mayGoOn) break;
  }
  return total;
}

/** The most resolved alerts to keep. */
const ALERTS_KEPT = 10_000;

/** Deletes resolved alerts and expired silences past their retention. */
export function startAlertJanitor(
  { alerts, silences }: { alerts: AlertStore; silences: SilenceStore },
  { retentionMs, now, log }: { retentionMs: number; now: () => number; log: Logger },
): Periodic {
  return startPeriodic(
    async () => {
      const before = now() - retentionMs;
      const forgotten = await repeat(async () => {
        const count = await alerts.forget({ before, keep: ALERTS_KEPT });
        return { forgotten: count, mayGoOn: count > 0 };
      });
      const expired = await silences.forget(before);
      if (forgotten + expired > 0) {
        log.info({ alerts: forgotten, silences: expired }, 'retention');
      }
    },
    { everyMs: EVERY_MS, onError: faultLog(log, 'retention') },
  );
}

/** Notes now and then how much memory Redis uses, for the rate at which it grows. */
export function startMemoryNotes(store: Pick<MemoryStore, 'note'>, log: Logger): Periodic {
  const options = { everyMs: EVERY_MS, onError: faultLog(log, 'memory') };
  return startPeriodic(() => store.note(), options);
}
