import type { Redis } from 'ioredis';
import { isPacked, packHistory, unpackHistory } from '../../src/redis/history-codec.ts';
import type { Keys } from '../../src/redis/keys.ts';
import {
  SCHEMA,
  type MigratedChunk,
  type MigratedStore,
  type Migration,
  type Unreadable,
  type Write,
} from '../../src/redis/migrations.ts';
import { IDENTITY_LENGTH } from '../../src/redis/stores/watch-record.ts';

/** The form behind that of this version, which no version has: what a migration can do is tried with it. */
export const NEXT_FORM = String(Number(SCHEMA) + 1);

/** The version that `next-form-daemon.ts` says that it is. */
export const NEXT_VERSION = '99.0.0';

/** A key that names the step, from 0, at which the daemons of `next-form-daemon.ts` wait until it is gone. */
export function heldAt({ queuePrefix }: Keys): string {
  return `${queuePrefix}:held-at`;
}

/** Keys that only the next form has. */
export function nextKeys({ queuePrefix }: Keys) {
  return {
    /** Sorted set of the ids of watches with a tint, by number. */
    ofTint: (tint: string) => `${queuePrefix}:of-tint:${tint}`,
    /** Hash of the tints of watches by id: the part that was split off their records. */
    tints: `${queuePrefix}:tints`,
  };
}

/** The tint of a record that had none. */
const NO_TINT = 'none';

/**
 * A field of all watches is renamed, gets an index, and is then split off their records. Versions of today read what is
 * left, so that a daemon of this version works on the next form, too.
 */
export const NEXT: Migration = {
  from: SCHEMA,
  to: NEXT_FORM,
  steps: [
    {
      name: 'watches have a tint in place of a shade',
      frees: false,
      bytesEach: 16,
      count: countWatches,
      next: (store, cursor, most) =>
        eachWatch(store, { cursor, most }, ({ key, record, rest }) => {
          const shade = /"shade":"(\w*)",/.exec(rest)?.[1];
          const tint = shade ?? tintIn(rest) ?? NO_TINT;
          const renamed = withField(rest.replace(/"(shade|tint)":"\w*",/g, ''), 'tint', tint);
          return [['SET', key, withRest(record, renamed)]];
        }),
    },
    {
      name: 'watches are found by their tint',
      frees: false,
      bytesEach: 100,
      count: countWatches,
      next: (store, cursor, most) =>
        eachWatch(store, { cursor, most }, ({ id, number, rest }) => {
          const tint = tintIn(rest);
          return tint === undefined
            ? []
            : [['ZADD', nextKeys(store.keys).ofTint(tint), number, id]];
        }),
    },
    {
      name: 'tints have a record of their own',
      frees: true,
      bytesEach: 0,
      count: countWatches,
      next: (store, cursor, most) =>
        eachWatch(store, { cursor, most }, ({ id, key, record, rest }) => {
          const tint = tintIn(rest);
          if (tint === undefined) return [];
          return [
            ['SET', key, withRest(record, rest.replace(/"tint":"\w*",/, ''))],
            ['HSET', nextKeys(store.keys).tints, id, tint],
          ];
        }),
    },
  ],
};

/** Gives the records of all watches a field that no version knows. @returns it by the id of the watch */
export async function giveShades(redis: Redis, keys: Keys): Promise<Map<string, string>> {
  const shades = new Map<string, string>();
  const store = { redis, keys };
  for (let cursor: string | null = ''; cursor !== null;) {
    const chunk: MigratedChunk = await eachWatch(
      store,
      { cursor, most: 128 },
      ({ id, key, number, record, rest }) => {
        const shade = `shade${number % 3}`;
        shades.set(id, shade);
        return [['SET', key, withRest(record, withField(rest, 'shade', shade))]];
      },
    );
    for (const [, key, record = ''] of chunk.writes) await redis.set(key, record);
    cursor = chunk.cursor;
  }
  return shades;
}

/** Numbers in a chunk of the log of the ids of watches. */
const IN_CHUNK = 128;

interface FoundWatch {
  id: string;
  key: string;
  number: number;
  record: Buffer;
  /** What follows version and number in a live record. */
  rest: string;
}

async function countWatches({ redis, keys }: MigratedStore): Promise<number> {
  const counts = await redis.hvals(keys.watchSources);
  return counts.reduce((total, count) => total + Number(count), 0);
}

/** The next watches by their numbers; the cursor is the number of the first one. */
async function eachWatch(
  { redis, keys }: MigratedStore,
  { cursor, most }: { cursor: string; most: number },
  writesOf: (watch: FoundWatch) => Write[],
): Promise<MigratedChunk> {
  const log = keys.watchNames;
  const from = Number(cursor);
  const at = Math.floor(from / IN_CHUNK);
  const chunks = await redis.zrangebyscore(`${log}chunks`, at, '+inf', 'LIMIT', 0, 2);
  const [chunk, after] = chunks.map(Number);
  if (chunk === undefined) return { cursor: null, handled: 0, writes: [], unreadable: [] };
  const found = Object.entries(await redis.hgetall(`${log}${chunk}`))
    .map(([place, id]) => ({ number: chunk * IN_CHUNK + Number(place), id }))
    .filter(({ number }) => number >= from)
    .toSorted((a, b) => a.number - b.number);
  const some = found.slice(0, most);
  const next = found[most]?.number ?? (after === undefined ? null : after * IN_CHUNK);
  const watchKeys = some.map(({ id }) => `${keys.queuePrefix}:watch:${id}`);
  const records = some.length === 0 ? [] : await redis.mgetBuffer(watchKeys);
  const writes: Write[] = [];
  const unreadable: Unreadable[] = [];
  for (const [index, { number, id }] of some.entries()) {
    const [key = '', record] = [watchKeys[index], records[index]];
    if (!record) continue;
    try {
      writes.push(...writesOf({ id, key, number, record, rest: restOf(record) }));
    } catch (error) {
      unreadable.push({ key, why: String(error) });
    }
  }
  return { cursor: next?.toString() ?? null, handled: some.length, writes, unreadable };
}

function restOf(record: Buffer): string {
  return isPacked(record)
    ? unpackHistory(record).rest
    : record.subarray(IDENTITY_LENGTH).toString('utf8');
}

function withRest(record: Buffer, rest: string): Buffer {
  const packed = isPacked(record)
    ? packHistory({ ...unpackHistory(record), rest })
    : Buffer.from(rest);
  return Buffer.concat([record.subarray(0, IDENTITY_LENGTH), packed]);
}

/** The document begins with its first brace. */
function withField(rest: string, name: string, value: string): string {
  return rest.replace('{', `{"${name}":"${value}",`);
}

function tintIn(rest: string): string | undefined {
  return /"tint":"(\w*)",/.exec(rest)?.[1];
}
