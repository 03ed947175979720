import { randomInt } from 'node:crypto';
import { registerDefaults } from '../config/schema.ts';
import { pollKind } from '../core/source/request-order.ts';
import { isoTime } from '../core/event/event.ts';
import { newName } from '../core/event/ids.ts';
import {
  compareStore,
  epochsAfter,
  type FoundStore,
  type KnownStore,
  type LossReason,
} from '../core/store-loss.ts';
import { register } from '../core/watch/register.ts';
import { watchId } from '../core/watch/watch.ts';
import type { Damage, EpochStore } from '../redis/stores/epoch-store.ts';
import type { NumberedWatch } from '../redis/stores/watch-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { EpochFile } from './data-directory.ts';
import { faultLog } from '../fault-log.ts';
import type { KnownWatches, KnownWatch } from './known-watches.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';
import type { Process } from '../process.ts';
import type { SystemEvents } from './system-events.ts';

/** How often the store is compared with its known state, ms. */
const EVERY_MS = 5_000;

/** How often a process reports missing records at most, ms. */
const DAMAGE_EVERY_MS = 20_000;

/** How often a changed state is written to the data directory, ms. */
const KEEP_MS = 60_000;

/** How long after a new epoch signs of lost writes are ignored, ms. */
const ECHO_MS = 5_000;

/** How long readiness reports a loss, ms. */
const DEGRADED_MS = 3_600_000;

/** What a process knows of the store before it is built. */
export interface OpenedGuard {
  knownWatches: KnownWatches;
  epochFile: EpochFile;
  knownStore: KnownStore;
}

/** The state that is known from the data directory, else from the store. Throws what the store throws. */
export async function readKnownStore(
  epochs: Pick<EpochStore, 'begin' | 'read'>,
  file: EpochFile,
  log: Logger,
): Promise<KnownStore> {
  const onError = faultLog(log, 'store_file');
  const known = await file.read().catch((error: unknown) => (onError(error), null));
  if (known !== null) return known;
  await epochs.begin(newEpoch());
  const found = await epochs.read();
  return { epoch: found.epochs[0] ?? newEpoch(), events: found.events, watches: found.watches };
}

function newEpoch(): string {
  return newName(randomInt);
}

/**
 * Detects that the store was emptied, replaced or rolled back, and reports it unless another process was
 * first. Then it registers missing watches that this process remembers.
 */
export class StoreGuard {
  private renewed: () => void = () => undefined;
  private periodic: Periodic | null = null;
  private lost: NoticedLoss | null = null;
  /** Whether missing watches still have to be registered. */
  private owesWatches = false;
  private suspectedAt: number | null = null;
  private areRecordsDue = false;
  /** Whether active watches may be without a record that this process does not remember. */
  private mayHaveLost = false;
  private renewedAt = -Infinity;
  private kept = { text: '', at: -Infinity };

  private store: KnownStore;
  private readonly known: KnownWatches;
  private readonly file: EpochFile;

  constructor(
    private readonly process: Process,
    private readonly systemEvents: Pick<SystemEvents, 'plan'>,
    opened: OpenedGuard,
  ) {
    this.store = opened.knownStore;
    this.known = opened.knownWatches;
    this.file = opened.epochFile;
  }

  epoch(): string {
    return this.store.epoch;
  }

