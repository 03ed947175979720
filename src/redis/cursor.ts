import type { Redis } from 'ioredis';
import { RunwatchError } from '../core/errors.ts';
import type { Keys } from './keys.ts';

interface OpenedCursor {
  /** The place to go on from; undefined begins. */
  from: string | undefined;
  /** The time of the record at that place, in listings that go by it. */
  at: string | undefined;
  /** The cursor of a place, perhaps with the time of its record. */
  cursorAt: (place: string, at?: number) => string;
  /** The highest place. */
  end: string;
}

/**
 * Reads a cursor: a place, and the epoch of the store that it is in, since another store has other
 * records at that place.
 * Throws RunwatchError `invalid_cursor`, `stale_cursor`.
 * @param counter what gives the records their place
 */
export async function openCursor(
  redis: Redis,
  keys: Keys,
  counter: string,
  cursor: string | undefined,
): Promise<OpenedCursor> {
  const given = cursor === undefined ? null : parse(cursor);
  const [names, end] = await redis.mget(keys.epochs, counter);
  const epoch = presentEpoch(names);
  const last = end ?? '0';
  if (given !== null && (given.epoch !== epoch || Number(given.place) > Number(last))) {
    throw staleCursor();
  }
  return {
    from: given?.place,
    at: given?.at,
    cursorAt: (place, at) => [epoch, place, at].filter((part) => part !== undefined).join('-'),
    end: last,
  };
}

function parse(cursor: string): { epoch: string; place: string; at: string | undefined } {
  const [, epoch, place, at] = /^([0-9a-z]*)-(\d{1,15})(?:-(\d{1,15}))?$/.exec(cursor) ?? [];
  if (epoch !== undefined && place !== undefined) return { epoch, place, at };
  throw invalidCursor();
}

/** A place in a listing by time: of ids of the same time, in the order of their bytes. */
export interface TimePlace {
  id: string;
  at: number;
}

export function comparePlaces(a: TimePlace, b: TimePlace): number {
  return a.at - b.at || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

/** Whether a place comes after the one that a cursor names. */
export function isBeyond(
  place: TimePlace,
  from: TimePlace | null,
  order: 'newest' | 'oldest',
): boolean {
  if (from === null) return true;
  return order === 'newest' ? comparePlaces(place, from) < 0 : comparePlaces(place, from) > 0;
}

/** {@link openCursor} of a listing by time. */
export async function openTimeCursor(
  redis: Redis,
  keys: Keys,
  cursor: string | undefined,
): Promise<{ from: TimePlace | null; cursorAt: (place: TimePlace) => string }> {
  const given = cursor === undefined ? null : parseTimeCursor(cursor);
  const epoch = presentEpoch(await redis.get(keys.epochs));
  if (given !== null && given.epoch !== epoch) throw staleCursor();
  return {
    from: given,
    cursorAt: ({ id, at }) => Buffer.from(`${epoch} ${at} ${id}`).toString('base64url'),
  };
}

function parseTimeCursor(cursor: string): TimePlace & { epoch: string } {
  const text = Buffer.from(cursor, 'base64url').toString();
  const [, epoch, at, id] = /^([0-9a-z]*) (\d+) (\S+)$/.exec(text) ?? [];
  if (epoch === undefined || at === undefined || id === undefined) throw invalidCursor();
  return { epoch, at: Number(at), id };
}

/** @param names the store's epochs, the present one first */
function presentEpoch(names: string | null | undefined): string {
  return names?.split(' ', 1)[0] ?? '';
}

function staleCursor(): RunwatchError {
  return new RunwatchError('the store has lost data since this cursor was given: start anew', {
    code: 'stale_cursor',
  });
}

function invalidCursor(): RunwatchError {
  return new RunwatchError('the cursor is not one that a listing gave', { code: 'invalid_cursor' });
}
