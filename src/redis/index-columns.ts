import type { Redis } from 'ioredis';
import { sum } from '../core/arrays.ts';

/** Numbers of one chunk of an index or log; see `lua/numbers.ts`. */
export const CHUNK = 128;

/** A field that has up to this many chunks in all of its indexes says which chunks are worth reading. */
const FEW_CHUNKS = 2_048;

/** For each field that is filtered by, its indexes: a number must be in any of each. */
export type Fields = readonly (readonly string[])[];

/** The places of chunks, {@link CHUNK} for each in their order: 1 where the number is meant, else 0. */
export type Places = Uint8Array;

export function chunkOf(number: number): number {
  return Math.floor(number / CHUNK);
}

/** The lowest number of a chunk. */
export function firstOf(chunk: number): number {
  return chunk * CHUNK;
}

/**
 * The chunks of the field that has fewest, in no order; undefined where they are not few, or where the log
 * itself has hardly more.
 */
export async function fewestChunks(
  redis: Redis,
  log: string,
  fields: Fields,
): Promise<number[] | undefined> {
  if (fields.length === 0) return undefined;
  const [all, ...sizes] = await Promise.all([
    redis.zcard(`${log}chunks`),
    ...fields.flat().map((index) => redis.hlen(index)),
  ]);
  let at = 0;
  const sums = fields.map((indexes) => {
    const own = sizes.slice(at, at + indexes.length);
    at += indexes.length;
    return sum(own);
  });
  const least = Math.min(...sums);
  if (least > Math.min(FEW_CHUNKS, all / 2)) return undefined;
  const indexes = fields[sums.indexOf(least)] ?? [];
  const found = await Promise.all(indexes.map((index) => redis.hkeys(index)));
  return [...new Set(found.flat().map(Number))];
}

interface PlacesQuery {
  log: string;
  fields: Fields;
  chunks: readonly number[];
}

/** The places that are in any index of each field; without fields, those of the log. */
export async function readPlaces(
  redis: Redis,
  { log, fields, chunks }: PlacesQuery,
): Promise<Places> {
  if (fields.length === 0) return readLogPlaces(redis, log, chunks);
  const texts = chunks.map(String);
  const read = await Promise.all(fields.flat().map((index) => redis.hmgetBuffer(index, ...texts)));
  const columns = read.values();
  const passed = new Uint8Array(chunks.length * CHUNK);
  for (const [field, indexes] of fields.entries()) {
    for (const _ of indexes) pass(passed, columns.next().value ?? [], field);
  }
  for (let at = 0; at < passed.length; at += 1) passed[at] = passed[at] === fields.length ? 1 : 0;
  return passed;
}

/** Counts for each place the fields that it has passed. */
function pass(passed: Places, column: readonly (Buffer | null)[], field: number): void {
  for (let at = 0; at < column.length; at += 1) {
    const held = column[at] ?? NONE;
    for (let byte = 0; byte < held.length; byte += 1) {
      const place = at * CHUNK + (held[byte] ?? 0);
      if (passed[place] === field) passed[place] = field + 1;
    }
  }
}

const NONE = Buffer.alloc(0);

async function readLogPlaces(
  redis: Redis,
  log: string,
  chunks: readonly number[],
): Promise<Places> {
  const held = await Promise.all(chunks.map((chunk) => redis.hkeys(`${log}${chunk}`)));
  const inUse = new Uint8Array(chunks.length * CHUNK);
  for (const [at, places] of held.entries()) {
    for (const place of places) inUse[at * CHUNK + Number(place)] = 1;
  }
  return inUse;
}