  /** Takes in counters of the store; compares when one is lower than before. */
  saw({ epoch, events = 0, watches = 0 }: Partial<KnownStore> & Pick<KnownStore, 'epoch'>): void {
    // A message from before the loss may come late.
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

  /** Writes of this process are missing. */
  suspect(): void {
    this.suspectedAt = this.process.monotonic();
    this.check();
  }

  /** Compares now. */
  check(): void {
    this.periodic?.trigger();
  }

  /** Compares now, and the records that this process knows as well. */
  checkRecords(): void {
    this.areRecordsDue = true;
    this.check();
  }

  /** The line of readiness about a loss; null without one in the last hour. */
  trouble(): string | null {
    const { lost } = this;
    return lost === null || this.process.now() - lost.at > DEGRADED_MS ? null : lossLine(lost);
  }

  /** @param renewed watches may be missing from the schedule, and cursors into the event log may be stale */
  start(renewed: () => void): void {
    this.renewed = renewed;
    const onError = faultLog(this.process.log, 'store_guard');
    this.known.load().then((isWhole) => (this.mayHaveLost ||= !isWhole), onError);
    this.periodic = startPeriodic(() => this.compare(), { everyMs: EVERY_MS, onError });
  }

  async stop(): Promise<void> {
    await this.periodic?.stop();
    await this.keep(0);
  }

  /** Writes the known state anew, where its file may be gone. */
  async keepAgain(): Promise<void> {
    this.kept = { text: '', at: -Infinity };
    await this.keep(0);
  }

  private async compare(): Promise<void> {
    const { epochs } = this.process.stores;
    await this.known.catchUp();
    // The state before the read: counters that arrive meanwhile may be higher than those read.
    const { store: known, suspectedAt } = this;
    const found = await epochs.read();
    const isSuspected = suspectedAt !== null && suspectedAt - this.renewedAt > ECHO_MS;
    const finding = compareStore(known, found, isSuspected);
    if (finding.kind === 'lost') await this.lose(finding.reason, known, found);
    else if (finding.kind === 'renewed') this.adopt(found);
    else {
      this.raise(found);
      await this.compareRecords(known, found);
    }
    // Where it failed, the next comparison has the suspicion still. Another may have come meanwhile.
    if (this.suspectedAt === suspectedAt) this.suspectedAt = null;
    if (this.owesWatches) await this.restore();
    await this.keep(KEEP_MS);
  }

  /** Compares what the store holds with what its own indexes say that it holds. */
  private async compareRecords(known: KnownStore, found: FoundStore): Promise<void> {
    const { monotonic, stores } = this.process;
    if (!this.areRecordsDue || monotonic() - this.renewedAt < DAMAGE_EVERY_MS) return;
    const lostWatches = await this.findLost();
    const damage = await stores.epochs.damage();
    this.areRecordsDue = false;
    if (lostWatches.length + damage.deliveries + damage.events > 0) {
      await this.lose('damaged', known, found, { ...damage, watches: lostWatches.length });
    }
  }

  private async findLost(): Promise<readonly NumberedWatch[]> {
    const { known } = this;
    const { watches } = this.process.stores;
    const absent = await known.absent();
    if (absent.length === 0 && !this.mayHaveLost) return [];
    const lost = await watches.lost(CHUNK);
    const ids = new Set(lost.map(({ key }) => watchId(key)));
    // The store has forgotten these in order; the message of that was lost.
    for (const key of absent) if (!ids.has(watchId(key))) known.forget(key);
    this.mayHaveLost = false;
    return lost;
  }

  private async lose(
    reason: LossReason,
    known: KnownStore,
    found: FoundStore,
    { watches, ...damage }: Damage & { watches?: number } = { deliveries: 0, events: 0 },
  ): Promise<void> {
    const { stores, metrics, log, now } = this.process;
    const missing = watches ?? (await this.known.missing()).length;
    const epochs = epochsAfter(newEpoch(), known, found);
    const [epoch = known.epoch] = epochs;
    const at = now();
    const data = lossData({ reason, known, found, epoch, missing, damage, at });
    const event = this.systemEvents.plan({ type: 'store.data_lost', data });
    const pools = await stores.epochs.renew(found.epochs, epochs, { event, damage });
    // Another process was first: the next comparison finds its epoch.
    if (pools === null) return this.check();
    log.error(data, 'store.data_lost');
    metrics.dataLost(reason);
    this.process.dispatch(pools);
    this.begin({ ...found, epochs }, reason);
  }

  private adopt(found: FoundStore): void {
    const fields = { epoch: found.epochs[0], previous_epoch: this.store.epoch };
    this.process.log.warn(fields, 'store.epoch_renewed');
    this.begin(found, null);
  }

  private begin(
    { epochs: [epoch = this.store.epoch], events, watches }: FoundStore,
    reason: LossReason | null,
  ): void {
    this.store = { epoch, events, watches };
    this.renewedAt = this.process.monotonic();
    this.lost = { reason, at: this.process.now(), restored: 0 };
    this.owesWatches = true;
  }

  /** After an error the next comparison tries again. */
  private async restore(): Promise<void> {
    const { lost, process } = this;
    const { repairs, watches } = process.stores;
    const restored = await registerAgain(process, await this.known.missing());
    // After that: what another process remembers is found by the same indexes.
    const left = await watches.lost(CHUNK);
    // What is dropped is found no more, and would keep its batches waiting.
    await repairs.leaveBatches(left);
    await watches.dropLost(left);
    this.owesWatches = false;
    if (lost !== null) this.lost = { ...lost, restored: lost.restored + restored };
    if (restored > 0) process.log.warn({ watches: restored }, 'store.watches_restored');
    this.renewed();
  }

  /** @param everyMs the least time since it was last kept, unless the epoch is new */
  private async keep(everyMs: number): Promise<void> {
    const { process, store, kept } = this;
    const text = JSON.stringify(store);
    const isDue = process.monotonic() - kept.at >= everyMs || !kept.text.includes(store.epoch);
    if (text === kept.text || !isDue) return;
    this.kept = { text, at: process.monotonic() };
    await this.file.write(store).catch(faultLog(process.log, 'store_file'));
  }
}

/** Watches written by one command. */
const CHUNK = 200;

/**
 * Registers watches again that the store has lost, with their former times and event numbers. A watch
 * that another process registered meanwhile does not change.
 * @returns how many were registered
 */
async function registerAgain(process: Process, lost: readonly KnownWatch[]): Promise<number> {
  const { watches } = process.stores;
  const now = process.now();
  const defaults = registerDefaults(process.config);
  let count = 0;
  for (let at = 0; at < lost.length; at += CHUNK) {
    const changes = lost.slice(at, at + CHUNK).map((known) => {
      const { source, runId, subscriptions } = known;
      const request = { source, runId, subscriptions };
      const { watch } = register(null, request, { now, defaults });
      const after = { ...watch, ...known };
      const schedule = { does: 'enter' as const, withinMs: 0, kind: pollKind(after, 0) };
      return { before: null, after, events: [], deliveries: [], schedule };
    });
    const written = await watches.commitMany(changes);
    count += written.filter((one) => one !== null).length;
  }
  return count;
}

const WHAT = {
  emptied: 'Redis holds nothing of runwatch any more: it was emptied, or started without its data',
  replaced: 'Redis holds the data of another store than before',
  rolled_back:
    'Redis has gone back to an earlier state: a failover or a restored backup lost the last writes',
  damaged: 'Redis has lost some of the records of runwatch, and holds others that point to them',
} as const satisfies Record<LossReason, string>;

const REMEDY =
  'watches that a process remembers are registered again, in no batch; register others, and the runs of batches, again yourself. Give Redis an append-only file, and keep other users from emptying it';

interface LossFacts {
  reason: LossReason;
  known: KnownStore;
  found: FoundStore;
  /** The epoch that begins. */
  epoch: string;
  /** Known watches that are missing from the store. */
  missing: number;
  /** Deliveries and events without a record; they are not sent. */
  damage: Damage;
  at: number;
}

/** The data of the log line and of `store.data_lost`. */
function lossData({ reason, known, found, epoch, missing, damage, at }: LossFacts) {
  return {
    reason,
    message: WHAT[reason],
    since: isoTime(at),
    detected_at: isoTime(at),
    epoch,
    previous_epoch: known.epoch,
    known: { events: known.events, watches: known.watches },
    found: { events: found.events, watches: found.watches },
    watches_missing: missing,
    deliveries_missing: damage.deliveries,
    events_missing: damage.events,
    remedy: REMEDY,
    help: REMEDY,
  };
}

/** A loss that this process or another one detected. */
interface NoticedLoss {
  /** Null if another process detected it. */
  reason: LossReason | null;
  at: number;
  /** Watches that this process has registered again. */
  restored: number;
}

/** The line of readiness about a loss. */
function lossLine({ reason, at, restored }: NoticedLoss): string {
  const why = reason === null ? 'another process says how' : WHAT[reason];
  return `data was lost at ${isoTime(at)} (${why}); this process registered ${restored} watches again`;
}
