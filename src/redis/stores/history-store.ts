import type { Redis } from 'ioredis';
import { isOutstanding } from '../../core/delivery/delivery.ts';
import { parseWatchId, watchId, type Watch, type WatchKey } from '../../core/watch/watch.ts';
import { declaredKeys, type Keys } from '../keys.ts';
import { isPacked, packHistory, type History } from '../history-codec.ts';
import { eventIndexes, watchIndexes } from '../indexes.ts';
import {
  foldedDeliveries,
  foldPlan,
  openFolded,
  readLiveHistory,
  settledAtOf,
  unfoldPlan,
  type FoldedWatch,
} from './history-plan.ts';
import { readWatch, writeRest } from './watch-record.ts';

/**
 * Events and deliveries of a watch that is folded: one with more is kept live. Bounds how long Redis is
 * busy with folding, and how much is read for one event.
 */
const MOST_FOLDED = 500;

/** For how long a watch is due no more that could not be folded, unless a delivery settles, ms. */
const AGAIN_MS = 600_000;

/** For how long a process has a watch that it folds, ms. */
const LEASE_MS = 5_000;

/** How much is folded. */
export interface FoldedSize {
  watches: number;
  /** Of their records. */
  bytes: number;
}

/**
 * `kept`: it may not be folded yet. `changed`: it has, since it was read. `long`: it has too many events
 * and deliveries. `unknown`: there is no such watch.
 */
type FoldResult = 'folded' | 'kept' | 'changed' | 'long' | 'unknown';

/**
 * Folds watches that have ended, once their deliveries have settled, and unfolds them; see
 * `lua/history.ts`. Each is one step or none. Errors of the connection pass through.
 */
