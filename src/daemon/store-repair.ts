import type { Repaired } from '../redis/stores/repair-store.ts';
import { faultLog } from '../fault-log.ts';
import type { KnownWatches } from './known-watches.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import type { Process } from '../process.ts';
import type { StoreGuard } from './store-guard.ts';

/** How often some records are compared with what points to them, ms. */
const EVERY_MS = 30_000;

/** Watches of those that this process remembers, compared at a time. */
const SAMPLE = 1;

/** After a pass through all records, none begins for so many times as long. */
const REST = 10;

/**
 * Compares some records after others with the logs, indexes and counters that are derived from them. Where
 * anything is missing, it goes through all records and derives it again.
 */
export class StoreRepair {
  private periodic: Periodic | null = null;
  private cursor = '0';
  /** The counter to go on with. */
  private counter = 0;
  /** Whether a pass through all records has to follow. */
  private isOwed = false;
  private restUntil = -Infinity;
  private repaired: () => void = () => undefined;

  private readonly onError: (error: unknown) => void;

  constructor(
    private readonly process: Process,
    private readonly guard: Pick<StoreGuard, 'checkRecords'>,
    private readonly known: Pick<KnownWatches, 'sample'>,
  ) {
    this.onError = faultLog(process.log, 'store_repair');
  }

  /** @param repaired what goes by logs and indexes may find more now */
  start(repaired: () => void): void {
    this.repaired = repaired;
    // Logs and indexes show which records are missing, as far as they could be compared.
    const task = () => this.compare().finally(() => this.guard.checkRecords());
    this.periodic = startPeriodic(task, { everyMs: EVERY_MS, onError: this.onError });
  }

  async stop(): Promise<void> {
    await this.periodic?.stop();
  }

  /** Compares now, as after a reconnect. */
  check(): void {
    this.periodic?.trigger();
  }

  /** Records were lost, or written again: goes through all of them now. */
  owe(): void {
    this.isOwed = true;
    this.restUntil = -Infinity;
    this.check();
  }

  private async compare(): Promise<void> {
    const { stores, monotonic } = this.process;
    const { repairs } = stores;
    const sample = this.known.sample(SAMPLE);
    const { next, ...found } = await repairs.compareSome(this.cursor, sample, this.since());
    this.cursor = next;
    this.report(found.failures);
    if (!isWhole(found)) this.isOwed = true;
    const counters = await repairs.compareCounters(this.counter);
    this.counter = counters.next;
    if (!counters.addUp) this.isOwed = true;
    if (this.isOwed && monotonic() >= this.restUntil) await this.goThroughAll();
  }

  private async goThroughAll(): Promise<void> {
    const { stores, monotonic, log } = this.process;
    const startedAt = monotonic();
    this.isOwed = false;
    try {
      const { failures, ...repaired } = await stores.repairs.all(this.since());
      this.report(failures);
      log.warn(repaired, 'store.repaired');
      this.repaired();
    } catch (error) {
      this.isOwed = true;
      throw error;
    } finally {
      this.restUntil = monotonic() + REST * (monotonic() - startedAt);
    }
  }

  /** Events about no run are kept from then on. */
  private since(): number {
    const { config, now } = this.process;
    return now() - config.watches.retention;
  }

  private report(failures: readonly unknown[]): void {
    failures.forEach(this.onError);
  }
}

function isWhole({ missing, lost }: Repaired): boolean {
  return missing === 0 && lost === 0;
}
