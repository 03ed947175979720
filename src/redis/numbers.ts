import type { Redis } from 'ioredis';
import { sum } from '../core/arrays.ts';
import type { Total } from '../core/page.ts';
import { replies } from './connection.ts';
import {
  CHUNK,
  chunkOf,
  fewestChunks,
  firstOf,
  readPlaces,
  type Fields,
  type Places,
} from './index-columns.ts';
import { beginningOfWatches, type Keys } from './keys.ts';
import { COUNTED, IS_PACKED, NUMBERS } from './lua/numbers.ts';
import { script } from './script.ts';

/** Chunks read in one go: few at first, since most pages are full after few; at least as many as can do. */
const FIRST_CHUNKS = 8;

const MOST_AT_ONCE = 512;

/** Chunks that one answer is looked for in: bounds its reads, also where hardly any number matches. */
const MOST_CHUNKS = 8_192;

/** Numbers that are read in one call of the script. */
const ROWS_AT_ONCE = 200;

/** What the numbers of a log stand for. */
export type NumberedKind = 'name' | 'watch' | 'event' | 'delivery';

type NumberOrder = 'newest' | 'oldest';

/** Which numbers are meant. */
export interface NumberQuery {
  kind: NumberedKind;
  /** For each field that is filtered by, its indexes: a number must be in any of each. */
  fields: Fields;
  order: NumberOrder;
  /** The number to go on from; undefined begins. */
  from?: string | undefined;
  /** The lowest and the highest number that are meant. */
  within?: NumberRange | undefined;
}

export interface NumberRange {
  first: number;
  last: number;
}

interface NumberWalk extends NumberQuery {
  limit: number;
}

