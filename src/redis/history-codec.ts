import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Attempt, Delivery } from '../core/delivery/delivery.ts';
import type { RunwatchEvent } from '../core/event/event.ts';
import { SLOT } from '../core/watch/poll-history.ts';
import { RunwatchError } from '../core/errors.ts';
import { DICTIONARY } from './history-dictionary.ts';
import { IDENTITY_LENGTH, POLLS_MARK } from './stores/watch-record.ts';

/** A watch with everything that belongs to it. */
export interface History {
  /** Version and number of the watch, as they stand in its record. */
  identity: string;
  /** The rest of its live record; see `stores/watch-record.ts`. */
  rest: string;
  events: KeptEvent[];
  deliveries: KeptDelivery[];
}

/** An event, and its place in the log of all events. */
interface KeptEvent {
  place: number;
  /** The exact text that is sent. */
  body: string;
}

/** A delivery, and its number in the log of all deliveries. */
export interface KeptDelivery {
  number: number;
  version: number;
  /** Null while it is outstanding. */
  settledAt: number | null;
  delivery: Delivery;
  attempts: Attempt[];
}

/** The form that {@link packHistory} writes: the byte behind the identity. Live records have none. */
const FORM = 2;

/** Below this byte a record is packed: no live one goes on with a control character. */
const FIRST_LIVE_BYTE = 0x20;

/** What is kept of the answer to the last attempt of a dead delivery, in characters. */
const ANSWER_KEPT = 256;

/** The second line: an event is its text where its JSON would be written in another way. */
type PackedEvent = [place: number, event: unknown];

/** The third line. */
type PackedDelivery = [
  number: number,
  version: number,
  settledAt: number | null,
  delivery: Delivery,
  attempts: Attempt[],
];

/** What most records have when they are inflated, bytes; zlib's own buffer is four times as large. */
const INFLATED_BYTES = 4_096;

/** Whether a record is that of a packed watch. */
export function isPacked(record: Buffer): boolean {
  return (record[IDENTITY_LENGTH] ?? FIRST_LIVE_BYTE) < FIRST_LIVE_BYTE;
}

/**
 * The part of a packed record behind the identity: its form, and three lines, compressed. The first is
 * the rest of the live record, the others are JSON.
 */
export function packHistory({ rest, events, deliveries }: Omit<History, 'identity'>): Buffer {
  const packedEvents = events.map(({ place, body }): PackedEvent => [place, valueOf(body)]);
  const packedDeliveries = deliveries.map((kept): PackedDelivery => {
    const { number, version, settledAt, delivery } = kept;
    const attempts = kept.attempts.map((attempt) => keptAttempt(delivery, attempt));
    const last = delivery.last && keptAttempt(delivery, delivery.last);
    return [number, version, settledAt, { ...delivery, last }, attempts];
  });
  const lines = [
    mapPolls(rest, columnsOf),
    JSON.stringify(packedEvents),
    JSON.stringify(packedDeliveries),
  ];
  const bytes = deflateRawSync(lines.join('\n'), { level: 9, dictionary: DICTIONARY });
  return Buffer.concat([Buffer.of(FORM), bytes]);
}

/** The record of the watch alone, as it is while live. Throws RunwatchError `record_unknown`. */
export function unpackWatch(record: Buffer): string {
  return identityOf(record) + mapPolls(lineOf(inflate(record), 'rest'), rowsOf);
}

/** The reverse of {@link packHistory}, of a whole record. Throws RunwatchError `record_unknown`. */
export function unpackHistory(record: Buffer): History {
  const bytes = inflate(record);
  return {
    identity: identityOf(record),
    rest: mapPolls(lineOf(bytes, 'rest'), rowsOf),
    events: readEvents(bytes).map(([place, event]) => ({ place, body: textOf(event) })),
    deliveries: readDeliveries(bytes),
  };
}

