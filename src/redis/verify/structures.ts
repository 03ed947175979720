import type { Redis } from 'ioredis';
import { CHUNK, chunkOf, firstOf } from '../index-columns.ts';

/** Names that one command reads. */
const READ_AT_ONCE = 500;

/** A name that stands in a key, and what stands with it: a score, or the value of a field. */
interface Found {
  name: string;
  value: string;
}

/** How names stand in keys of one shape. */
export interface Structure {
  /** All of them, a page at a time. */
  pages: (redis: Redis, key: string) => AsyncIterable<Found[]>;
  /** What stands with a name; null where that is not there. */
  read: (redis: Redis, key: string, name: string) => Promise<string | null>;
}

export const SORTED_SET: Structure = {
  async *pages(redis, key) {
    for await (const flat of scanned((at) => redis.zscan(key, at, 'COUNT', READ_AT_ONCE))) {
      yield pairsOf(flat);
    }
  },
  read: (redis, key, name) => redis.zscore(key, name),
};

export const HASH: Structure = {
  async *pages(redis, key) {
    for await (const flat of scanned((at) => redis.hscan(key, at, 'COUNT', READ_AT_ONCE))) {
      yield pairsOf(flat);
    }
  },
  read: (redis, key, name) => redis.hget(key, name),
};

export const LIST: Structure = {
  async *pages(redis, key) {
    for (let from = 0; ; from += READ_AT_ONCE) {
      const names = await redis.lrange(key, from, from + READ_AT_ONCE - 1);
      yield names.map((name) => ({ name, value: '' }));
      if (names.length < READ_AT_ONCE) return;
    }
  },
  async read(redis, key, name) {
    return (await redis.lpos(key, name)) === null ? null : '';
  },
};

/** The numbers of an index. */
export const INDEX: Structure = {
  async *pages(redis, key) {
    const pages = scanned((at) => redis.hscanBuffer(key, at, 'COUNT', READ_AT_ONCE));
    for await (const flat of pages) {
      for (let at = 0; at < flat.length; at += 2) {
        const first = firstOf(Number(flat[at]));
        const places = flat[at + 1] ?? NO_PLACES;
        yield Array.from(places, (place) => ({ name: String(first + place), value: '' }));
      }
    }
  },
  async read(redis, key, name) {
    const held = await redis.hgetBuffer(key, String(chunkOf(Number(name))));
    return held?.includes(Number(name) % CHUNK) === true ? '' : null;
  },
};

const NO_PLACES = Buffer.alloc(0);

/** The numbers of a log, whose name stands for the keys of its chunks; {@link pagesOfChunk} reads one of these. */
export const LOG: Pick<Structure, 'read'> = {
  read: (redis, log, name) => redis.hget(`${log}${chunkOf(Number(name))}`, placeOf(name)),
};

function placeOf(number: string): string {
  return String(Number(number) % CHUNK);
}

/** The numbers in a chunk of a log. */
export async function* pagesOfChunk(redis: Redis, key: string, chunk: number) {
  for await (const page of HASH.pages(redis, key)) {
    yield page.map(({ name, value }) => ({ name: String(firstOf(chunk) + Number(name)), value }));
  }
}

function pairsOf(flat: readonly string[]): Found[] {
  const found: Found[] = [];
  for (let at = 0; at < flat.length; at += 2) {
    found.push({ name: flat[at] ?? '', value: flat[at + 1] ?? '' });
  }
  return found;
}

/** What a scan finds, a page at a time. */
export async function* scanned<Item>(
  scan: (cursor: string) => Promise<[cursor: string | Buffer, items: Item[]]>,
): AsyncIterable<Item[]> {
  let cursor = '0';
  do {
    const [next, items] = await scan(cursor);
    yield items;
    cursor = String(next);
  } while (cursor !== '0');
}
