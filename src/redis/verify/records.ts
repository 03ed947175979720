import type { Redis } from 'ioredis';
import type { Attempt, Delivery } from '../../core/delivery/delivery.ts';
import { countedReceiver } from '../../core/delivery/receiver.ts';
import { isOutstanding } from '../../core/delivery/state.ts';
import { watchOfDelivery, watchOfEvent } from '../../core/event/ids.ts';
import { parseWatchId, watchId, type Watch, type WatchKey } from '../../core/watch/watch.ts';
import { isPacked } from '../history-codec.ts';
import { CHUNK, chunkOf } from '../index-columns.ts';
import type { Keys } from '../keys.ts';
import {
  deliveryRepair,
  eventPlan,
  liveNumber,
  watchPlan,
  type RepairPlan,
} from '../stores/repair-plan.ts';

/** A record by its name. */
export type Subject =
  | { is: 'watch'; watch: WatchKey }
  | { is: 'event'; id: string }
  | { is: 'delivery'; id: string };

/** A record as it was read. */
export interface ReadRecord {
  /** Null for what belongs nowhere: a part of a watch that is packed or gone. */
  plan: RepairPlan | null;
  /** Of a watch. */
  watch?: Watch;
  /** Bytes of a watch that is packed. */
  packedBytes?: number;
  /** What counters count of the deliveries in it. */
  receivers: string[];
  /** One that has not settled. */
  outstanding?: Delivery;
}

/** The name of a record in words. */
export function nameOf(subject: Subject): string {
  return subject.is === 'watch' ? watchId(subject.watch) : subject.id;
}

/** Reads records by their codecs, with the entries that they have elsewhere. Errors of codecs pass through. */
export class Records {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Null where there is none. */
  async read(subject: Subject): Promise<ReadRecord | null> {
    if (subject.is === 'watch') return this.readWatch(subject.watch);
    return subject.is === 'event' ? this.readEvent(subject.id) : this.readDelivery(subject.id);
  }

  private async readWatch(key: WatchKey): Promise<ReadRecord | null> {
    const record = await this.redis.getBuffer(this.keys.watch(key));
    if (record === null) return null;
    const { watch, plan, receivers } = watchPlan(this.keys, key, record);
    return { watch, plan, receivers, ...(isPacked(record) && { packedBytes: record.length }) };
  }

  private async readEvent(id: string): Promise<ReadRecord | null> {
    const { redis, keys } = this;
    const [place, body] = await redis.hmget(keys.event(id), 'place', 'body');
    if (!place || !body) return this.refuseTorn(keys.event(id));
    const watch = watchOfEvent(id);
    const owner = watch === null ? null : await this.numberOf(watch);
    if (watch !== null && owner === null) return { plan: null, receivers: [] };
    const plan = eventPlan(keys, body, { number: Number(place), owner, watch });
    if (watch === null && (await this.isForgotten(id, Number(place)))) {
      return { plan: { read: [], logs: [], indexes: [], sorted: [] }, receivers: [] };
    }
    return { plan, receivers: [] };
  }

  /** The text of an event about no run that has left the log is kept for its deliveries. */
  private async isForgotten(id: string, place: number): Promise<boolean> {
    const { redis, keys } = this;
    const [time, logged, kept] = await Promise.all([
      redis.zscore(keys.ownEvents, id),
      redis.hget(`${keys.eventLog}${chunkOf(place)}`, String(place % CHUNK)),
      redis.exists(keys.deliveriesOfEvent(id)),
    ]);
    return time === null && logged !== id && kept === 1;
  }

  private async readDelivery(id: string): Promise<ReadRecord | null> {
    const { redis, keys } = this;
    const fields = ['version', 'number', 'doc'] as const;
    const [version, number, doc] = await redis.hmget(keys.delivery(id), ...fields);
    if (!version || !number || !doc) return this.refuseTorn(keys.delivery(id));
    const delivery = JSON.parse(doc) as Delivery;
    const attempts = await redis.lrange(keys.attempts(id), 0, -1);
    for (const attempt of attempts) JSON.parse(attempt) as Attempt;
    const receivers = [countedReceiver(delivery.endpoint)];
    const watch = watchOfDelivery(id);
    const owner = watch === null ? null : await this.numberOf(watch);
    if (watch !== null && owner === null) return { plan: null, receivers };
    const plan = deliveryRepair(keys, delivery, { version, number: Number(number), owner });
    return { plan, receivers, ...(isOutstanding(delivery.state) && { outstanding: delivery }) };
  }

  /** Null for no key. @throws Error for a hash that lacks a field */
  private async refuseTorn(key: string): Promise<null> {
    if ((await this.redis.exists(key)) === 0) return null;
    throw new Error('fields are missing');
  }

  /** The number of a live watch; null where there is none. */
  private async numberOf(watch: WatchKey): Promise<string | null> {
    return liveNumber(await this.redis.getrangeBuffer(this.keys.watch(watch), 0, 25));
  }

  /** The record that a number in a log stands for; null where it stands for none. */
  async ofNumber(log: string, number: number): Promise<Subject | null> {
    const { redis, keys } = this;
    const value = await redis.hget(`${log}${chunkOf(number)}`, String(number % CHUNK));
    if (value === null) return null;
    if (log === keys.watchNames) return { is: 'watch', watch: parseWatchId(value) };
    const is = log === keys.eventLog ? 'event' : 'delivery';
    if (!/^\d+$/.test(value)) return { is, id: value };
    const owner = Number(value);
    const name = await redis.hget(`${keys.watchNames}${chunkOf(owner)}`, String(owner % CHUNK));
    if (name === null) return null;
    const watch = parseWatchId(name);
    const isLive = (await this.numberOf(watch)) !== null;
    if (!isLive) return { is: 'watch', watch };
    const live = is === 'event' ? keys.liveEvents(name) : keys.liveDeliveries(name);
    const [id] = await redis.zrangebyscore(live, number, number);
    return id === undefined ? null : { is, id };
  }
}