/** The events of a packed record by their places. Throws RunwatchError `record_unknown`. */
export function unpackEvents(record: Buffer): Map<number, RunwatchEvent> {
  return new Map(
    readEvents(inflate(record)).map(([place, event]) => [
      place,
      (typeof event === 'string' ? JSON.parse(event) : event) as RunwatchEvent,
    ]),
  );
}

/** The deliveries of a packed record by their numbers. Throws RunwatchError `record_unknown`. */
export function unpackDeliveries(record: Buffer): Map<number, KeptDelivery> {
  return new Map(readDeliveries(inflate(record)).map((kept) => [kept.number, kept]));
}

/** A record with the text of its poll history rearranged. */
function mapPolls(rest: string, reorder: (polls: string) => string): string {
  const at = rest.indexOf(POLLS_MARK) + 1;
  return at === 0 ? rest : rest.slice(0, at) + reorder(rest.slice(at));
}

/**
 * The first characters of all slots, then the second ones: most are alike, and deflate takes long runs
 * for nothing. `bench -- memory` shows some 200 bytes more without.
 */
function columnsOf(polls: string): string {
  return transposed(polls, SLOT);
}

/** The reverse of {@link columnsOf}. */
function rowsOf(polls: string): string {
  return transposed(polls, polls.length / SLOT);
}

/** @param width characters of a row, each of one byte */
function transposed(text: string, width: number): string {
  const from = Buffer.from(text, 'latin1');
  const to = Buffer.allocUnsafe(from.length);
  const rows = from.length / width;
  let at = 0;
  for (let column = 0; column < width; column += 1) {
    for (let row = 0; row < rows; row += 1) {
      to[at] = from[row * width + column] ?? 0;
      at += 1;
    }
  }
  return to.toString('latin1');
}

/** One line alone: to make text of all takes longer than to inflate them. */
function lineOf(bytes: Buffer, line: 'rest' | 'events' | 'deliveries'): string {
  const events = bytes.indexOf('\n') + 1;
  if (line === 'rest') return bytes.toString('utf8', 0, events - 1);
  const deliveries = bytes.indexOf('\n', events) + 1;
  return line === 'events'
    ? bytes.toString('utf8', events, deliveries - 1)
    : bytes.toString('utf8', deliveries);
}

function readEvents(bytes: Buffer): PackedEvent[] {
  return JSON.parse(lineOf(bytes, 'events')) as PackedEvent[];
}

function readDeliveries(bytes: Buffer): KeptDelivery[] {
  return (JSON.parse(lineOf(bytes, 'deliveries')) as PackedDelivery[]).map(
    ([number, version, settledAt, delivery, attempts]) => ({
      number,
      version,
      settledAt,
      delivery,
      attempts,
    }),
  );
}

function textOf(event: unknown): string {
  return typeof event === 'string' ? event : JSON.stringify(event);
}

function identityOf(record: Buffer): string {
  return record.toString('latin1', 0, IDENTITY_LENGTH);
}

function inflate(record: Buffer): Buffer {
  const form = record[IDENTITY_LENGTH];
  if (form !== FORM) {
    throw new RunwatchError(
      `Redis holds a watch that is packed in form ${form}, and this version of runwatch knows ` +
        `form ${FORM}: run the version that wrote it`,
      { code: 'record_unknown' },
    );
  }
  const packed = record.subarray(IDENTITY_LENGTH + 1);
  return inflateRawSync(packed, { dictionary: DICTIONARY, chunkSize: INFLATED_BYTES });
}

function valueOf(body: string): unknown {
  const event: unknown = JSON.parse(body);
  return JSON.stringify(event) === body ? event : body;
}

/**
 * What is kept of an attempt once its delivery has settled: answers are dropped, but for the beginning
 * of the one that a dead delivery got last.
 */
function keptAttempt({ state, last }: Delivery, attempt: Attempt): Attempt {
  const isKept = state === 'dead' && attempt.at === last?.at;
  const response = isKept ? (attempt.response?.slice(0, ANSWER_KEPT) ?? null) : null;
  return { ...attempt, response };
}
