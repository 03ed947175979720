import type { Redis } from 'ioredis';
import { workflowName, parseWorkflowName } from '../../core/cadence/phase.ts';
import { sum } from '../../core/arrays.ts';
import { activeCount } from '../../core/watch/run-figures.ts';
import { countedTokens, type Watch } from '../../core/watch/watch.ts';
import { replies } from '../connection.ts';
import { unlessOutage } from '../failures.ts';
import { registeredIndex, runsIndex } from '../indexes.ts';
import { chunkOf } from '../index-columns.ts';
import { countField, parseCountField, type Keys } from '../keys.ts';
import { seenAgain, type Problems } from './problems.ts';
import type { ReadRecord } from './records.ts';
import { HASH, scanned } from './structures.ts';

/** Chunks that one command reads. */
const READ_AT_ONCE = 500;

/** How often an index is read that is written meanwhile. */
const TRIES = 20;

/** Chunks that are read in one step with the counter: of a small index all, of a large one those that may change. */
const MOST_AT_ONCE = 512;
const ALL_OF = 256;
const NEWEST = 16;

/** A hash of counters, and the indexes whose numbers a field of it counts: those in one, or in both. */
interface Counter {
  key: string;
  /** The key of the newest of these numbers. */
  numbers: string;
  indexesOf: (field: string) => [index: string, other?: string];
}

/** A counter, and what it counts. */
interface Counted {
  counter: number;
  counted: number;
}

/** The places of a chunk in both indexes; `others` is null where there is one index. */
interface ChunkPlaces {
  held: Buffer;
  others: Buffer | null;
}

/** What counters count, as far as records name it, and how much of it there is. */
export class Counters {
  readonly all: readonly Counter[];
  /** By the key of the counters: how much of each field the records have that were read. */
  private readonly counts = new Map<string, Map<string, number>>();
  private readonly packed = { watches: 0, bytes: 0 };

  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {
    const numbers = keys.watchNumber;
    this.all = [
      { key: keys.watchSources, numbers, indexesOf: (field) => [keys.watches('source', field)] },
      { key: keys.watchesOfTokens, numbers, indexesOf: (field) => [registeredIndex(keys, field)] },
      { key: keys.activeRuns, numbers, indexesOf: (field) => this.indexesOfRuns(field) },
      {
        key: keys.deliveryCounts,
        numbers: keys.deliveryNumber,
        indexesOf: (field) => {
          const { state, endpoint } = parseCountField(field);
          return [keys.deliveries('state', state), keys.deliveries('endpoint', endpoint)];
        },
      },
    ];
  }

  take({ watch, deliveries, packedBytes }: ReadRecord): void {
    for (const delivery of deliveries) this.add(this.keys.deliveryCounts, countField(delivery));
    if (packedBytes !== undefined) {
      this.packed.watches += 1;
      this.packed.bytes += packedBytes;
    }
    if (watch !== undefined) this.takeWatch(watch);
  }

  private takeWatch(watch: Watch): void {
    const { keys } = this;
    this.add(keys.watchSources, watch.source);
    for (const token of countedTokens(watch)) this.add(keys.watchesOfTokens, token);
    const count = activeCount(watch);
    if (count === null) return;
    const { workflowId, status } = count;
    this.add(keys.activeRuns, `${workflowName({ source: watch.source, workflowId })} ${status}`);
  }

  private add(counters: string, field: string): void {
    const counts = this.counts.get(counters) ?? new Map<string, number>();
    this.counts.set(counters, counts);
    counts.set(field, (counts.get(field) ?? 0) + 1);
  }

  /**
   * Compares counters with what the records had that were read. Where one differs, its indexes are counted: the
   * records may have changed meanwhile.
   */
  async compare(of: Counter, problems: Problems): Promise<void> {
    const { key: counters } = of;
    const left = new Map(this.counts.get(counters));
    const compareField = async (field: string) => {
      let found: Counted | null = null;
      const isOff = await seenAgain(async () => {
        const before: Counted | null = found;
        found = await this.count(of, field);
        return found !== null && offBy(found) !== 0 && offBy(before ?? found) === offBy(found);
      });
      if (!isOff || found === null) return;
      const { counter, counted } = found as Counted;
      const kind = counters.slice(this.keys.queuePrefix.length + 1);
      const example = `${kind} says ${counter} for "${field}", there are ${counted}`;
      problems.note('miscounted', kind, example);
    };
    for await (const page of HASH.pages(this.redis, counters)) {
      for (const { name: field, value } of page) {
        if (field === 'planned') continue;
        if (Number(value) !== (left.get(field) ?? 0)) await compareField(field).catch(unlessOutage);
        left.set(field, 0);
      }
    }
    for (const [field, count] of left) if (count > 0) await compareField(field).catch(unlessOutage);
  }

  private indexesOfRuns(field: string): [string, string] {
    const space = field.lastIndexOf(' ');
    const { source, workflowId } = parseWorkflowName(field.slice(0, space));
    const { keys } = this;
    return [runsIndex(keys, source, field.slice(space + 1)), keys.watches('workflow', workflowId)];
  }

