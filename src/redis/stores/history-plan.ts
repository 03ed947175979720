import type { Attempt, Delivery } from '../../core/delivery/delivery.ts';
import { watchId, type Watch, type WatchKey } from '../../core/watch/watch.ts';
import type { StoredWatch } from '../commit.ts';
import {
  isPacked,
  unpackHistory,
  unpackWatch,
  type History,
  type KeptDelivery,
} from '../history-codec.ts';
import { deliveryIndexes } from '../indexes.ts';
import { countField, type Keys } from '../keys.ts';
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
  const { watch, version, number } = readWatch(key, unpackWatch(record));
  return { watch, version, number, isPacked: true };
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

/** Reads what `READ_HISTORY` of `lua/history.ts` replies of a live watch. */
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
export function packPlan(keys: Keys, watch: Watch, history: History) {
  return {
    member: watchId(watch),
    number: String(numberOf(history)),
    ...settledAtOf(history),
    events: history.events.map(({ body }) => keys.event(eventIdOf(body))),
    deliveries: history.deliveries.map(({ version, number, delivery: { id } }) => ({
      id,
      version: String(version),
      number: String(number),
      key: keys.delivery(id),
      attempts: keys.attempts(id),
    })),
  };
}

/** The same the other way round. */
export function unpackPlan(keys: Keys, { watch, number, history }: PackedWatch) {
  return {
    member: watchId(watch),
    number,
    events: history.events.map(({ place, body }) => {
      const id = eventIdOf(body);
      return { id, key: keys.event(id), place, body };
    }),
    deliveries: history.deliveries.map((kept) => {
      const { delivery, attempts, ...fields } = kept;
      return {
        ...fields,
        settledAt: fields.settledAt ?? 0,
        id: delivery.id,
        key: keys.delivery(delivery.id),
        doc: JSON.stringify(delivery),
        event: delivery.eventId,
        attempts: keys.attempts(delivery.id),
        attemptTexts: attempts.map((attempt) => JSON.stringify(attempt)),
      };
    }),
  };
}

/** Deliveries that leave log, indexes and counters. */
export function packedDeliveries(keys: Keys, deliveries: readonly KeptDelivery[]) {
  return {
    deliveryLog: keys.deliveryLog,
    deliveryCounts: keys.deliveryCounts,
    deliveries: deliveries.map(({ number, delivery }) => ({
      number,
      indexes: deliveryIndexes(keys, delivery),
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
