import type { Redis } from 'ioredis';
import { isOutstanding } from '../../core/delivery/delivery.ts';
import { parseWatchId, watchId, type Watch, type WatchKey } from '../../core/watch/watch.ts';
import type { WatchIdentity } from '../commit.ts';
import { declaredKeys, type Keys } from '../keys.ts';
import { isPacked, packHistory, type History } from '../history-codec.ts';
import { eventIndexes, watchIndexes } from '../indexes.ts';
import { runIdPlan } from '../run-ids.ts';
import {
  packedDeliveries,
  packPlan,
  openPacked,
  readLiveHistory,
  settledAtOf,
  unpackPlan,
  type PackedWatch,
} from './history-plan.ts';
import {
  IDENTITY_LENGTH,
  readIdentity,
  readWatch,
  writeIdentity,
  writeRest,
} from './watch-record.ts';

/**
 * Events and deliveries of a watch that is packed: one with more is kept live. Bounds how long Redis is
 * busy with packing, and how much is read for one event.
 */
const MOST_PACKED = 500;

/** For how long a watch is due no more that could not be packed, unless a delivery settles, ms. */
const AGAIN_MS = 600_000;

/** For how long a process has a watch that it packs, ms. */
const LEASE_MS = 5_000;

/** How much is packed. */
export interface PackedSize {
  watches: number;
  /** Of their records. */
  bytes: number;
}

/**
 * `kept`: it may not be packed yet. `changed`: it has, since it was read. `long`: it has too many events
 * and deliveries. `unknown`: there is no such watch.
 */
type PackResult = 'packed' | 'kept' | 'changed' | 'long' | 'unknown';

/**
 * Packs watches that have ended, once their deliveries have settled, and unpacks them; see
 * `lua/history.ts`. Each is one step or none. Errors of the connection pass through.
 */
