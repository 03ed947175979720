import type { Redis } from 'ioredis';
import { MEMBER_STATUSES } from '../../core/batch.ts';
import { RunwatchError } from '../../core/errors.ts';
import type { Total } from '../../core/page.ts';
import { WATCH_STATES, type WatchFilter } from '../../core/watch/watch.ts';
import { openCursor } from '../cursor.ts';
import {
  attentionIndex,
  batchIndex,
  changedDay,
  changedDayIndex,
  metadataIndex,
  type WatchNeed,
} from '../indexes.ts';
import type { Keys } from '../keys.ts';
import {
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

/** How many match, and all of them where none is left out, else the newest; null where they were not read. */
interface Matches extends Total {
  numbers: number[] | null;
}

/** A filter that indexes answer only roughly. */
interface Judge {
  /** Indexes that have whatever passes, as fields; none where looking them up is not worth it. */
  fields: string[][];
  /** The indexes of these fields that have others, too. */
  unsure: string[];
  /** Those of some numbers that pass. */
  judge: (numbers: readonly number[]) => Promise<number[]>;
}

/** What a filter asks of indexes, of judges, and of the times of changes. */
interface Search {
  /** What indexes answer exactly. */
  fields: string[][];
  judges: Judge[];
  times: TimeRange;
  /** The one of the judges that goes by the times. */
  byTime: Judge | null;
  /** How many watches changed within the times. */
  changes: number;
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
    const search = await this.searchOf(filter);
    if (order === 'registered') {
      const { numbers, next, ...total } = await this.registered(search, { limit, from });
      return { numbers, nextCursor: next === null ? null : cursorAt(next), ...total };
    }
    const last = from === undefined ? undefined : { number: Number(from), at: Number(at) };
    const { page, next, ...total } = await this.changed(search, { limit, last });
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
    const search = await this.searchOf(filter);
    const { numbers: all, ...total } = await this.matching(search);
    if (all !== null && !total.isCapped) {
      const dated = (await this.changedWithin(filter, all)).sort((a, b) => a.at - b.at);
      return { numbers: dated.slice(0, limit).map(({ number }) => number), ...total };
    }
    const { numbers } = await this.walk(search, 'oldest', { limit, from: undefined });
    return { numbers, ...total };
  }

  /** By their numbers. */
  private async registered(
    asked: Search,
    { limit, from }: { limit: number; from: string | undefined },
  ) {
    // Every watch has a state. Changes may be of watches whose records are lost, too.
    const isOfAll = asked.fields.length === 0 && asked.byTime === null;
    const search = isOfAll ? { ...asked, fields: this.fieldsOf({ state: WATCH_STATES }) } : asked;
    const { numbers, ...total } = await this.matching(search);
    const left = numbers?.filter((number) => from === undefined || number < Number(from));
    if (left !== undefined && (left.length > limit || !total.isCapped)) {
      return { ...pageOf(left, limit), ...total };
    }
    return { ...(await this.walk(search, 'newest', { limit, from })), ...total };
  }

  /** The next that match; fewer than a page where many had to be examined. */
  private async walk(
    search: Search,
    order: 'newest' | 'oldest',
    { limit, from }: { limit: number; from: string | undefined },
  ): Promise<FoundNumbers> {
    const query = { kind: 'watch' as const, fields: roughly(search), order };
    const numbers: number[] = [];
    let next = from ?? null;
    for (let examined = 0; examined < this.limits.examined; examined += this.limits.atOnce) {
      const walk = { ...query, from: next ?? undefined };
      const found = await findNumbers(this.redis, this.keys, walk, this.limits.atOnce);
      numbers.push(...(await this.judged(search.judges, found.numbers)));
      next = found.next;
      // Fewer than asked for: so many chunks were read that the next page goes on.
      if (numbers.length > limit || next === null || found.numbers.length < this.limits.atOnce)
        break;
    }
    const page = pageOf(numbers, limit);
    return { numbers: page.numbers, next: page.next ?? next };
  }

  /** By the time of their last change. */
  private async changed(
    search: Search,
    { limit, last }: { limit: number; last: Dated | undefined },
  ) {
    const { times, changes } = search;
    const { numbers, ...total } = await this.matching(search);
    if (numbers === null || total.isCapped) {
      const among = async (some: readonly number[]) => new Set(await this.among(search, some));
      const walk = Math.ceil(this.limits.atOnce / 4);
      return { ...(await this.latest(times, { limit, last, walk }, among)), ...total };
    }
    // So many of the latest changes fill a page of watches that are evenly spread, and a few more.
    const walk = Math.ceil((1.2 * limit * changes) / numbers.length);
    if (walk < numbers.length) {
      const wanted = new Set(numbers);
      return {
        ...(await this.latest(times, { limit, last, walk }, async () => wanted)),
        ...total,
      };
    }
    // Where the watches are fewer, to read when each of them changed is sooner done.
    const dated = await this.changedWithin(times, numbers);
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
   */
  private async matching(search: Search): Promise<Matches> {
    const { counted, atOnce } = this.limits;
    const { fields, judges, byTime, changes } = search;
    if (byTime !== null && changes <= atOnce) return allOf(await this.changedAmong(search));
    const areRead = byTime !== null && changes <= counted;
    const indexes = roughly(search);
    // Where the times alone are asked for, it is known how many there are.
    const isByTime = fields.length === 0 && judges.every((one) => one === byTime);
    if (isByTime && (indexes.length > 0 || !areRead)) {
      return { numbers: null, total: Math.min(changes, counted), isCapped: changes > counted };
    }
    const { numbers, next } = await this.numbersIn(indexes);
    if (next !== null && areRead) return allOf(await this.changedAmong(search));
    const found = await this.judged(judges, numbers);
    return { numbers: found, total: found.length, isCapped: next !== null };
  }

  /** All that match of those that changed within a time, the newest first. */
  private async changedAmong(search: Search): Promise<number[]> {
    const found = new Set<number>();
    for await (const some of this.changes(search.times, { walk: this.limits.atOnce })) {
      for (const { number } of some) found.add(number);
    }
    const numbers = [...found].sort((a, b) => b - a);
    return this.among(search, numbers);
  }

  /** Those that match of some that changed within the time. */
  private async among(
    { fields, judges, byTime }: Search,
    numbers: readonly number[],
  ): Promise<number[]> {
    const others = judges.filter((one) => one !== byTime);
    return this.judged(others, await numbersAmong(this.redis, fields, numbers));
  }

  /** Those that all judges pass. Of those that the indexes of a judge are sure of, it judges none. */
  private async judged(judges: readonly Judge[], numbers: number[]): Promise<number[]> {
    let left = numbers;
    for (const { fields, unsure, judge } of judges) {
      const doubted = await numbersAmong(this.redis, fields.length === 0 ? [] : [unsure], left);
      const out = new Set(doubted);
      for (const number of await judge(doubted)) out.delete(number);
      left = left.filter((number) => !out.has(number));
    }
    return left;
  }

  private async numbersIn(fields: string[][]): Promise<FoundNumbers> {
    const query = { kind: 'watch' as const, fields, order: 'newest' as const };
    return findNumbers(this.redis, this.keys, query, this.limits.counted);
  }

  private async searchOf(filter: StoredFilter): Promise<Search> {
    const { since, until, ...exact } = filter;
    const times = { since, until };
    const [byTime, changes] = await Promise.all([this.timeJudge(times), this.countChanges(times)]);
    const judges = byTime === null ? [] : [byTime];
    return { fields: this.fieldsOf(exact), judges, times, byTime, changes };
  }

  private fieldsOf(filter: Omit<StoredFilter, keyof TimeRange>): string[][] {
    const { keys } = this;
    const { state, status, sources, workflowId, batch, need, metadata = {}, ...rest } = filter;
    rest satisfies Record<string, never>;
    return [
      ...filterFields(keys.watches, { state, status, source: sources, workflow: workflowId }),
      ...(batch === undefined ? [] : [MEMBER_STATUSES.map((one) => batchIndex(keys, batch, one))]),
      ...(need === undefined ? [] : [[attentionIndex(keys, need)]]),
      ...Object.entries(metadata).map(([key, value]) => [metadataIndex(keys, key, value)]),
    ];
  }

  /** Of watches that changed on the days of a time, only those on the first and last are judged. */
  private async timeJudge(times: TimeRange): Promise<Judge | null> {
    const { since, until } = times;
    if (since === undefined && until === undefined) return null;
    const ends = [since, until].filter((end) => end !== undefined);
    return {
      fields: await this.dayFields(times),
      unsure: ends.map((end) => changedDayIndex(this.keys, changedDay(end))),
      judge: async (numbers) =>
        (await this.changedWithin(times, numbers)).map(({ number }) => number),
    };
  }

  /** The days of a time, as a field; none where there are too many to look them up. */
  private async dayFields({ since, until }: TimeRange): Promise<string[][]> {
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

/** Indexes that have all that a search is for, and perhaps others. */
function roughly({ fields, judges }: Search): string[][] {
  return [...fields, ...judges.flatMap((judge) => judge.fields)];
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
