import { faultLog } from '../fault-log.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import type { Process } from '../process.ts';
import type { Forgotten } from '../redis/stores/retention-store.ts';

/** How often expired records are deleted, and the memory in use is noted, ms. */
const EVERY_MS = 60_000;

/** The longest time until a watch with unsettled deliveries is checked again, ms. */
const PUT_OFF_MS = 3_600_000;

/** The most chunks deleted by one run: the next run deletes the rest. The stores say how much one is. */
const MOST_CHUNKS = 100;

/** The most batches to keep: beyond them those go that began first, once they have completed. */
const BATCHES_KEPT = 10_000;

/** The most resolved alerts to keep. */
const ALERTS_KEPT = 10_000;

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

/**
 * The work in the background that keeps the store small. It deletes what is past its retention and packs
 * watches that have ended. It notes how much memory Redis uses, for the rate at which that grows.
 */
export class Janitor {
  private tasks: Periodic[] = [];

  constructor(private readonly process: Process) {}

  start(): void {
    const { config, stores, log } = this.process;
    const { retention } = config.watches;
    // A short retention, as in tests, needs more frequent runs.
    const shortest = Math.min(retention, config.delivery.retention);
    const onRetentionError = faultLog(log, 'retention');
    const onAlertError = faultLog(log, 'retention');
    const onPackingError = faultLog(log, 'packing');
    // With a short retention watches are packed before they are forgotten.
    const packAfterMs = Math.min(PACK_AFTER_MS, retention / 1_000);
    const packEveryMs = Math.min(PACK_EVERY_MS, Math.max(100, packAfterMs));
    this.tasks = [
      startPeriodic(() => this.forgetWatches(onRetentionError), {
        everyMs: Math.min(EVERY_MS, Math.max(1_000, shortest)),
        onError: onRetentionError,
      }),
      startPeriodic(() => this.forgetAlerts(onAlertError), {
        everyMs: EVERY_MS,
        onError: onAlertError,
      }),
      startPeriodic(
        () =>
          this.packWatches(
            { afterMs: packAfterMs, forMs: packEveryMs * PACK_SHARE },
            onPackingError,
          ),
        { everyMs: packEveryMs, onError: onPackingError },
      ),
      startPeriodic(() => stores.memory.note(), {
        everyMs: EVERY_MS,
        onError: faultLog(log, 'memory'),
      }),
    ];
  }

  async stop(): Promise<void> {
    await Promise.all(this.tasks.map((task) => task.stop()));
  }

  /** Deletes watches, events and deliveries past their retention. */
  private async forgetWatches(onError: (error: unknown) => void): Promise<void> {
    const { config, stores, now, log } = this.process;
    const { retention: store } = stores;
    const { watches: options, delivery } = config;
    const againAfterMs = Math.min(PUT_OFF_MS, options.retention);
    const old = await repeat(() => store.forgetDeliveries(now() - delivery.retention), onError);
    const many = await repeat(() => store.forgetDeliveriesBeyond(delivery.keep), onError);
    const watches = await repeat(
      () => store.forgetWatches(now() - options.retention, againAfterMs),
      onError,
    );
    const events = await repeat(() => store.forgetOwnEvents(now() - options.retention), onError);
    const deliveries = old + many;
    if (deliveries + watches + events > 0) log.info({ watches, deliveries, events }, 'retention');
  }

  /** Deletes resolved alerts, expired silences, audit records and completed batches past their retention. */
  private async forgetAlerts(onError: (error: unknown) => void): Promise<void> {
    const { config, stores, now, log } = this.process;
    const before = now() - config.watches.retention;
    const alerts = await repeat(async () => {
      const forgotten = await stores.alerts.forget({ before, keep: ALERTS_KEPT });
      return { forgotten, mayGoOn: forgotten > 0, failures: [] };
    }, onError);
    const silences = await stores.silences.forget(before);
    const audit = await stores.audit.forget(before);
    const batches = await stores.batches.forgetOld({ before, keep: BATCHES_KEPT });
    if (alerts + silences + audit + batches > 0) {
      log.info({ alerts, silences, audit, batches }, 'retention');
    }
  }

  /** Packs watches that have ended, once their deliveries have settled. */
  private async packWatches(
    { afterMs, forMs }: { afterMs: number; forMs: number },
    onError: (error: unknown) => void,
  ): Promise<void> {
    const { stores, now } = this.process;
    const { history } = stores;
    const until = performance.now() + forMs;
    do {
      const due = await history.takeDue(now() - afterMs, PACKED_AT_ONCE);
      await Promise.all(due.map((key) => history.pack(key).catch(onError)));
      if (due.length < PACKED_AT_ONCE) return;
    } while (performance.now() < until);
  }
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
