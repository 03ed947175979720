import type { RegisterDefaults } from '../core/watch/register.ts';
import {
  compareStore,
  epochsAfter,
  type FoundStore,
  type KnownStore,
  type LossReason,
} from '../core/store-loss.ts';
import type { EpochStore } from '../redis/stores/epoch-store.ts';
import type { WatchStore } from '../redis/stores/watch-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { EpochFile } from './epoch-file.ts';
import { faultLog } from './faults.ts';
import type { KnownWatches } from './known-watches.ts';
import { startPeriodic, type Periodic } from './periodic.ts';
import { registerAgain } from './register-again.ts';
import { lossData, lossLine, type NoticedLoss } from './store-loss-report.ts';
import type { SystemEvents } from './system-events.ts';

/** How often the store is compared with what is known of it, ms. */
const EVERY_MS = 5_000;

/** How often what is known is written to the data directory, where it has changed, ms. */
const KEEP_MS = 60_000;

/** How long after a new epoch a sign of lost writes says nothing new, ms. */
const ECHO_MS = 5_000;

/** How long readiness says that data was lost, ms. */
const DEGRADED_MS = 3_600_000;

interface StoreGuardDependencies {
  epochs: EpochStore;
  watches: Pick<WatchStore, 'commitMany'>;
  known: KnownWatches;
  file: EpochFile;
  defaults: RegisterDefaults;
  /** Names a new epoch. */
  newEpoch: () => string;
  now: () => number;
  /** Milliseconds of a clock that only runs forward. */
  monotonic: () => number;
  log: Logger;
}

/** What a loss is told to. */
export interface LossHandlers {
  systemEvents: Pick<SystemEvents, 'plan'>;
  dispatch: (pools: string[]) => void;
  count: (reason: LossReason) => void;
  /** Watches may have lost their place in the schedule, and followers of events theirs in the log. */
  renewed: () => void;
}

/**
 * Notices that the store was emptied, replaced or set back; says so, unless another process was first;
 * and registers again what is missing of the watches that this process remembers.
 */
export class StoreGuard {
  private handlers: LossHandlers | null = null;
  private periodic: Periodic | null = null;
  private lost: NoticedLoss | null = null;
  /** Whether watches are still to be registered again. */
  private owesWatches = false;
  private suspectedAt: number | null = null;
  private renewedAt = -Infinity;
  private kept = { text: '', at: -Infinity };

  private constructor(
    private readonly deps: StoreGuardDependencies,
    private store: KnownStore,
  ) {}

  /** Knows the store by the data directory, else by what it finds. Errors of the connection pass through. */
  static async open(deps: StoreGuardDependencies): Promise<StoreGuard> {
    const onError = faultLog(deps.log, 'store_file');
    const known = await deps.file.read().catch((error: unknown) => (onError(error), null));
    if (known !== null) return new StoreGuard(deps, known);
    await deps.epochs.begin(deps.newEpoch());
    const { epochs, events, watches } = await deps.epochs.read();
    return new StoreGuard(deps, { epoch: epochs[0] ?? deps.newEpoch(), events, watches });
  }

  epoch(): string {
    return this.store.epoch;
  }

  /** The store has said that it has come so far; what is lower than before is looked into. */
  saw({ epoch, events = 0, watches = 0 }: Partial<KnownStore> & Pick<KnownStore, 'epoch'>): void {
    // What was said before the store lost data may come late.
    if (epoch !== this.store.epoch) return;
    if (events > 0 && events < this.store.events) this.check();
    this.raise({ events, watches });
  }

  private raise({ events, watches }: Pick<KnownStore, 'events' | 'watches'>): void {
    this.store = {
      ...this.store,
      events: Math.max(this.store.events, events),
      watches: Math.max(this.store.watches, watches),
    };
  }

  /** Writes of this process are gone. */
  suspect(): void {
    this.suspectedAt = this.deps.monotonic();
    this.check();
  }

  /** Compares now, as on reconnecting. */
  check(): void {
    this.periodic?.trigger();
  }

  /** What readiness says of a loss; null when there was none of late. */
  trouble(): string | null {
    const { lost } = this;
    return lost === null || this.deps.now() - lost.at > DEGRADED_MS ? null : lossLine(lost);
  }

  start(handlers: LossHandlers): void {
    this.handlers = handlers;
    const onError = faultLog(this.deps.log, 'store_guard');
    void this.deps.known.load().catch(onError);
    this.periodic = startPeriodic(() => this.compare(), { everyMs: EVERY_MS, onError });
  }

  async stop(): Promise<void> {
    await this.periodic?.stop();
    await this.keep(0);
  }

  private async compare(): Promise<void> {
    await this.deps.known.catchUp();
    // As it was known before: places that are heard of while it is read may be higher than what is read.
    const { store: known, suspectedAt } = this;
    this.suspectedAt = null;
    const found = await this.deps.epochs.read();
    const isSuspected = suspectedAt !== null && suspectedAt - this.renewedAt > ECHO_MS;
    const finding = compareStore(known, found, isSuspected);
    if (finding.kind === 'lost') await this.lose(finding.reason, known, found);
    else if (finding.kind === 'renewed') this.adopt(found);
    else this.raise(found);
    if (this.owesWatches) await this.restore();
    await this.keep(KEEP_MS);
  }

  private async lose(reason: LossReason, known: KnownStore, found: FoundStore): Promise<void> {
    const { deps } = this;
    const missing = await deps.known.missing();
    const epochs = epochsAfter(deps.newEpoch(), known, found);
    const [epoch = known.epoch] = epochs;
    const at = deps.now();
    const data = lossData({ reason, known, found, epoch, missing: missing.length, at });
    const event = this.handlers?.systemEvents.plan({ type: 'store.data_lost', data }) ?? null;
    const pools = await deps.epochs.renew(found.epochs, epochs, event);
    // Another process was first: what it wrote is found by the next comparison.
    if (pools === null) return this.check();
    deps.log.error(data, 'store.data_lost');
    this.handlers?.count(reason);
    this.handlers?.dispatch(pools);
    this.begin({ ...found, epochs }, reason);
  }

  private adopt(found: FoundStore): void {
    const fields = { epoch: found.epochs[0], previous_epoch: this.store.epoch };
    this.deps.log.warn(fields, 'store.epoch_renewed');
    this.begin(found, null);
  }

  private begin(
    { epochs: [epoch = this.store.epoch], events, watches }: FoundStore,
    reason: LossReason | null,
  ): void {
    this.store = { epoch, events, watches };
    this.renewedAt = this.deps.monotonic();
    this.lost = { reason, at: this.deps.now(), restored: 0 };
    this.owesWatches = true;
  }

  /** Where this fails, the next comparison tries again. */
  private async restore(): Promise<void> {
    const { deps, lost } = this;
    const restored = await registerAgain(await deps.known.missing(), { ...deps, now: deps.now() });
    this.owesWatches = false;
    if (lost !== null) this.lost = { ...lost, restored: lost.restored + restored };
    if (restored > 0) deps.log.warn({ watches: restored }, 'store.watches_restored');
    this.handlers?.renewed();
  }

  /** @param everyMs the least time since it was last kept, unless the epoch is new */
  private async keep(everyMs: number): Promise<void> {
    const { deps, store, kept } = this;
    const text = JSON.stringify(store);
    const isDue = deps.monotonic() - kept.at >= everyMs || !kept.text.includes(store.epoch);
    if (text === kept.text || !isDue) return;
    this.kept = { text, at: deps.monotonic() };
    await deps.file.write(store).catch(faultLog(deps.log, 'store_file'));
  }
}
