import type { Redis } from 'ioredis';
import { RunwatchError } from '../../core/errors.ts';
import type { Total } from '../../core/page.ts';
import { WATCH_STATES, type WatchFilter } from '../../core/watch/watch.ts';
import { openCursor } from '../cursor.ts';
import {
  attentionIndex,
  changedDay,
  changedDayIndex,
  metadataIndex,
  type WatchNeed,
} from '../indexes.ts';
import type { Keys } from '../keys.ts';
import {
  countedNumbers,
  filterFields,
  findNumbers,
  MOST_COUNTED,
  numbersAmong,
  pageOf,
  type FoundNumbers,
} from '../numbers.ts';
import { isWithin, type TimeRange } from './number-times.ts';

/** The times are those of a watch's last change. */
export interface StoredFilter extends WatchFilter, TimeRange {
  /** Why it needs a person. */
  need?: WatchNeed;
}

/** By the number that a registration gives, or by the time of the last change. */
type WatchOrder = 'registered' | 'changed';

export interface WatchPageQuery {
  limit: number;
  cursor?: string | undefined;
  order?: WatchOrder | undefined;
}

/** Numbers of watches, newest first. */
interface WatchNumbers extends Total {
  numbers: number[];
  nextCursor: string | null;
}

/** A watch by its number, and when it changed last. */
interface Dated {
  number: number;
  at: number;
}

/** How many match, and all of them, the newest first; null where they are too many to be read. */
interface Matches extends Total {
  numbers: number[] | null;
}

interface ListingLimits {
  /** Up to here matches are counted, and sorted. */
  counted: number;
  /** Numbers, or changes, read at a time. */
  atOnce: number;
  /** Numbers, or changes, examined for one page where more match than are counted. */
  examined: number;
}

const LIMITS: ListingLimits = { counted: MOST_COUNTED, atOnce: 1_000, examined: 20_000 };

/** Days that are worth looking up one by one. */
const MOST_DAYS = 40;