export class HistoryStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Takes watches that have been due for packing since a time, for this process alone. */
  async takeDue(since: number, most: number): Promise<WatchKey[]> {
    const ids = await this.redis.rwTakeGone(this.keys.packDue, since, LEASE_MS, most);
    return ids.map(parseWatchId);
  }

  /**
   * Packs a watch, if it has ended and nothing is outstanding.
   * @param isForced also the watch of a gone run that is still checked
   */
  async pack(
    key: WatchKey,
    { isForced = false }: { isForced?: boolean } = {},
  ): Promise<PackResult> {
    const result = await this.tryPack(key, isForced);
    if (result === 'unknown') {
      await this.redis.rwDropPackDue(this.keys.watch(key), this.keys.packDue, watchId(key));
    }
    if (result !== 'kept' && result !== 'long') return result;
    await this.putOff(key, AGAIN_MS);
    // The last delivery may have settled in between: that made the watch due, and is undone.
    const now = await this.tryPack(key, isForced);
    if (now === 'changed') await this.putOff(key, 0);
    return now;
  }

  private async putOff(key: WatchKey, ms: number): Promise<void> {
    const [now] = await this.redis.rwReadClock(this.keys.clock);
    await this.redis.rwPutOff(this.keys.packDue, watchId(key), now + ms);
  }

  private async tryPack(key: WatchKey, isForced: boolean): Promise<PackResult> {
    const { keys } = this;
    const [record, events, deliveries] = await this.redis.rwReadHistoryBuffer(
      ...this.liveKeys(key),
      keys.event(''),
      keys.delivery(''),
      keys.attempts(''),
      keys.deliveriesSettled,
      MOST_PACKED,
    );
    if (record === undefined) return 'unknown';
    if (isPacked(record)) return 'packed';
    const { watch } = readWatch(key, record.toString());
    if (watch.state === 'active') return 'kept';
    if (events === undefined || deliveries === undefined) return 'long';
    const history = readLiveHistory(record, events, deliveries);
    if (history.deliveries.some(({ delivery }) => isOutstanding(delivery.state))) return 'kept';
    if (!isForced && (await this.isChecked(watch))) return 'kept';
    const plan = packPlan(keys, watch, history);
    const packed = await this.redis.rwPack(
      ...declaredKeys(keys, this.packKeys(key), plan),
      history.identity,
      packHistory(history),
      JSON.stringify(plan),
    );
    return packed === 1 ? 'packed' : 'changed';
  }

  /** A run that is gone is still looked for. */
  private async isChecked(watch: Watch): Promise<boolean> {
    if (watch.state !== 'gone') return false;
    return (await this.redis.zscore(this.keys.goneChecks, watchId(watch))) !== null;
  }

  /** The number of a watch in either state; null where there is none. */
  async numberOf(key: WatchKey): Promise<string | null> {
    const identity = await this.redis.getrange(this.keys.watch(key), 0, IDENTITY_LENGTH - 1);
    return identity === '' ? null : String(readIdentity(identity).number);
  }

  /** The watch as it is packed; null where it is live, or there is none. */
  async packed(key: WatchKey): Promise<PackedWatch | null> {
    const record = await this.redis.getBuffer(this.keys.watch(key));
    return record === null || !isPacked(record) ? null : openPacked(key, record);
  }

  /** Makes a packed watch live again, with the same version. One that is live is left as it is. */
  async unpack(key: WatchKey): Promise<void> {
    const found = await this.packed(key);
    if (found === null) return;
    const { history } = found;
    const plan = unpackPlan(this.keys, found);
    await this.redis.rwUnpack(
      ...declaredKeys(this.keys, [...this.packKeys(key), this.keys.clock], plan),
      history.identity,
      history.rest,
      JSON.stringify(plan),
    );
  }

  /** Writes a change of the watch alone into its packed record. @returns false where it has changed */
  async rewrite(before: WatchIdentity, after: Watch): Promise<boolean> {
    const found = await this.packed(after);
    if (found === null || found.history.identity !== writeIdentity(before)) return false;
    const rest = writeRest(after);
    return this.repack(found, { ...found.history, rest }, []);
  }

  /** Forgets deliveries of a packed watch, by their numbers. @returns how many */
  async dropDeliveries(found: PackedWatch, numbers: ReadonlySet<number>): Promise<number> {
    const { history } = found;
    const dropped = history.deliveries.filter(({ number }) => numbers.has(number));
    const deliveries = history.deliveries.filter(({ number }) => !numbers.has(number));
    const isWritten = await this.repack(found, { ...history, deliveries }, dropped);
    return isWritten ? dropped.length : 0;
  }

  private async repack(
    { watch, number, history: { identity } }: PackedWatch,
    after: History,
    dropped: History['deliveries'],
  ): Promise<boolean> {
    const { keys } = this;
    const plan = {
      number,
      ...settledAtOf(after),
      ...packedDeliveries(keys, dropped),
    };
    const byPlace = [keys.watch(watch), keys.packed, keys.deliveriesSettled];
    const written = await this.redis.rwRepack(
      ...declaredKeys(keys, byPlace, plan),
      identity,
      packHistory(after),
      JSON.stringify(plan),
    );
    return written === 1;
  }

  /** Forgets a packed watch with its events and deliveries. @returns false where it has changed */
  async forget({ watch, number, history }: PackedWatch): Promise<boolean> {
    const { keys } = this;
    const plan = {
      number,
      member: watchId(watch),
      source: watch.source,
      sources: keys.watchSources,
      names: keys.watchNames,
      ...runIdPlan(keys, watch),
      indexes: watchIndexes(keys, watch),
      ended: keys.watchesEnded,
      changed: keys.watchesChanged,
      goneChecks: keys.goneChecks,
      eventLog: keys.eventLog,
      events: history.events.map(({ place, body }) => ({
        place,
        indexes: eventIndexes(keys, JSON.parse(body)),
      })),
      ...packedDeliveries(keys, history.deliveries),
    };
    const byPlace = [keys.watch(watch), keys.packed, keys.deliveriesSettled];
    const forgotten = await this.redis.rwForgetPacked(
      ...declaredKeys(keys, byPlace, plan),
      history.identity,
      JSON.stringify(plan),
    );
    return forgotten === 1;
  }

  async size(): Promise<PackedSize> {
    const [watches, bytes] = await this.redis.hmget(this.keys.packed, 'watches', 'bytes');
    return { watches: Number(watches ?? 0), bytes: Number(bytes ?? 0) };
  }

  private liveKeys(key: WatchKey): [string, string, string] {
    const id = watchId(key);
    return [this.keys.watch(key), this.keys.liveEvents(id), this.keys.liveDeliveries(id)];
  }

  private packKeys(key: WatchKey): string[] {
    const { packed, deliveriesSettled, packDue } = this.keys;
    return [...this.liveKeys(key), packed, deliveriesSettled, packDue];
  }
}
