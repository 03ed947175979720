import { chunkOf } from '../index-columns.ts';
import { isNumber, type Entry } from './entries.ts';

/** A power of two. The sums take four bytes each, whatever the size of the store. */
const BUCKETS = 2 ** 20;

const OFFSET = 0x811c9dc5;
const PRIME = 0x01000193;

/**
 * Compares two sets of entries in memory of one size: what is added to one, and taken from the other, is summed up by
 * hash. Where a sum is not zero, some entry of its bucket is in one of them alone, or has another value there. That
 * one is missed is as likely as two hashes of 32 bits being the same.
 */
export class EntrySums {
  private readonly sums = new Int32Array(BUCKETS);

  add(entry: Entry): void {
    const bucket = bucketOf(entry);
    this.sums[bucket] = (this.sums[bucket] ?? 0) + hashOf(entry);
  }

  take(entry: Entry): void {
    const bucket = bucketOf(entry);
    this.sums[bucket] = (this.sums[bucket] ?? 0) - hashOf(entry);
  }

  /** Whether something of the bucket of an entry is in one set alone. */
  differs(entry: Entry): boolean {
    return this.sums[bucketOf(entry)] !== 0;
  }

  /** Whether anything is. */
  get anyDiffers(): boolean {
    return this.sums.some((sum) => sum !== 0);
  }
}

/** Numbers of one chunk have one bucket: what daemons write meanwhile is in few. */
function bucketOf({ key, name }: Entry): number {
  const within = isNumber(name) ? String(chunkOf(Number(name))) : name;
  return mixed(textHash(within, textHash(key, OFFSET))) & (BUCKETS - 1);
}

function hashOf({ key, name, value }: Entry): number {
  return mixed(textHash(value, mixed(textHash(name, textHash(key, ~OFFSET)))));
}

/** FNV-1a. */
function textHash(text: string, seed: number): number {
  let hash = seed;
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), PRIME);
  }
  return hash;
}

/** Spreads what differs in a few bits over all of them, as MurmurHash3 ends. */
function mixed(hash: number): number {
  let bits = hash;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}
