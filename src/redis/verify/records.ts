import type { Redis } from 'ioredis';
import { groupOfAlert, type Alert } from '../../core/alert/alert.ts';
import type { Group } from '../../core/alert/group.ts';
import type { Attempt, Delivery } from '../../core/delivery/delivery.ts';
import { isOutstanding } from '../../core/delivery/state.ts';
import { BATCH_STATES, type Batch } from '../../core/batch.ts';
import { watchOfDelivery, watchOfEvent } from '../../core/event/ids.ts';
import { parseWatchId, watchId, type Watch, type WatchKey } from '../../core/watch/watch.ts';
import { unlessOutage } from '../failures.ts';
import { isPacked } from '../history-codec.ts';
import { CHUNK, chunkOf } from '../index-columns.ts';
import { kindOfKey } from '../key-sizes.ts';
import type { Keys } from '../keys.ts';
import { runIdOf } from '../run-ids.ts';
import { alertIndexes } from '../stores/alert-store.ts';
import { hasLiveWebhook, readBatch } from '../stores/batch-store.ts';
import {
  deliveryRepair,
  eventPlan,
  liveNumber,
  watchPlan,
  type RepairPlan,
} from '../stores/repair-plan.ts';

import { isNumber, sourceOfRunIds, type Entry } from './entries.ts';

/** A record by its name. */
export type Subject = { is: 'watch'; watch: WatchKey } | { is: NamedKind; id: string };

/** The records whose keys end with their ids: an open alert is in the record of its group. */
const NAMED = ['event', 'delivery', 'alert', 'alert-group', 'batch'] as const;

type NamedKind = (typeof NAMED)[number];

/** The sorted sets whose members are ids of records of one kind. */
const NAMED_BY_MEMBERS: Readonly<Partial<Record<string, NamedKind>>> = {
  'own-events': 'event',
  'live-events': 'event',
  'live-deliveries': 'delivery',
  'event-deliveries': 'delivery',
  'alerts-resolved': 'alert',
  batches: 'batch',
  'batch-webhooks': 'batch',
  'batches-idle': 'batch',
};

/** The record whose key has some kind and id; null for keys of other kinds, and of watches. */
export function namedSubject(kind: string, id: string): Subject | null {
  const is = NAMED.find((one) => one === kind);
  return is === undefined ? null : { is, id };
}

