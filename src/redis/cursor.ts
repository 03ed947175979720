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

/** @param names the store's epochs, the present one first */
export function presentEpoch(names: string | null | undefined): string {
  return names?.split(' ', 1)[0] ?? '';
}

export function staleCursor(): RunwatchError {
  return new RunwatchError('the store has lost data since this cursor was given: start anew', {
    code: 'stale_cursor',
  });
}

export function invalidCursor(): RunwatchError {
  return new RunwatchError('the cursor is not one that a listing gave', { code: 'invalid_cursor' });
}
