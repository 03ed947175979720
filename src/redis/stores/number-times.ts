import type { Redis } from 'ioredis';
import type { StoredDelivery } from '../../core/delivery/delivery.ts';
import { detectedAt } from '../../core/event/event.ts';
import type { Keys } from '../keys.ts';
import { CHUNK, firstOf } from '../index-columns.ts';
import { logOf, readNumbers, type NumberedRow, type NumberRange } from '../numbers.ts';
import { script } from '../script.ts';
import { readRows } from './history-reader.ts';

type TimedKind = 'event' | 'delivery';

/** A time from which on, and one before which. Milliseconds since the epoch. */
export interface TimeRange {
  since?: number | undefined;
  until?: number | undefined;
}

export function isWithin(at: number, { since = -Infinity, until = Infinity }: TimeRange): boolean {
  return at >= since && at < until;
}

/** Records that are read at once. */
const PROBES = 8;

/**
 * The numbers of the deliveries that were made within a time. Numbers grow with time, so no index is
 * needed: a search reads some 50 records for each bound, however many there are.
 * @returns undefined where no time is given
 */
export async function numbersWithin(
  redis: Redis,
  keys: Keys,
  times: TimeRange,
): Promise<NumberRange | undefined> {
  const search = new TimeSearch(redis, keys, 'delivery');
  const bound = (time: number) => search.firstFrom(time);
  return rangeOf(times, { first: bound, end: bound });
}

/**
 * The numbers of the chunks with all events that happened within a time, and with others. Events near
 * one another are not always numbered in the order in which they happened, so their reader judges each.
 * @returns undefined where no time is given
 */
export async function eventsAround(
  redis: Redis,
  keys: Keys,
  times: TimeRange,
): Promise<NumberRange | undefined> {
  const search = new TimeSearch(redis, keys, 'event');
  return rangeOf(times, {
    first: (since) => search.chunkBefore(since),
    end: (until) => search.chunkFrom(until),
  });
}

/** @param bounds the first number for a time to begin with, and the one behind the last for its end */
async function rangeOf(
  { since, until }: TimeRange,
  bounds: Record<'first' | 'end', (time: number) => Promise<number>>,
): Promise<NumberRange | undefined> {
  if (since === undefined && until === undefined) return undefined;
  const [first, end] = await Promise.all([
    since === undefined ? 0 : bounds.first(since),
    until === undefined ? Infinity : bounds.end(until),
  ]);
  return { first, last: end - 1 };
}

/**
 * Those of some deliveries, newest first, that were made at a time or later. It reads some 40 records at
 * most, however many numbers there are.
 */
export async function numbersSince(
  redis: Redis,
  keys: Keys,
  { numbers, since }: { numbers: readonly number[]; since: number },
): Promise<number[]> {
  const search = new TimeSearch(redis, keys, 'delivery');
  const older = await search.countBefore(numbers.toReversed(), since);
  return numbers.slice(0, numbers.length - older);
}

/** The lowest numbers of chunks of a log, its further arguments, by their ranks: a number or '' for each. */
const CHUNK_STARTS = script(
  'rwChunkStarts',
  {
    keys: ['chunks'],
    args: ['log'],
    reply: (starts: string[]) => starts,
  },
  `
local starts = {}
for at = rest, #ARGV do
  local chunk = redis.call('ZRANGE', keys.chunks, ARGV[at], ARGV[at])[1]
  local lowest
  for _, place in ipairs(chunk and redis.call('HKEYS', args.log .. chunk) or {}) do
    lowest = math.min(lowest or 128, tonumber(place))
  end
  starts[#starts + 1] = lowest and tostring(chunk * 128 + lowest) or ''
end
return starts
`,
);

