import type { MemoryStore } from '../redis/stores/memory-store.ts';
import type { Forgotten, RetentionStore } from '../redis/stores/retention-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import { faultLog } from './faults.ts';
import { startPeriodic, type Periodic } from './periodic.ts';

/** How often old records are looked for; no record is kept this much longer than asked. */
const EVERY_MS = 60_000;

/** For how long a watch is put off at the most that has deliveries which are not settled, ms. */
const PUT_OFF_MS = 3_600_000;

/** Chunks forgotten in one run at the most: the rest waits for the next one. */
const MOST_CHUNKS = 100;

interface JanitorOptions {
  retention: {
    watchesMs: number;
    deliveriesMs: number;
    /** Settled deliveries kept at the most. */
    deliveriesKept: number;
  };
  now: () => number;
  log: Logger;
}

/** Forgets watches, events and deliveries that have been over for longer than they are kept. */
export function startJanitor(store: RetentionStore, options: JanitorOptions): Periodic {
  const { retention, now, log } = options;
  // Often enough that a short retention, as in tests, is kept too.
  const shortest = Math.min(retention.watchesMs, retention.deliveriesMs);
  const againAfterMs = Math.min(PUT_OFF_MS, retention.watchesMs);
  return startPeriodic(
    async () => {
      const old = await repeat(() => store.forgetDeliveries(now() - retention.deliveriesMs));
      const many = await repeat(() => store.forgetDeliveriesBeyond(retention.deliveriesKept));
      const watches = await repeat(() =>
        store.forgetWatches(now() - retention.watchesMs, againAfterMs),
      );
      const deliveries = old + many;
      if (deliveries + watches > 0) log.info({ watches, deliveries }, 'retention');
    },
    {
      everyMs: Math.min(EVERY_MS, Math.max(1_000, shortest)),
      onError: faultLog(log, 'retention'),
    },
  );
}

/** Until nothing is left to forget, or what is left has to be kept. */
async function repeat(forgetSome: () => Promise<Forgotten>): Promise<number> {
  let total = 0;
  for (let chunk = 0; chunk < MOST_CHUNKS; chunk += 1) {
    const { forgotten, mayGoOn } = await forgetSome();
    total += forgotten;
    if (!mayGoOn) break;
  }
  return total;
}

/** Notes now and then how much memory Redis uses, for the rate at which it grows. */
export function startMemoryNotes(store: Pick<MemoryStore, 'note'>, log: Logger): Periodic {
  const options = { everyMs: EVERY_MS, onError: faultLog(log, 'memory') };
  return startPeriodic(() => store.note(), options);
}
