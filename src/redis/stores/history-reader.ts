import type { Redis } from 'ioredis';
import type { Delivery, StoredDelivery } from '../../core/delivery/delivery.ts';
import type { AnyEvent, RunwatchEvent } from '../../core/event/event.ts';
import { watchId, type WatchKey } from '../../core/watch/watch.ts';
import {
  isPacked,
  unpackDeliveries,
  unpackEvents,
  unpackHistory,
  type History,
} from '../history-codec.ts';
import type { Keys } from '../keys.ts';
import { IS_PACKED } from '../lua/numbers.ts';
import type { NumberedRow } from '../numbers.ts';
import { script } from '../script.ts';

/** Events or deliveries read at once of a live watch. */
const CHUNK = 200;

/** An event or delivery with its number in the log of all of them. */
export interface Numbered<Item> {
  number: number;
  item: Item;
}

interface PartQuery<Item> {
  order: 'newest' | 'oldest';
  limit: number;
  /** The number to go on from; undefined begins. */
  from?: string | undefined;
  matches: (item: Item) => boolean;
}

interface Part<Item> {
  items: Numbered<Item>[];
  /** The number to go on from; null on the last page. */
  next: string | null;
}

/** How one kind of what belongs to a watch is read, live and packed. */
interface PartKind<Item> {
  liveKey: (keys: Keys, watch: string) => string;
  hashes: (keys: Keys) => string;
  fields: [version: string, text: string];
  parse: (text: string, version: string, number: number) => Item;
  /** All of a packed record, by their numbers. */
  unpack: (record: Buffer) => ReadonlyMap<number, Item>;
}

const EVENTS: PartKind<RunwatchEvent> = {
  liveKey: (keys, watch) => keys.liveEvents(watch),
  hashes: (keys) => keys.event(''),
  fields: ['place', 'body'],
  parse: (text) => JSON.parse(text) as RunwatchEvent,
  unpack: unpackEvents,
};

const DELIVERIES: PartKind<StoredDelivery> = {
  liveKey: (keys, watch) => keys.liveDeliveries(watch),
  hashes: (keys) => keys.delivery(''),
  fields: ['version', 'doc'],
  parse: (text, version, number) => ({
    version: Number(version),
    number,
    delivery: JSON.parse(text) as Delivery,
  }),
  unpack: unpackDeliveries,
};

/**
 * Part of the events or deliveries of a watch, from a number on, if one is given; `hashes` is how their keys begin.
 * `version` and `text` are the fields to read.
 * Returns [record] where the watch is packed, else ['', number, version or '', text, …].
 */
const READ_PART = script(
  'rwReadPart',
  {
    keys: ['watch', 'live'],
    args: ['hashes', 'order', 'most', 'version', 'text', 'from?'],
    isBytes: true,
    reply: (reply: Buffer[]) => reply,
  },
  `
${IS_PACKED}
if isPacked(keys.watch) then return {redis.call('GET', keys.watch)} end
local beyond = args.from and '(' .. args.from
local found
if args.order == 'newest' then
  found = redis.call('ZREVRANGEBYSCORE', keys.live, beyond or '+inf', '-inf', 'WITHSCORES', 'LIMIT', 0, args.most)
else
  found = redis.call('ZRANGEBYSCORE', keys.live, beyond or '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, args.most)
end
local reply = {''}
for at = 1, #found, 2 do
  local version, text = unpack(redis.call('HMGET', args.hashes .. found[at], args.version, args.text))
  for _, part in ipairs({found[at + 1], version or '', text or ''}) do reply[#reply + 1] = part end
end
return reply
`,
);

/**
 * One event or delivery: fields of its hash, the last of which each has; or the record of the watch, the further key,
 * that it belongs to, if it belongs to one. Returns ['live', fields], ['packed', record], or nothing.
 */
const READ_ONE = script(
  'rwReadOne',
  { keys: ['hash'], isBytes: true, reply: (reply: Buffer[]) => reply },
  `
${IS_PACKED}
local found = redis.call('HMGET', keys.hash, unpack(ARGV))
if found[#ARGV] then return {'live', unpack(found)} end
if KEYS[further] and isPacked(KEYS[further]) then return {'packed', redis.call('GET', KEYS[further])} end
return {}
`,
);

/** What of one event or delivery is in Redis: fields of its hash, or the history of its watch. */
type FoundOne = { is: 'live'; fields: string[] } | { is: 'packed'; history: History };

/** Reads events and deliveries of watches in either state. Errors of the connection pass through. */
export class HistoryReader {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  events(
    watches: readonly WatchKey[],
    query: PartQuery<RunwatchEvent>,
  ): Promise<Part<RunwatchEvent>> {
    return this.partOf(EVENTS, watches, query);
  }