class TimeSearch {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly kind: TimedKind,
  ) {}

  /** The lowest number of a record that was made at a time or later; above all others if none was. */
  async firstFrom(time: number): Promise<number> {
    return this.firstInChunk((await this.chunksBefore(time)) - 1, time);
  }

  /** The lowest number of the last chunk that begins before a time; 0 where none does. */
  async chunkBefore(time: number): Promise<number> {
    const rank = (await this.chunksBefore(time)) - 1;
    const chunk = rank < 0 ? undefined : await this.chunkAt(rank);
    return chunk === undefined ? 0 : firstOf(chunk);
  }

  /** The lowest number of the first chunk that begins at a time or later; above all where none does. */
  async chunkFrom(time: number): Promise<number> {
    const chunk = await this.chunkAt(await this.chunksBefore(time));
    return chunk === undefined ? Infinity : firstOf(chunk);
  }

  /** How many chunks begin before a time. */
  private async chunksBefore(time: number): Promise<number> {
    const count = await this.redis.zcard(`${this.log}chunks`);
    return firstNotBefore(count, (ranks) => this.probe(ranks, time));
  }

  private async chunkAt(rank: number): Promise<number | undefined> {
    const [chunk] = await this.redis.zrange(`${this.log}chunks`, rank, String(rank));
    return chunk === undefined ? undefined : Number(chunk);
  }

  private get log(): string {
    return logOf(this.keys, this.kind);
  }

  /** Whether chunks begin before a time, in the order of their ranks; those without a record are left out. */
  private async probe(ranks: readonly number[], time: number): Promise<Probe[]> {
    const { log } = this;
    const chunks = `${log}chunks`;
    const starts = await CHUNK_STARTS.run(this.redis, { chunks }, { log }, { rest: ranks });
    const numbers = starts.flatMap((start) => (start === '' ? [] : [Number(start)]));
    const times = await this.timesOf(numbers);
    return ranks.flatMap((rank, at) => {
      const made = times.get(Number(starts[at]));
      return made === undefined ? [] : [{ rank, isBefore: made < time }];
    });
  }

  private async firstInChunk(rank: number, time: number): Promise<number> {
    if (rank < 0) return 0;
    const chunk = await this.chunkAt(rank);
    if (chunk === undefined) return 0;
    const places = await this.redis.hkeys(`${this.log}${chunk}`);
    const beginning = firstOf(chunk);
    const numbers = places.map((place) => beginning + Number(place)).sort((a, b) => a - b);
    return numbers[await this.countBefore(numbers, time)] ?? beginning + CHUNK;
  }

  /** How many of some numbers, oldest first, were made before a time. */
  async countBefore(numbers: readonly number[], time: number): Promise<number> {
    return firstNotBefore(numbers.length, (ranks) => this.probeNumbers(numbers, ranks, time));
  }

  private async probeNumbers(numbers: readonly number[], ranks: readonly number[], time: number) {
    const times = await this.timesOf(ranks.map((rank) => numbers[rank] ?? 0));
    return ranks.flatMap((rank): Probe[] => {
      const made = times.get(numbers[rank] ?? 0);
      return made === undefined ? [] : [{ rank, isBefore: made < time }];
    });
  }

  private async timesOf(numbers: readonly number[]): Promise<Map<number, number>> {
    const rows = await readNumbers(this.redis, this.keys, this.kind, numbers);
    return new Map(timesOfRows(this.kind, rows));
  }
}

function timesOfRows(kind: TimedKind, rows: readonly NumberedRow[]): [number, number][] {
  return kind === 'event'
    ? readRows(kind, rows).map(({ number, item }) => [number, detectedAt(item)])
    : readRows(kind, rows).map(({ number, item }) => [number, createdAt(item)]);
}

function createdAt({ delivery }: StoredDelivery): number {
  return delivery.createdAt;
}

interface Probe {
  rank: number;
  isBefore: boolean;
}

/** How many of the first ranks are before a time; some of those that are probed may have no record. */
async function firstNotBefore(
  count: number,
  probe: (ranks: readonly number[]) => Promise<Probe[]>,
): Promise<number> {
  let [low, high] = [0, count];
  while (low < high) {
    const found = await probe(spread(low, high));
    if (found.length === 0) break;
    const later = found.findIndex(({ isBefore }) => !isBefore);
    const [before, after] = [found[later === -1 ? found.length - 1 : later - 1], found[later]];
    low = before === undefined ? low : before.rank + 1;
    high = after?.rank ?? high;
  }
  return low;
}

/** Up to {@link PROBES} ranks of a range, with the same distance. */
function spread(low: number, high: number): number[] {
  const count = Math.min(PROBES, high - low);
  return Array.from(
    { length: count },
    (_, at) => low + Math.floor(((at + 0.5) * (high - low)) / count),
  );
}
