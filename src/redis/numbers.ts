import type { Redis } from 'ioredis';
import type { Keys } from './keys.ts';

/** Chunks of 128 numbers that one call of the script walks: bounds how long Redis is busy with it. */
const CHUNKS_AT_ONCE = 100;

/** What the numbers of a log stand for. */
type NumberedKind = 'name' | 'watch' | 'event' | 'delivery';

interface NumberWalk {
  kind: NumberedKind;
  /** Indexes that a number must be in; none for all numbers of the log. */
  indexes: readonly string[];
  order: 'newest' | 'oldest';
  limit: number;
  /** The number to go on from; undefined begins. */
  from?: string | undefined;
  /** Numbers walked by all calls together, at about that many more matches may exist. */
  mostWalked?: number;
}

/** A number with what it stands for. */
export interface NumberedRow {
  number: string;
  /** The id of the watch that it belongs to; '' for none. */
  watch: string;
  /** The watch's packed record, where it is folded. A watch alone: its record in either state. */
  record: Buffer | null;
  /** Of a live delivery. */
  version: string;
  /** Of a live event or delivery. */
  text: string;
}

interface NumberPage {
  rows: NumberedRow[];
  /** The number to go on from; null on the last page. */
  next: string | null;
}

/** One page of what is in a log and in all of the indexes. No call of Redis works for long. */
export async function walkNumbers(redis: Redis, keys: Keys, walk: NumberWalk): Promise<NumberPage> {
  const { mostWalked = Infinity } = walk;
  const rows: NumberedRow[] = [];
  let from = walk.from ?? '';
  let walked = 0;
  do {
    const reply = await redis.rwWalkNumbersBuffer(
      walk.indexes.length,
      ...walk.indexes,
      logOf(keys, walk.kind),
      walk.order,
      from,
      walk.limit - rows.length,
      CHUNKS_AT_ONCE,
      walk.kind,
      JSON.stringify(beginnings(keys)),
    );
    from = reply[0]?.toString() ?? '';
    walked += CHUNKS_AT_ONCE * 128;
    rows.push(...rowsOf(reply));
  } while (rows.length < walk.limit && from !== '' && walked < mostWalked);
  return { rows, next: from === '' ? null : from };
}

/**
 * The same for numbers that are in all indexes of one of the groups. Groups have no number in common.
 */
export async function walkGroups(
  redis: Redis,
  keys: Keys,
  { groups, ...walk }: Omit<NumberWalk, 'indexes'> & { groups: string[][] },
): Promise<NumberPage> {
  const pages = await Promise.all(
    groups.map((indexes) => walkNumbers(redis, keys, { ...walk, indexes })),
  );
  const [only] = pages;
  if (only !== undefined && pages.length === 1) return only;
  const sign = walk.order === 'newest' ? -1 : 1;
  const found = pages
    .flatMap(({ rows }) => rows)
    .sort((a, b) => sign * (Number(a.number) - Number(b.number)));
  const rows = found.slice(0, walk.limit);
  const isLast = found.length <= walk.limit && pages.every((page) => page.next === null);
  return { rows, next: isLast ? null : (rows.at(-1)?.number ?? null) };
}

/** How many numbers are in all of the indexes, one or two. */
export function countNumbers(redis: Redis, ...indexes: [string, string?]): Promise<number> {
  return redis.rwCountNumbers(indexes.length, ...indexes.filter((index) => index !== undefined));
}

/** For each way of taking one value of each field, the indexes that such a record is in. */
export function filterGroups(
  indexOf: (name: string, value: string) => string,
  filter: Record<string, readonly string[] | undefined>,
): string[][] {
  return Object.entries(filter).reduce<string[][]>(
    (groups, [name, values]) =>
      values === undefined
        ? groups
        : groups.flatMap((group) => values.map((value) => [...group, indexOf(name, value)])),
    [[]],
  );
}

function rowsOf(reply: Buffer[]): NumberedRow[] {
  const records = new Map<string, Buffer>();
  return Array.from({ length: (reply.length - 1) / 5 }, (_, at) => {
    const row = rowOf(reply.slice(1 + 5 * at, 6 + 5 * at));
    if (row.record !== null) records.set(row.watch, row.record);
    // A record that several numbers share comes once.
    else if (row.text === '') row.record = records.get(row.watch) ?? null;
    return row;
  });
}

function rowOf([number, watch, record, version, text]: Buffer[]): NumberedRow {
  return {
    number: number?.toString() ?? '',
    watch: watch?.toString() ?? '',
    record: record === undefined || record.length === 0 ? null : record,
    version: version?.toString() ?? '',
    text: text?.toString() ?? '',
  };
}

function logOf(keys: Keys, kind: NumberedKind): string {
  if (kind === 'event') return keys.eventLog;
  return kind === 'delivery' ? keys.deliveryLog : keys.watchNames;
}

/** What the script completes by what it reads. */
function beginnings(keys: Keys) {
  return {
    watch: keys.watch({ source: '', runId: '' }).slice(0, -1),
    names: keys.watchNames,
    event: keys.event(''),
    delivery: keys.delivery(''),
    liveEvents: keys.liveEvents(''),
    liveDeliveries: keys.liveDeliveries(''),
  };
}