export class HistoryStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Takes watches that have been due for folding since a time, for this process alone. */
  async takeDue(since: number, most: number): Promise<WatchKey[]> {
    const ids = await this.redis.rwTakeGone(this.keys.foldDue, since, LEASE_MS, most);
    return ids.map(parseWatchId);
  }

  /**
   * Folds a watch, if it has ended and nothing is outstanding.
   * @param isForced also the watch of a gone run that is still checked
   */
  async fold(
    key: WatchKey,
    { isForced = false }: { isForced?: boolean } = {},
  ): Promise<FoldResult> {
    const result = await this.tryFold(key, isForced);
    if (result === 'unknown') await this.redis.zrem(this.keys.foldDue, watchId(key));
    if (result !== 'kept' && result !== 'long') return result;
    await this.putOff(key, AGAIN_MS);
    // The last delivery may have settled in between: that made the watch due, and is undone.
    const now = await this.tryFold(key, isForced);
    if (now === 'changed') await this.putOff(key, 0);
    return now;
  }

  private async putOff(key: WatchKey, ms: number): Promise<void> {
    const [now] = await this.redis.rwReadClock(this.keys.clock);
    await this.redis.zadd(this.keys.foldDue, 'XX', now + ms, watchId(key));
  }

  private async tryFold(key: WatchKey, isForced: boolean): Promise<FoldResult> {
    const { keys } = this;
    const [record, events, deliveries] = await this.redis.rwReadHistoryBuffer(
      ...this.liveKeys(key),
      keys.event(''),
      keys.delivery(''),
      keys.attempts(''),
      keys.deliveriesSettled,
      MOST_FOLDED,
    );
    if (record === undefined) return 'unknown';
    if (isPacked(record)) return 'folded';
    const { watch } = readWatch(key, record.toString());
    if (watch.state === 'active') return 'kept';
    if (events === undefined || deliveries === undefined) return 'long';
    const history = readLiveHistory(record, events, deliveries);
    if (history.deliveries.some(({ delivery }) => isOutstanding(delivery.state))) return 'kept';
    if (!isForced && (await this.isChecked(watch))) return 'kept';
    const plan = foldPlan(keys, watch, history);
    const isFolded = await this.redis.rwFold(
      ...declaredKeys(keys, this.foldKeys(key), plan),
      history.identity,
      packHistory(history),
      JSON.stringify(plan),
    );
    return isFolded === 1 ? 'folded' : 'changed';
  }

  /** A run that is gone is still looked for. */
  private async isChecked(watch: Watch): Promise<boolean> {
    if (watch.state !== 'gone') return false;
    return (await this.redis.zscore(this.keys.goneChecks, watchId(watch))) !== null;
  }

  /** The watch as it is folded; null where it is live, or there is none. */
  async folded(key: WatchKey): Promise<FoldedWatch | null> {
    const record = await this.redis.getBuffer(this.keys.watch(key));
    return record === null || !isPacked(record) ? null : openFolded(key, record);
  }

  /** Makes a folded watch live again, with the same version. One that is live is left as it is. */
  async unfold(key: WatchKey): Promise<void> {
    const found = await this.folded(key);
    if (found === null) return;
    const { history } = found;
    const plan = unfoldPlan(this.keys, found);
    await this.redis.rwUnfold(
      ...declaredKeys(this.keys, [...this.foldKeys(key), this.keys.clock], plan),
      history.identity,
      history.rest,
      JSON.stringify(plan),
    );
  }

  /** Writes a change of the watch alone into its packed record. @returns false where it has changed */
  async rewrite(key: WatchKey, version: number, after: Watch): Promise<boolean> {
    const found = await this.folded(key);
    if (found === null || Number(found.history.identity.slice(0, 12)) !== version) return false;
    const rest = writeRest(after);
    return this.repack(found, { ...found.history, rest }, []);
  }

  /** Forgets deliveries of a folded watch, by their numbers. @returns how many */
  async dropDeliveries(found: FoldedWatch, numbers: ReadonlySet<number>): Promise<number> {
    const { history } = found;
    const dropped = history.deliveries.filter(({ number }) => numbers.has(number));
    const deliveries = history.deliveries.filter(({ number }) => !numbers.has(number));
    const isWritten = await this.repack(found, { ...history, deliveries }, dropped);
    return isWritten ? dropped.length : 0;
  }

  private async repack(
    { watch, number, history: { identity } }: FoldedWatch,
    after: History,
    dropped: History['deliveries'],
  ): Promise<boolean> {
    const { keys } = this;
    const plan = {
      number,
      ...settledAtOf(after),
      ...foldedDeliveries(keys, dropped),
    };
    const byPlace = [keys.watch(watch), keys.folded, keys.deliveriesSettled];
    const written = await this.redis.rwRepack(
      ...declaredKeys(keys, byPlace, plan),
      identity,
      packHistory(after),
      JSON.stringify(plan),
    );
    return written === 1;
  }

  /** Forgets a folded watch with its events and deliveries. @returns false where it has changed */
  async forget({ watch, number, history }: FoldedWatch): Promise<boolean> {
    const { keys } = this;
    const plan = {
      number,
      member: watchId(watch),
      source: watch.source,
      sources: keys.watchSources,
      names: keys.watchNames,
      indexes: watchIndexes(keys, watch),
      ended: keys.watchesEnded,
      changed: keys.watchesChanged,
      goneChecks: keys.goneChecks,
      eventLog: keys.eventLog,
      events: history.events.map(({ place, body }) => ({
        place,
        indexes: eventIndexes(keys, JSON.parse(body)),
      })),
      ...foldedDeliveries(keys, history.deliveries),
    };
    const byPlace = [keys.watch(watch), keys.folded, keys.deliveriesSettled];
    const forgotten = await this.redis.rwForgetFolded(
      ...declaredKeys(keys, byPlace, plan),
      history.identity,
      JSON.stringify(plan),
    );
    return forgotten === 1;
  }

  async size(): Promise<FoldedSize> {
    const [watches, bytes] = await this.redis.hmget(this.keys.folded, 'watches', 'bytes');
    return { watches: Number(watches ?? 0), bytes: Number(bytes ?? 0) };
  }

  private liveKeys(key: WatchKey): [string, string, string] {
    const id = watchId(key);
    return [this.keys.watch(key), this.keys.liveEvents(id), this.keys.liveDeliveries(id)];
  }

  private foldKeys(key: WatchKey): string[] {
    const { folded, deliveriesSettled, foldDue } = this.keys;
    return [...this.liveKeys(key), folded, deliveriesSettled, foldDue];
  }
}
