import type { Redis } from 'ioredis';
import type { Attempt, Delivery } from '../../core/delivery/delivery.ts';
import { watchId, type Watch, type WatchKey } from '../../core/watch/watch.ts';
import type { StoredWatch } from '../watch-change.ts';
import {
  isPacked,
  unpackHistory,
  unpackWatch,
  type History,
  type KeptDelivery,
} from '../history-codec.ts';
import { deliveryIndexes } from '../indexes.ts';
import { countField, type Keys, type PlanKeys } from '../keys.ts';
import { IS_PACKED } from '../lua/numbers.ts';
import { script } from '../script.ts';
import { IDENTITY_LENGTH, readIdentity, readWatch, withoutMetadata } from './watch-record.ts';

/** A watch that is packed, as it was read. */
export interface PackedWatch {
  watch: Watch;
  number: string;
  history: History;
}

/** A reply of Redis as bytes; integers are left as they are. */
export type BytesReply = (Buffer | BytesReply)[];

/** Reads a watch in either state; null where there is none. */
export function readStored(key: WatchKey, record: Buffer | null): StoredWatch | null {
  if (record === null) return null;
  if (!isPacked(record)) return readWatch(key, record.toString());
  return { ...readWatch(key, unpackWatch(record)), isPacked: true };
}

/** {@link readStored} without the metadata of a live watch. */
export function readBare(key: WatchKey, record: Buffer | null): StoredWatch | null {
  if (record === null || isPacked(record)) return readStored(key, record);
  const { watch, version, number } = readWatch(key, withoutMetadata(record));
  return { watch, version, number };
}

/** Reads the record of a packed watch. Throws RunwatchError `record_unknown`. */
export function openPacked(key: WatchKey, record: Buffer): PackedWatch {
  const history = unpackHistory(record);
  const { watch } = readWatch(key, history.identity + history.rest);
  return { watch, number: String(numberOf(history)), history };
}

/**
 * A watch with what belongs to it, as it is at one moment. `events`, `deliveries` and `attempts` are how their keys
 * begin.
 * Returns [record] alone for a packed watch and for one with more than `most` events and deliveries. Else [record,
 * events, deliveries]. Events are place and text in turn; deliveries are number, version, document, time of
 * settling or '', attempts, in turn.
 */
const READ_HISTORY = script(
  'rwReadHistory',
  {
    keys: ['watch', 'liveEvents', 'liveDeliveries', 'deliveriesSettled'],
    args: ['events', 'deliveries', 'attempts', 'most'],
    isBytes: true,
    reply: (reply: [record?: Buffer, events?: Buffer[], deliveries?: BytesReply]) => reply,
  },
  `
${IS_PACKED}
local record = redis.call('GET', keys.watch)
if not record then return {} end
local count = redis.call('ZCARD', keys.liveEvents) + redis.call('ZCARD', keys.liveDeliveries)
if isPacked(keys.watch) or count > tonumber(args.most) then return {record} end
local events, deliveries = {}, {}
local found = redis.call('ZRANGE', keys.liveEvents, 0, -1, 'WITHSCORES')
for at = 1, #found, 2 do
  events[#events + 1] = found[at + 1]
  events[#events + 1] = redis.call('HGET', args.events .. found[at], 'body') or ''
end
found = redis.call('ZRANGE', keys.liveDeliveries, 0, -1, 'WITHSCORES')
for at = 1, #found, 2 do
  local id = found[at]
  local version, doc = unpack(redis.call('HMGET', args.deliveries .. id, 'version', 'doc'))
  local settledAt = redis.call('ZSCORE', keys.deliveriesSettled, id) or ''
  local attempts = redis.call('LRANGE', args.attempts .. id, 0, -1)
  for _, part in ipairs({found[at + 1], version or '', doc or '', settledAt, attempts}) do
    deliveries[#deliveries + 1] = part
  end
end
return {record, events, deliveries}
`,
);