  deliveries(
    watches: readonly WatchKey[],
    query: PartQuery<StoredDelivery>,
  ): Promise<Part<StoredDelivery>> {
    return this.partOf(DELIVERIES, watches, query);
  }

  /** Reads fields of one hash, the last of which each has, or the history that it was packed into. */
  async one(
    hash: string,
    watch: WatchKey | null,
    fields: readonly string[],
  ): Promise<FoundOne | null> {
    const further = watch === null ? [] : [this.keys.watch(watch)];
    const reply = await READ_ONE.run(this.redis, { hash }, {}, { further, rest: fields });
    const [is, ...found] = reply;
    if (is === undefined) return null;
    return is.toString() === 'live'
      ? { is: 'live', fields: found.map((field) => String(field ?? '')) }
      : { is: 'packed', history: unpackHistory(found[0] as Buffer) };
  }

  private async partOf<Item>(
    kind: PartKind<Item>,
    watches: readonly WatchKey[],
    query: PartQuery<Item>,
  ): Promise<Part<Item>> {
    const found = await Promise.all(watches.map((watch) => this.gather(kind, watch, query)));
    const sign = query.order === 'newest' ? -1 : 1;
    const items = found.flat().sort((a, b) => sign * (a.number - b.number));
    const page = items.slice(0, query.limit);
    const isLast = items.length <= query.limit;
    return { items: page, next: isLast ? null : String(page.at(-1)?.number ?? 0) };
  }

  /** One more than is wanted, where there are so many. */
  private async gather<Item>(
    kind: PartKind<Item>,
    watch: WatchKey,
    { order, limit, from, matches }: PartQuery<Item>,
  ): Promise<Numbered<Item>[]> {
    const found: Numbered<Item>[] = [];
    for (let next = from; found.length <= limit;) {
      const some = await this.readSome(kind, watch, { order, from: next });
      found.push(...some.items.filter(({ item }) => matches(item)));
      if (some.isLast) break;
      next = String(some.items.at(-1)?.number ?? 0);
    }
    return found.slice(0, limit + 1);
  }

  private async readSome<Item>(
    kind: PartKind<Item>,
    watch: WatchKey,
    { order, from }: Pick<PartQuery<Item>, 'order' | 'from'>,
  ): Promise<{ items: Numbered<Item>[]; isLast: boolean }> {
    const { keys } = this;
    const [version, text] = kind.fields;
    const [record, ...flat] = await READ_PART.run(
      this.redis,
      { watch: keys.watch(watch), live: kind.liveKey(keys, watchId(watch)) },
      { hashes: kind.hashes(keys), order, most: CHUNK, version, text, from },
    );
    if (record !== undefined && isPacked(record)) {
      return { items: ordered(kind.unpack(record), order, from), isLast: true };
    }
    const items: Numbered<Item>[] = [];
    for (let at = 0; at < flat.length; at += 3) {
      const [place, versionOf = '', textOf] = flat.slice(at, at + 3).map(String);
      const number = Number(place);
      if (textOf) items.push({ number, item: kind.parse(textOf, versionOf, number) });
    }
    return { items, isLast: flat.length < 3 * CHUNK };
  }
}

/** Reads the rows of a walk over all events or deliveries. */
export function readRows(kind: 'event', rows: readonly NumberedRow[]): Numbered<AnyEvent>[];
export function readRows(
  kind: 'delivery',
  rows: readonly NumberedRow[],
): Numbered<StoredDelivery>[];
export function readRows(
  kind: 'event' | 'delivery',
  rows: readonly NumberedRow[],
): Numbered<AnyEvent | StoredDelivery>[] {
  const part: PartKind<RunwatchEvent | StoredDelivery> = kind === 'event' ? EVENTS : DELIVERIES;
  // Numbers of one watch share its record, which takes most of the time to unpack.
  const unpacked = new Map<Buffer, ReadonlyMap<number, RunwatchEvent | StoredDelivery>>();
  const itemsOf = (record: Buffer) => {
    const items = unpacked.get(record) ?? part.unpack(record);
    unpacked.set(record, items);
    return items;
  };
  return rows.flatMap(({ number: place, record, version, text }) => {
    const number = Number(place);
    const item = record === null ? part.parse(text, version, number) : itemsOf(record).get(number);
    return item === undefined ? [] : [{ number, item }];
  });
}

function ordered<Item>(
  items: ReadonlyMap<number, Item>,
  order: 'newest' | 'oldest',
  from: string | undefined,
): Numbered<Item>[] {
  const sign = order === 'newest' ? -1 : 1;
  return [...items]
    .map(([number, item]) => ({ number, item }))
    .filter(({ number }) => from === undefined || sign * (number - Number(from)) > 0)
    .sort((a, b) => sign * (a.number - b.number));
}
