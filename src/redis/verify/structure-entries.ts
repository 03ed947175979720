import type { Redis } from 'ioredis';
import { replies } from '../connection.ts';
import { kindOfKey } from '../key-sizes.ts';
import type { Keys } from '../keys.ts';
import { runIdsOf } from '../run-ids.ts';
import { isExact, isNumber, isSortedKind, sourceOfRunIds, type Entry } from './entries.ts';
import { INDEX, LOG, pagesOfChunk, SORTED_SET, type Structure } from './structures.ts';

/** An entry as it stands in a key. */
export interface FoundEntry extends Entry {
  /** The key; that of a log without its chunk. */
  at: string;
  structure: Pick<Structure, 'read'>;
}

/** What stands in the wrong block of ids: no record has an entry with it. */
const OUT_OF_PLACE = 'out of place';

/** The entries that stand in logs, indexes and sorted sets. */
export class StructureEntries {
  private readonly logs: readonly string[];

  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {
    this.logs = [keys.watchNames, keys.eventLog, keys.deliveryLog];
  }

  /** Those in a key, a page at a time; none for keys of other kinds. */
  async *of(key: string): AsyncIterable<FoundEntry[]> {
    const { redis, keys } = this;
    const kind = kindOfKey(keys, key);
    const chunk = this.chunkOf(key);
    if (chunk !== null) {
      const { log, chunk: number } = chunk;
      for await (const page of pagesOfChunk(redis, key, number)) {
        yield page.map(({ name, value }) => ({ key: log, name, value, at: log, structure: LOG }));
      }
    } else if (kind === 'watches' || kind === 'events' || kind === 'deliveries') {
      for await (const page of INDEX.pages(redis, key)) {
        yield page.map(({ name, value }) => ({ key, name, value, at: key, structure: INDEX }));
      }
    } else if (isSortedKind(kind)) {
      for await (const page of SORTED_SET.pages(redis, key)) {
        yield page.map(({ name, value }) => ({
          key,
          name,
          value: isExact(kind, name) ? String(Number(value)) : '',
          at: key,
          structure: SORTED_SET,
        }));
      }
    } else if (kind === 'run-ids') yield* this.ofBlock(key);
  }

  /** The chunk of a log that a key has; null for other keys. */
  chunkOf(key: string): { log: string; chunk: number } | null {
    const log = this.logs.find((one) => key.startsWith(one));
    const chunk = log === undefined ? '' : key.slice(log.length);
    return log === undefined || !isNumber(chunk) ? null : { log, chunk: Number(chunk) };
  }

  /** The log whose list of chunks a key is; null for other keys. */
  logOfChunks(key: string): string | null {
    return this.logs.find((log) => key === `${log}chunks`) ?? null;
  }

  /** Whether a key has members in the order of their letters, and one of them has another score than the others. */
  async isOutOfOrder(key: string): Promise<boolean> {
    const kind = kindOfKey(this.keys, key);
    if (kind !== 'run-ids' && kind !== 'run-id-blocks') return false;
    const [all, inOrder] = await replies<number>(this.redis.multi().zcard(key).zcount(key, 0, 0));
    return all !== inOrder;
  }

  /** A member of a block that is not the one in which it is looked for has no record's entry. */
  private async *ofBlock(at: string): AsyncIterable<FoundEntry[]> {
    const { redis } = this;
    const { block: key, blocks } = runIdsOf(this.keys, sourceOfRunIds(this.keys, at));
    const first = at.slice(key.length);
    const [isKnown, [next]] = await Promise.all([
      first === '' ? '0' : redis.zscore(blocks, first),
      redis.zrangebylex(blocks, first === '' ? '-' : `(${first}`, '+', 'LIMIT', 0, 1),
    ]);
    const isHere = (member: string) =>
      isKnown !== null &&
      isBefore(first, member, true) &&
      (next === undefined || isBefore(member, next));
    for await (const page of SORTED_SET.pages(redis, at)) {
      yield page.map(({ name }) => ({
        key,
        name,
        value: isHere(name) ? '' : OUT_OF_PLACE,
        at,
        structure: SORTED_SET,
      }));
    }
  }
}

/** As Redis orders members, by their bytes. */
function isBefore(one: string, other: string, orSame = false): boolean {
  const order = Buffer.compare(Buffer.from(one), Buffer.from(other));
  return order < 0 || (orSame && order === 0);
}