  /**
   * A counter, and how many numbers are in its indexes, both of one moment, by short commands. The indexes are read
   * before that moment and after it: chunks that are the same in both were so in between. Those that are not are read
   * in one step with the counter, and so are the newest, in which numbers come and go.
   * @returns null where ever more chunks change meanwhile
   */
  private async count(
    { key: counters, numbers, indexesOf }: Counter,
    field: string,
  ): Promise<Counted | null> {
    const [index, other] = indexesOf(field);
    let before = await this.chunksOf(index, other);
    const given = chunkOf(Number((await this.redis.get(numbers)) ?? 0));
    const moving = newestOf([...before.keys()], given);
    for (let tries = 0; tries < TRIES && moving.size <= MOST_AT_ONCE; tries += 1) {
      const chunks = [...moving];
      const atOnce = this.redis.multi().hget(counters, field);
      for (const one of [index, other ?? []].flat()) atOnce.hmgetBuffer(one, ...chunks);
      const read = await replies<string | null | (Buffer | null)[]>(atOnce);
      const [counter, held, others] = read as [string | null, Places?, Places?];
      const after = await this.chunksOf(index, other);
      const changed = [...new Set([...before.keys(), ...after.keys()])].filter(
        (chunk) => !moving.has(chunk) && !isSame(before.get(chunk), after.get(chunk)),
      );
      if (changed.length === 0) {
        const still = [...after].filter(([chunk]) => !moving.has(chunk)).map(([, one]) => one);
        const moved = chunks.map((_, at) => ({
          held: held?.[at] ?? NO_PLACES,
          others: other === undefined ? null : (others?.[at] ?? NO_PLACES),
        }));
        return { counter: Number(counter ?? 0), counted: sum([...still, ...moved].map(countIn)) };
      }
      for (const chunk of changed) moving.add(chunk);
      before = after;
    }
    return null;
  }

  private async chunksOf(
    index: string,
    other: string | undefined,
  ): Promise<Map<string, ChunkPlaces>> {
    const { redis } = this;
    const found = new Map<string, ChunkPlaces>();
    const pages = scanned((at) => redis.hscanBuffer(index, at, 'COUNT', READ_AT_ONCE));
    for await (const flat of pages) {
      const chunks = flat.filter((_, at) => at % 2 === 0).map(String);
      const both =
        other === undefined || chunks.length === 0
          ? null
          : await redis.hmgetBuffer(other, ...chunks);
      for (const [at, chunk] of chunks.entries()) {
        const held = flat[2 * at + 1] ?? NO_PLACES;
        found.set(chunk, { held, others: both === null ? null : (both[at] ?? NO_PLACES) });
      }
    }
    return found;
  }

  /** One read of all: the sum is written with its parts. */
  async compareSum(problems: Problems): Promise<void> {
    const { planned = '0', ...byField } = await this.redis.hgetall(this.keys.deliveryCounts);
    const total = sum(Object.values(byField).map(Number));
    if (Number(planned) === total) return;
    const example = `ledger says ${planned} were planned, its states add up to ${total}`;
    problems.note('miscounted', 'ledger', example);
  }

  /** How many watches are packed, and the bytes of their records, by the counters. */
  async packedCount(): Promise<string> {
    const held = await this.redis.hmget(this.keys.packed, 'watches', 'bytes');
    return held.map((count) => Number(count ?? 0)).join(' ');
  }

  /** @param before {@link packedCount} before the records were read: what moved meanwhile cannot be compared */
  async comparePacked(before: string, problems: Problems): Promise<void> {
    const { watches, bytes } = this.packed;
    const counted = await this.packedCount();
    if (counted !== before || counted === `${watches} ${bytes}`) return;
    const [watchesCounted = '', bytesCounted = ''] = counted.split(' ');
    const says = `says ${watchesCounted} watches with ${bytesCounted} bytes`;
    problems.note('miscounted', 'packed', `packed ${says}, there are ${watches} with ${bytes}`);
  }
}

type Places = (Buffer | null)[];

const NO_PLACES = Buffer.alloc(0);

/**
 * The chunks in which numbers come and go, with the next ones that may come.
 * @param given the newest chunk of all numbers
 */
function newestOf(chunks: readonly string[], given: number): Set<string> {
  const newest = Array.from({ length: NEWEST }, (_, at) => String(given + 2 - at));
  return new Set(chunks.length <= ALL_OF ? [...chunks, ...newest] : newest);
}

function offBy({ counter, counted }: Counted): number {
  return counter - counted;
}

function isSame(one: ChunkPlaces | undefined, other: ChunkPlaces | undefined): boolean {
  if (one === undefined || other === undefined) return false;
  const { held, others } = other;
  return one.held.equals(held) && (others === null || one.others?.equals(others) === true);
}

function countIn({ held, others }: ChunkPlaces): number {
  return others === null ? held.length : held.filter((place) => others.includes(place)).length;
}