/** A record as it was read. */
export interface ReadRecord {
  /** Null for what belongs nowhere: a part of a watch that is packed or gone. */
  plan: RepairPlan | null;
  /** The record itself, of a watch and of a batch. */
  watch?: Watch;
  batch?: Batch;
  /** Bytes of a watch that is packed. */
  packedBytes?: number;
  /** The delivery itself, or those that are packed with a watch: counters count them. */
  deliveries: Delivery[];
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
    switch (subject.is) {
      case 'watch':
        return this.readWatch(subject.watch);
      case 'event':
        return this.readEvent(subject.id);
      case 'delivery':
        return this.readDelivery(subject.id);
      case 'alert':
        return this.readAlert(subject.id);
      case 'alert-group':
        return this.readGroup(subject.id);
      case 'batch':
        return this.readBatch(subject.id);
    }
  }

  /** Those of watches, by one command; an Error where it cannot be read. */
  async readWatches(watches: readonly WatchKey[]): Promise<(ReadRecord | Error | null)[]> {
    if (watches.length === 0) return [];
    const found = await this.redis.mgetBuffer(watches.map((key) => this.keys.watch(key)));
    return Promise.all(
      watches.map(async (key, at) => {
        const record = found[at] ?? null;
        try {
          // That one of another type is there, only a command for one key says.
          return record === null ? await this.readWatch(key) : this.parseWatch(key, record);
        } catch (error) {
          return unlessOutage(error);
        }
      }),
    );
  }

  private async readWatch(key: WatchKey): Promise<ReadRecord | null> {
    const record = await this.redis.getBuffer(this.keys.watch(key));
    return record === null ? null : this.parseWatch(key, record);
  }

  private parseWatch(key: WatchKey, record: Buffer): ReadRecord {
    const read = watchPlan(this.keys, key, record);
    return { ...read, ...(isPacked(record) && { packedBytes: record.length }) };
  }

  private async readEvent(id: string): Promise<ReadRecord | null> {
    const { redis, keys } = this;
    const [place, body] = await redis.hmget(keys.event(id), 'place', 'body');
    if (!place || !body) return this.refuseTorn(keys.event(id));
    const watch = watchOfEvent(id);
    const owner = watch === null ? null : await this.numberOf(watch);
    if (watch !== null && owner === null) return { plan: null, deliveries: [] };
    const plan = eventPlan(keys, body, { number: Number(place), owner, watch });
    if (watch === null && (await this.isForgotten(id, Number(place)))) {
      return inSorted([]);
    }
    return { plan, deliveries: [] };
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
    const fields = ['version', 'number', 'doc', 'event'] as const;
    const [version, number, doc, event] = await redis.hmget(keys.delivery(id), ...fields);
    if (!version || !number || !doc) return this.refuseTorn(keys.delivery(id));
    const delivery = JSON.parse(doc) as Delivery;
    if (event !== delivery.eventId)
      throw new Error(`it is about ${delivery.eventId}, not ${event}`);
    const attempts = await redis.lrange(keys.attempts(id), 0, -1);
    for (const attempt of attempts) JSON.parse(attempt) as Attempt;
    const deliveries = [delivery];
    const watch = watchOfDelivery(id);
    const owner = watch === null ? null : await this.numberOf(watch);
    if (watch !== null && owner === null) return { plan: null, deliveries };
    const plan = deliveryRepair(keys, delivery, { version, number: Number(number), owner });
    return { plan, deliveries, ...(isOutstanding(delivery.state) && { outstanding: delivery }) };
  }

  private async readAlert(id: string): Promise<ReadRecord | null> {
    const text = await this.redis.get(this.keys.resolvedAlert(id));
    if (text === null) return null;
    const alert = JSON.parse(text) as Alert;
    const resolved = { key: this.keys.alertsResolved, score: alert.resolvedAt ?? 0, member: id };
    return inSorted([resolved, ...this.placesOf(alert)]);
  }

  private async readGroup(id: string): Promise<ReadRecord | null> {
    const [version, doc] = await this.redis.hmget(this.keys.alertGroup(id), 'version', 'doc');
    if (!version || !doc) return this.refuseTorn(this.keys.alertGroup(id));
    const { open } = JSON.parse(doc) as Group;
    return inSorted(open === null ? [] : this.placesOf(open.alert));
  }

  private placesOf(alert: Alert): Sorted {
    const { id: member, startedAt: score } = alert;
    return alertIndexes(this.keys, alert).map((key) => ({ key, score, member }));
  }

  private async readBatch(id: string): Promise<ReadRecord | null> {
    const { redis, keys } = this;
    const fields = await redis.hgetall(keys.batch(id));
    const found = readBatch(fields);
    if (found === null) return this.refuseTorn(keys.batch(id));
    const { batch } = found;
    const { joined = '', version = '', idle = '1' } = fields;
    const isWhole = NUMBER.test(joined) && NUMBER.test(version) && idle === '1';
    if (!isWhole || !BATCH_STATES.includes(batch.state)) throw new Error('fields are damaged');
    const place = { score: batch.createdAt, member: id };
    const sorted = [
      { key: keys.batches, ...place },
      ...(hasLiveWebhook(batch) ? [{ key: keys.batchWebhooks, ...place }] : []),
      ...(fields['idle'] === undefined ? [] : [{ key: keys.batchesIdle, ...place }]),
    ];
    return { ...inSorted(sorted), batch };
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

  /** The record that an entry stands for; null where it stands for none. */
  async ofEntry({ key, name }: Entry): Promise<Subject | null> {
    const { keys } = this;
    const kind = kindOfKey(keys, key);
    const is = NAMED_BY_MEMBERS[kind];
    if (is !== undefined) return { is, id: name };
    if (kind === 'alerts') return this.ofAlert(name);
    if (kind === 'pack-due') return { is: 'watch', watch: parseWatchId(name) };
    if (kind === 'run-ids') {
      return { is: 'watch', watch: { source: sourceOfRunIds(keys, key), runId: runIdOf(name) } };
    }
    if (kind === 'deliveries-settled' && !isNumber(name)) return { is: 'delivery', id: name };
    return this.ofNumber(this.logOf(kind), Number(name));
  }

  /** The log of the numbers in keys of a kind. */
  private logOf(kind: string): string {
    const { eventLog, deliveryLog, watchNames } = this.keys;
    if (kind === 'events' || kind === 'event-log') return eventLog;
    return kind === 'deliveries' || kind === 'delivery-log' ? deliveryLog : watchNames;
  }

  /** An alert is in the record of its group until it has resolved. */
  private async ofAlert(id: string): Promise<Subject> {
    const isResolved = (await this.redis.exists(this.keys.resolvedAlert(id))) === 1;
    return isResolved ? { is: 'alert', id } : { is: 'alert-group', id: groupOfAlert(id) ?? '' };
  }

  /** The record that a number in a log stands for; null where it stands for none. */
  private async ofNumber(log: string, number: number): Promise<Subject | null> {
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

type Sorted = RepairPlan['sorted'];

/** A record that belongs in sorted sets alone. */
function inSorted(sorted: Sorted): ReadRecord {
  return { plan: { read: [], logs: [], indexes: [], sorted }, deliveries: [] };
}

const NUMBER = /^\d+$/;