/** Finds watches by their indexes. Errors of the connection pass through. */
export class WatchListing {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly limits = LIMITS,
  ) {}

  /** Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  async find(
    filter: StoredFilter,
    { limit, cursor, order = 'registered' }: WatchPageQuery,
  ): Promise<WatchNumbers> {
    const { redis, keys } = this;
    const opened = await openCursor(redis, keys, keys.watchNumber, cursor);
    const { from, at, cursorAt } = opened;
    if (from !== undefined && (at === undefined) !== (order === 'registered')) {
      throw new RunwatchError('the cursor is of a listing in another order', {
        code: 'invalid_cursor',
      });
    }
    if (order === 'registered' && !isDated(filter)) {
      const named = this.fieldsOf(filter);
      // Every watch has a state.
      const fields = named.length === 0 ? this.fieldsOf({ state: WATCH_STATES }) : named;
      const query = { kind: 'watch' as const, fields, limit, from };
      const { numbers, next, ...total } = await countedNumbers(redis, keys, query);
      return { numbers, nextCursor: next === null ? null : cursorAt(next), ...total };
    }
    if (order === 'registered') {
      const { numbers, next, ...total } = await this.registered(filter, { limit, from });
      return { numbers, nextCursor: next === null ? null : cursorAt(next), ...total };
    }
    const last = from === undefined ? undefined : { number: Number(from), at: Number(at) };
    const { page, next, ...total } = await this.changed(filter, { limit, last });
    return {
      numbers: page.map(({ number }) => number),
      nextCursor: next === null ? null : cursorAt(String(next.number), next.at),
      ...total,
    };
  }

  /**
   * Those that changed first, the longest ago first. Where more match than are counted, those that were
   * registered first stand for them.
   */
  async oldest(
    filter: StoredFilter & { need: WatchNeed },
    limit: number,
  ): Promise<{ numbers: number[] } & Total> {
    // Mostly, no watch needs a person for this reason.
    const held = await this.redis.exists(attentionIndex(this.keys, filter.need));
    if (held === 0) return { numbers: [], total: 0, isCapped: false };
    const { numbers: all, ...total } = await this.matching(filter, await this.countChanges(filter));
    if (all !== null) {
      const dated = (await this.changedWithin(filter, all)).sort((a, b) => a.at - b.at);
      return { numbers: dated.slice(0, limit).map(({ number }) => number), ...total };
    }
    const fields = this.fieldsOf(filter);
    const query = { kind: 'watch' as const, fields, order: 'oldest' as const };
    const { numbers } = await findNumbers(this.redis, this.keys, query, limit);
    return { numbers, ...total };
  }

  /** By their numbers, those that changed within a time. */
  private async registered(
    filter: StoredFilter,
    { limit, from }: { limit: number; from: string | undefined },
  ) {
    const { numbers: all, ...total } = await this.matching(filter, await this.countChanges(filter));
    if (all !== null) {
      const left = all.filter((number) => from === undefined || number < Number(from));
      return { ...pageOf(left, limit), ...total };
    }
    const days = await this.dayFields(filter);
    const fields = [...this.fieldsOf(filter), ...days];
    const query = { kind: 'watch' as const, fields, order: 'newest' as const };
    const numbers: number[] = [];
    let next = from ?? null;
    for (let examined = 0; examined < this.limits.examined; examined += this.limits.atOnce) {
      const walk = { ...query, from: next ?? undefined };
      const found = await findNumbers(this.redis, this.keys, walk, this.limits.atOnce);
      numbers.push(...(await this.numbersWithin(filter, { numbers: found.numbers, days })));
      next = found.next;
      if (numbers.length > limit || next === null) break;
    }
    const page = pageOf(numbers, limit);
    return { numbers: page.numbers, next: page.next ?? next, ...total };
  }

  /** By the time of their last change. */
  private async changed(
    filter: StoredFilter,
    { limit, last }: { limit: number; last: Dated | undefined },
  ) {
    const fields = this.fieldsOf(filter);
    const inTime = await this.countChanges(filter);
    const { numbers, ...total } = await this.matching(filter, inTime);
    if (numbers === null) {
      const among = async (some: readonly number[]) =>
        new Set(await numbersAmong(this.redis, fields, some));
      const walk = Math.ceil(this.limits.atOnce / 4);
      return { ...(await this.latest(filter, { limit, last, walk }, among)), ...total };
    }
    // So many of the latest changes fill a page of watches that are evenly spread, and a few more.
    const walk = Math.ceil((1.2 * limit * inTime) / numbers.length);
    if (walk < numbers.length) {
      const wanted = new Set(numbers);
      return {
        ...(await this.latest(filter, { limit, last, walk }, async () => wanted)),
        ...total,
      };
    }
    // Where the watches are fewer, to read when each of them changed is sooner done.
    const dated = await this.changedWithin(filter, numbers);
    const left = dated.filter((one) => isBeyond(one, last)).sort(byChange);
    const page = left.slice(0, limit);
    return { page, next: left.length > limit ? (page.at(-1) ?? null) : null, ...total };
  }

  /** The next changes of wanted watches; fewer than a page where many changes had to be examined. */
  private async latest(
    times: TimeRange,
    { limit, last, walk }: { limit: number; last: Dated | undefined; walk: number },
    among: (numbers: readonly number[]) => Promise<ReadonlySet<number>>,
  ): Promise<{ page: Dated[]; next: Dated | null }> {
    const found: Dated[] = [];
    let [examined, next]: [number, Dated | null] = [0, null];
    for await (const some of this.changes(times, { last, walk })) {
      const left = some.filter((one) => isBeyond(one, last));
      const wanted = await among(left.map(({ number }) => number));
      found.push(...left.filter(({ number }) => wanted.has(number)));
      // Of changes at the cursor's time, those up to it are read again: they bring the page no further.
      examined += left.length;
      if (found.length > limit || examined >= this.limits.examined) {
        next = left.at(-1) ?? null;
        break;
      }
    }
    const page = found.slice(0, limit);
    return { page, next: found.length > limit ? (page.at(-1) ?? null) : next };
  }

  /**
   * All that match, where these are up to the limit: of the changes within the time where these are few,
   * else of what the indexes have. Else how many there are at least.
   * @param changes how many are within the time
   */
  private async matching(filter: StoredFilter, changes: number): Promise<Matches> {
    const { counted, atOnce } = this.limits;
    const fields = this.fieldsOf(filter);
    const isEver = !isDated(filter);
    if (!isEver && changes <= atOnce) return allOf(await this.changedAmong(filter, fields));
    const days = await this.dayFields(filter);
    const areRead = !isEver && changes <= counted;
    if (fields.length === 0 && (days.length > 0 || !areRead)) {
      return { numbers: null, total: Math.min(changes, counted), isCapped: changes > counted };
    }
    const { numbers, next } = await this.numbersIn([...fields, ...days]);
    if (next !== null && areRead) return allOf(await this.changedAmong(filter, fields));
    const found = isEver ? numbers : await this.numbersWithin(filter, { numbers, days });
    return next === null ? allOf(found) : { numbers: null, total: found.length, isCapped: true };
  }

  /** Those that changed within a time, the newest first. */
  private async changedAmong(times: TimeRange, fields: string[][]): Promise<number[]> {
    const found = new Set<number>();
    for await (const some of this.changes(times, { walk: this.limits.atOnce })) {
      for (const { number } of some) found.add(number);
    }
    const numbers = [...found].sort((a, b) => b - a);
    return numbersAmong(this.redis, fields, numbers);
  }

  /** Those within a time. Of watches that changed on its days, only those on the first and last are read. */
  private async numbersWithin(
    range: TimeRange,
    { numbers, days }: { numbers: number[]; days: string[][] },
  ): Promise<number[]> {
    const ends = [range.since, range.until].flatMap((end) =>
      end === undefined ? [] : [changedDayIndex(this.keys, changedDay(end))],
    );
    const judged = await numbersAmong(this.redis, days.length === 0 ? [] : [ends], numbers);
    const within = await this.changedWithin(range, judged);
    const out = new Set(judged);
    for (const { number } of within) out.delete(number);
    return numbers.filter((number) => !out.has(number));
  }

  private async numbersIn(fields: string[][]): Promise<FoundNumbers> {
    const query = { kind: 'watch' as const, fields, order: 'newest' as const };
    return findNumbers(this.redis, this.keys, query, this.limits.counted);
  }

  private fieldsOf(filter: StoredFilter): string[][] {
    const { keys } = this;
    const { state, status, source, sources, workflowId: workflow, need, metadata = {} } = filter;
    const named = source === undefined ? undefined : [source];
    return [
      ...filterFields(keys.watches, { state, status, source: named, workflow }),
      ...filterFields(keys.watches, { source: sources }),
      ...(need === undefined ? [] : [[attentionIndex(keys, need)]]),
      ...Object.entries(metadata).map(([key, value]) => [metadataIndex(keys, key, value)]),
    ];
  }

  /** The days of a time, as a field; none where there are too many to look them up. */
  private async dayFields({ since, until }: TimeRange): Promise<string[][]> {
    if (since === undefined && until === undefined) return [];
    const { watchesChanged } = this.keys;
    const [oldest, newest] = await Promise.all([
      since ?? this.redis.zrange(watchesChanged, 0, '0', 'WITHSCORES').then(scoreOf),
      until ?? this.redis.zrevrange(watchesChanged, 0, '0', 'WITHSCORES').then(scoreOf),
    ]);
    const first = changedDay(oldest);
    const count = changedDay(newest) - first + 1;
    if (count > MOST_DAYS) return [];
    return [
      Array.from({ length: Math.max(0, count) }, (_, at) => changedDayIndex(this.keys, first + at)),
    ];
  }

  private async countChanges({ since, until }: TimeRange): Promise<number> {
    return this.redis.zcount(this.keys.watchesChanged, since ?? '-inf', endOf(until));
  }

  /** Changes within a time, the latest first, from one on; `walk` of them first. */
  private async *changes(
    { since, until }: TimeRange,
    { last, walk }: { last?: Dated | undefined; walk: number },
  ): AsyncIterable<Dated[]> {
    const { atOnce } = this.limits;
    let highest = last === undefined ? endOf(until) : String(last.at);
    let skipped = 0;
    for (let size = Math.min(walk, 4 * atOnce); ; size = Math.min(2 * size, 4 * atOnce)) {
      const flat = await this.redis.zrevrangebyscore(
        this.keys.watchesChanged,
        highest,
        since ?? '-inf',
        'WITHSCORES',
        'LIMIT',
        skipped,
        size,
      );
      const some = datedOf(flat);
      yield some;
      const end = some.at(-1);
      if (end === undefined || some.length < size) return;
      // Of many changes at one time, the next go on behind those that were read.
      const atEnd = some.filter(({ at }) => at === end.at).length;
      skipped = String(end.at) === highest ? skipped + atEnd : atEnd;
      highest = String(end.at);
    }
  }

  private async changedWithin(range: TimeRange, numbers: readonly number[]): Promise<Dated[]> {
    const { atOnce } = this.limits;
    const read = async (_: unknown, at: number) =>
      this.redis.zmscore(
        this.keys.watchesChanged,
        ...numbers.slice(at * atOnce, (at + 1) * atOnce),
      );
    const calls = Math.ceil(numbers.length / atOnce);
    const scores = (await Promise.all(Array.from({ length: calls }, read))).flat();
    return numbers.flatMap((number, index) => {
      const score = scores[index] ?? null;
      const at = Number(score);
      return score !== null && isWithin(at, range) ? [{ number, at }] : [];
    });
  }
}

function allOf(numbers: number[]): Matches {
  return { numbers, total: numbers.length, isCapped: false };
}

function isDated({ since, until }: TimeRange): boolean {
  return since !== undefined || until !== undefined;
}

/** The latest first; of those at one time, as Redis has them. */
function byChange(a: Dated, b: Dated): number {
  if (a.at !== b.at) return b.at - a.at;
  const [left, right] = [String(a.number), String(b.number)];
  if (left === right) return 0;
  return left < right ? 1 : -1;
}

/** Whether a change comes after another in the order of a listing; every one where there is none. */
function isBeyond(one: Dated, last: Dated | undefined): boolean {
  return last === undefined || byChange(one, last) > 0;
}

function datedOf(flat: readonly string[]): Dated[] {
  return Array.from({ length: flat.length / 2 }, (_, at) => ({
    number: Number(flat[2 * at]),
    at: Number(flat[2 * at + 1]),
  }));
}

function scoreOf([, score]: string[]): number {
  return Number(score ?? 0);
}

function endOf(until: number | undefined): string {
  return until === undefined ? '+inf' : `(${until}`;
}