/** A number with what it stands for. */
export interface NumberedRow {
  number: string;
  /** The id of the watch that it belongs to; '' for none. */
  watch: string;
  /** The watch's record, where it is packed. A watch alone: its record in either state. */
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

/** Numbers in the order that was asked for. */
export interface FoundNumbers {
  numbers: number[];
  /** The number to go on from, beyond the last one examined; null where no more can match. */
  next: string | null;
}

/**
 * One page of what is meant. A page has fewer rows than wanted where hardly anything matches and many
 * chunks had to be read; `next` goes on there.
 */
export async function walkNumbers(redis: Redis, keys: Keys, walk: NumberWalk): Promise<NumberPage> {
  const { numbers, next } = await findNumbers(redis, keys, walk, walk.limit);
  return { rows: await readNumbers(redis, keys, walk.kind, numbers), next };
}

/** Up to `most` numbers that are meant. No command of Redis works for long. */
export async function findNumbers(
  redis: Redis,
  keys: Keys,
  query: NumberQuery,
  most: number,
): Promise<FoundNumbers> {
  const { order, fields } = query;
  const log = logOf(keys, query.kind);
  const range = rangeOf(query);
  const readChunks = await chunkReader(redis, { log, fields, order, range });
  const numbers: number[] = [];
  let edge = query.from ?? null;
  let read = 0;
  let size = Math.max(FIRST_CHUNKS, Math.ceil(most / CHUNK));
  while (read < MOST_CHUNKS) {
    const chunks = await readChunks(Math.min(size, MOST_CHUNKS - read));
    if (chunks.length === 0) return { numbers, next: null };
    const places = await readPlaces(redis, { log, fields, chunks });
    const isFull = gather(numbers, { chunks, places, order, range, most });
    if (isFull) return { numbers, next: String(numbers.at(-1) ?? edge) };
    const last = chunks.at(-1) ?? 0;
    edge = String(order === 'newest' ? firstOf(last) : firstOf(last + 1) - 1);
    read += chunks.length;
    size = Math.min(4 * size, MOST_AT_ONCE, chunksFor(most, { found: numbers.length, read }));
  }
  return { numbers, next: edge };
}

/** How many more chunks hold the rest, where numbers are as dense in them as in those that were read. */
function chunksFor(most: number, { found, read }: { found: number; read: number }): number {
  return Math.max(FIRST_CHUNKS, Math.ceil(((most + 1 - found) * read) / found));
}

interface ReadChunks {
  chunks: readonly number[];
  places: Places;
  order: NumberOrder;
  range: NumberRange;
  most: number;
}

/** Adds the numbers that are meant. @returns whether there are more of them than wanted */
function gather(numbers: number[], { chunks, places, order, range, most }: ReadChunks): boolean {
  const [start, step] = order === 'newest' ? [CHUNK - 1, -1] : [0, 1];
  for (let at = 0; at < chunks.length; at += 1) {
    const first = firstOf(chunks[at] ?? 0);
    for (let place = start; place >= 0 && place < CHUNK; place += step) {
      if (places[at * CHUNK + place] !== 1) continue;
      const number = first + place;
      if (number < range.first || number > range.last) continue;
      if (numbers.length === most) return true;
      numbers.push(number);
    }
  }
  return false;
}

/**
 * What numbers of a log, its further arguments, stand for: of the kind 'name', 'watch', 'event' or 'delivery'.
 * The chunks of the log say where the script runs. `begins` is how keys begin, as JSON.
 * Returns five texts for each number in use: itself, the watch's id, packed record, version, and text.
 * The record is that of a packed watch and given once.
 */
const READ_NUMBERS = script(
  'rwReadNumbers',
  {
    keys: ['chunks'],
    args: ['log', 'kind', 'begins'],
    isBytes: true,
    reply: (rows: Buffer[]) => rows,
  },
  `
${NUMBERS}
local log, kind, begins = args.log, args.kind, cjson.decode(args.begins)

${IS_PACKED}
local given = {}
-- The packed record of a watch, the first time that it is asked for; nil where it is not packed.
local function packed(name)
  if given[name] == nil then
    given[name] = isPacked(begins.watch .. name)
    return given[name] and redis.call('GET', begins.watch .. name) or nil
  end
  return given[name] and '' or nil
end

local reply = {}
local function add(...)
  for _, part in ipairs({...}) do reply[#reply + 1] = part end
end

local function addEvent(number, name)
  local record = packed(name)
  if record then return add(number, name, record, '', '') end
  local id = redis.call('ZRANGEBYSCORE', begins.liveEvents .. name, number, number)[1]
  local body = id and redis.call('HGET', begins.event .. id, 'body')
  if body then add(number, name, '', '', body) end
end

-- An event that is about no run is in the log by its id.
local function addOwnEvent(number, id)
  local body = redis.call('HGET', begins.event .. id, 'body')
  if body then add(number, '', '', '', body) end
end

local function addDelivery(number, name, id)
  local record = name and packed(name)
  if record then return add(number, name, record, '', '') end
  id = id or redis.call('ZRANGEBYSCORE', begins.liveDeliveries .. name, number, number)[1]
  local version, doc = unpack(redis.call('HMGET', begins.delivery .. (id or ''), 'version', 'doc'))
  if doc then add(number, name or '', '', version, doc) end
end

-- What the log has of the numbers, a chunk of it by one command.
local values, at = {}, rest
while at <= #ARGV do
  local chunk, first, places = math.floor(ARGV[at] / 128), at, {}
  while at <= #ARGV and math.floor(ARGV[at] / 128) == chunk do
    places[#places + 1] = ARGV[at] % 128
    at = at + 1
  end
  for place, value in ipairs(redis.call('HMGET', log .. chunk, unpack(places))) do
    values[first + place - 1] = value
  end
end

for at = rest, #ARGV do
  local text, value = ARGV[at], values[at]
  if kind == 'name' then
    if value then add(text, value, '', '', '') end
  elseif kind == 'watch' then
    local record = value and redis.call('GET', begins.watch .. value)
    -- One that was registered again, or whose registration failed half-way, has another number.
    if record and tonumber(string.sub(record, 14, 25)) == tonumber(text) then add(text, value, record, '', '') end
  elseif value then
    -- A delivery of a system event is in the log by its id.
    local watch = tonumber(value)
    local name = watch and readLog(begins.names, watch)
    if kind == 'event' then
      if name then
        addEvent(text, name)
      elseif not watch then
        addOwnEvent(text, value)
      end
    elseif name or not watch then
      addDelivery(text, name, not watch and value or nil)
    end
  end
end
return reply
`,
);

/** What numbers stand for, in their order; those that stand for nothing any more are left out. */
export async function readNumbers(
  redis: Redis,
  keys: Keys,
  kind: NumberedKind,
  numbers: readonly number[],
): Promise<NumberedRow[]> {
  if (numbers.length === 0) return [];
  const log = logOf(keys, kind);
  const begins = JSON.stringify(beginnings(keys));
  const read = async (_: unknown, at: number): Promise<Buffer[]> => {
    const some = numbers.slice(at * ROWS_AT_ONCE, (at + 1) * ROWS_AT_ONCE);
    const chunks = `${log}chunks`;
    return READ_NUMBERS.run(redis, { chunks }, { log, kind, begins }, { rest: some });
  };
  const calls = Math.ceil(numbers.length / ROWS_AT_ONCE);
  return (await Promise.all(Array.from({ length: calls }, read))).flatMap(rowsOf);
}

/** Which of some numbers are in any index of each field. */
export async function numbersAmong(
  redis: Redis,
  fields: Fields,
  numbers: readonly number[],
): Promise<number[]> {
  if (fields.length === 0 || numbers.length === 0) return [...numbers];
  const chunks = [...new Set(numbers.map(chunkOf))];
  const places = await readPlaces(redis, { log: '', fields, chunks });
  const starts = new Map(chunks.map((chunk, at) => [chunk, at * CHUNK]));
  return numbers.filter((number) => {
    return places[(starts.get(chunkOf(number)) ?? 0) + (number % CHUNK)] === 1;
  });
}

/** The fields that a filter names, each with the indexes of its values. */
export function filterFields(
  indexOf: (name: string, value: string) => string,
  filter: Record<string, readonly string[] | undefined>,
): string[][] {
  return Object.entries(filter).flatMap(([name, values]) =>
    values === undefined ? [] : [values.map((value) => indexOf(name, value))],
  );
}

/**
 * The values of the field `source` of what some sources may read: also of batches of several, of which none is
 * another's.
 */
export async function readableSources(
  redis: Redis,
  { batchSources }: Keys,
  sources: readonly string[] | undefined,
): Promise<readonly string[] | undefined> {
  if (sources === undefined || sources.length < 2) return sources;
  const lists = await redis.zrange(batchSources, 0, '-1');
  const own = new Set(sources);
  return [...sources, ...lists.filter((list) => list.split(',').every((one) => own.has(one)))];
}

/** Counts the numbers that are in an index, and in another, if there is one. */
export const COUNT_NUMBERS = script(
  'rwCountNumbers',
  { keys: ['index'], reply: (count: number) => count },
  `
${COUNTED}
return counted(keys.index, KEYS[further])
`,
);

/** How many numbers are in all of the indexes, one or two. */
export function countNumbers(redis: Redis, index: string, other?: string): Promise<number> {
  return COUNT_NUMBERS.run(redis, { index }, {}, { further: other === undefined ? [] : [other] });
}

/** Chunks that stand for all of a log where its numbers are estimated. */
const SAMPLED_CHUNKS = 8;

/** About how many numbers a log has: by how many chunks, and how full some of them are. */
export async function estimateNumbers(redis: Redis, log: string): Promise<number> {
  const all = await redis.zcard(`${log}chunks`);
  const sampled = Math.min(all, SAMPLED_CHUNKS);
  const pipeline = redis.pipeline();
  for (let at = 0; at < sampled; at += 1) {
    const rank = String(Math.floor((at * all) / sampled));
    pipeline.zrange(`${log}chunks`, rank, rank);
  }
  const chunks = (await replies<string[]>(pipeline)).flat();
  const sizes = await Promise.all(chunks.map((chunk) => redis.hlen(log + chunk)));
  return sizes.length === 0 ? 0 : Math.round((all * sum(sizes)) / sizes.length);
}

/** What is meant of all numbers: those beyond `from`, and within the bounds. */
function rangeOf({ order, from, within }: NumberQuery): NumberRange {
  const { first, last } = within ?? { first: 0, last: Infinity };
  if (from === undefined) return { first, last };
  return order === 'newest'
    ? { first, last: Math.min(last, Number(from) - 1) }
    : { first: Math.max(first, Number(from) + 1), last };
}

interface ChunkQuery {
  log: string;
  fields: Fields;
  order: NumberOrder;
  range: NumberRange;
}

/**
 * A function that reads the next chunks in which numbers can be that are meant; none at the end. They
 * are those of the field that has fewest, unless the log itself has hardly more.
 */
async function chunkReader(redis: Redis, query: ChunkQuery) {
  const { order, range } = query;
  const sign = order === 'newest' ? -1 : 1;
  const [low, high] = [chunkOf(range.first), chunkOf(range.last)];
  const few = await fewestChunks(redis, query.log, query.fields);
  const listed = few
    ?.filter((chunk) => chunk >= low && chunk <= high)
    .sort((a, b) => sign * (a - b));
  let start = order === 'newest' ? high : low;
  return async (most: number): Promise<number[]> => {
    if (listed !== undefined) return listed.splice(0, most);
    const bounds = order === 'newest' ? [start, low] : [start, high];
    const [from, to] = bounds.map((bound) => (bound === Infinity ? '+inf' : String(bound)));
    const key = `${query.log}chunks`;
    const found =
      order === 'newest'
        ? await redis.zrevrangebyscore(key, from ?? '', to ?? '', 'LIMIT', 0, most)
        : await redis.zrangebyscore(key, from ?? '', to ?? '', 'LIMIT', 0, most);
    const chunks = found.map(Number);
    start = (chunks.at(-1) ?? 0) + sign;
    return chunks;
  };
}

function rowsOf(reply: Buffer[]): NumberedRow[] {
  const records = new Map<string, Buffer>();
  return Array.from({ length: reply.length / 5 }, (_, at) => {
    const row = rowOf(reply.slice(5 * at, 5 * at + 5));
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

export function logOf(keys: Keys, kind: NumberedKind): string {
  if (kind === 'event') return keys.eventLog;
  return kind === 'delivery' ? keys.deliveryLog : keys.watchNames;
}

/** What the script completes by what it reads. */
function beginnings(keys: Keys) {
  return {
    watch: beginningOfWatches(keys),
    names: keys.watchNames,
    event: keys.event(''),
    delivery: keys.delivery(''),
    liveEvents: keys.liveEvents(''),
    liveDeliveries: keys.liveDeliveries(''),
  };
}

/** Listings count what matches up to here. */
export const MOST_COUNTED = 10_000;

interface CountedQuery extends Omit<NumberQuery, 'order'> {
  limit: number;
}

/** One page of numbers, newest first, and how many there are from the newest to the oldest. */
export async function countedNumbers(
  redis: Redis,
  keys: Keys,
  { limit, from, ...query }: CountedQuery,
): Promise<FoundNumbers & Total> {
  const newest = { ...query, order: 'newest' as const };
  const all = await findNumbers(redis, keys, newest, MOST_COUNTED);
  const counted = { total: all.numbers.length, isCapped: all.next !== null };
  const left =
    from === undefined ? all.numbers : all.numbers.filter((number) => number < Number(from));
  if (left.length > limit || !counted.isCapped) return { ...pageOf(left, limit), ...counted };
  return { ...(await findNumbers(redis, keys, { ...newest, from }, limit)), ...counted };
}

/** The first numbers of all that are left. */
export function pageOf(numbers: readonly number[], limit: number): FoundNumbers {
  const page = numbers.slice(0, limit);
  return { numbers: page, next: numbers.length > limit ? String(page.at(-1)) : null };
}