/** Reads a watch with what belongs to it: parts of {@link readLiveHistory}, or the record alone. */
export function readHistory(redis: Redis, keys: Keys, key: WatchKey, most: number) {
  return READ_HISTORY.run(
    redis,
    { ...liveKeys(keys, key), deliveriesSettled: keys.deliveriesSettled },
    { events: keys.event(''), deliveries: keys.delivery(''), attempts: keys.attempts(''), most },
  );
}

/** The keys of a live watch. */
export function liveKeys(keys: Keys, key: WatchKey) {
  const id = watchId(key);
  return {
    watch: keys.watch(key),
    liveEvents: keys.liveEvents(id),
    liveDeliveries: keys.liveDeliveries(id),
  };
}

/** Reads what {@link readHistory} finds of a live watch. */
export function readLiveHistory(
  record: Buffer,
  events: BytesReply,
  deliveries: BytesReply,
): History {
  const text = record.toString();
  const places = rowsOf(events, 2);
  return {
    identity: text.slice(0, IDENTITY_LENGTH),
    rest: text.slice(IDENTITY_LENGTH),
    events: places.map(([place, body]) => ({ place: Number(place), body: String(body) })),
    deliveries: rowsOf(deliveries, 5).map(([number, version, doc, settledAt, attempts]) => ({
      number: Number(number),
      version: Number(version),
      settledAt: String(settledAt) === '' ? null : Number(settledAt),
      delivery: JSON.parse(String(doc)) as Delivery,
      attempts: (attempts as Buffer[]).map((attempt) => JSON.parse(String(attempt)) as Attempt),
    })),
  };
}

/** What the script has to do besides writing the record. */
export function packPlan({ keys, declare }: PlanKeys, watch: Watch, history: History) {
  return {
    member: watchId(watch),
    number: String(numberOf(history)),
    ...settledAtOf(history),
    events: history.events.map(({ body }) => declare(keys.event(eventIdOf(body)))),
    deliveries: history.deliveries.map(({ version, number, delivery: { id } }) => ({
      id,
      version: String(version),
      number: String(number),
      key: declare(keys.delivery(id)),
      attempts: declare(keys.attempts(id)),
    })),
  };
}

/** The same the other way round. */
export function unpackPlan({ keys, declare }: PlanKeys, { watch, number, history }: PackedWatch) {
  return {
    member: watchId(watch),
    number,
    events: history.events.map(({ place, body }) => {
      const id = eventIdOf(body);
      return { id, key: declare(keys.event(id)), place, body };
    }),
    deliveries: history.deliveries.map((kept) => {
      const { delivery, attempts, ...fields } = kept;
      return {
        ...fields,
        settledAt: fields.settledAt ?? 0,
        id: delivery.id,
        key: declare(keys.delivery(delivery.id)),
        doc: JSON.stringify(delivery),
        event: delivery.eventId,
        attempts: declare(keys.attempts(delivery.id)),
        attemptTexts: attempts.map((attempt) => JSON.stringify(attempt)),
      };
    }),
  };
}

/** Deliveries that leave log, indexes and counters. */
export function packedDeliveries(
  { keys, declareAll }: PlanKeys,
  deliveries: readonly KeptDelivery[],
) {
  return {
    deliveryLog: keys.deliveryLog,
    deliveries: deliveries.map(({ number, delivery }) => ({
      number,
      indexes: declareAll(deliveryIndexes(keys, delivery)),
      count: countField(delivery),
    })),
  };
}

/** When the first delivery settled that is kept. */
export function settledAtOf({ deliveries }: Pick<History, 'deliveries'>): { settledAt?: number } {
  if (deliveries.length === 0) return {};
  return { settledAt: Math.min(...deliveries.map(({ settledAt }) => settledAt ?? 0)) };
}

/** The id of an event by its text. */
export function eventIdOf(body: string): string {
  return (JSON.parse(body) as { id: string }).id;
}

function numberOf({ identity }: History): number {
  return readIdentity(identity).number;
}

function rowsOf(flat: BytesReply, width: number): BytesReply[] {
  return Array.from({ length: flat.length / width }, (_, at) =>
    flat.slice(at * width, (at + 1) * width),
  );
}
