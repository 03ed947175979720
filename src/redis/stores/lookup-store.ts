import type { Redis } from 'ioredis';
import { parseWatchId, type WatchKey } from '../../core/watch/watch.ts';
import type { Keys } from '../keys.ts';
import type { DeliveryStore } from './delivery-store.ts';
import type { EventStore } from './event-store.ts';
import { HistoryReader } from './history-reader.ts';
import type { WatchStore } from './watch-store.ts';

/** Chunks of 128 watches that one call of the script examines: some milliseconds of Redis. */
const CHUNKS_AT_ONCE = 100;

/** Most of those calls: a million watches. */
const MOST_CALLS = 80;

/** Events and deliveries are found among the newest 5,000. */
const PAGE_SIZE = 200;
const MOST_PAGES = 25;

/** What can be found by the beginning of its id. */
type LookupKind = 'run' | 'event' | 'delivery';

interface Found {
  kind: LookupKind;
  id: string;
  source?: string;
}

interface LookupRequest {
  kind: LookupKind;
  /** How the id begins. */
  prefix: string;
  limit: number;
  /** Of runs; absent for all. */
  sources?: readonly string[];
}

interface LookupResult {
  found: Found[];
  /** There are, or may be, others that begin so. */
  more: boolean;
}

interface LookupStoreOptions {
  redis: Redis;
  keys: Keys;
  watches: Pick<WatchStore, 'getMany'>;
  events: Pick<EventStore, 'newest' | 'body'>;
  deliveries: Pick<DeliveryStore, 'created' | 'get'>;
}

/** Finds ids by how they begin, without an index. Errors of the connection pass through. */
export class LookupStore {
  readonly #options: LookupStoreOptions;
  readonly #history: HistoryReader;

  constructor(options: LookupStoreOptions) {
    this.#options = options;
    this.#history = new HistoryReader(options.redis, options.keys);
  }

  /** An equal id alone; else those that begin so, the newest first. */
  async find({ kind, prefix, limit, sources }: LookupRequest): Promise<LookupResult> {
    switch (kind) {
      case 'run':
        return this.#runs(prefix, limit, sources);
      case 'event':
        return this.#events(prefix, limit);
      case 'delivery':
        return this.#deliveries(prefix, limit);
    }
  }

  async #runs(
    prefix: string,
    limit: number,
    sources: readonly string[] | undefined,
  ): Promise<LookupResult> {
    const { watches } = this.#options;
    const same = await this.#history.watchesOf(prefix);
    const equal = same.filter(({ source }) => sources?.includes(source) ?? true);
    const kept = await watches.getMany(equal);
    const named = equal.filter((_, at) => kept[at] !== null);
    if (named.length > 0) return { found: named.map(presentRun), more: false };
    const { keys, isAll } = await this.#watchesThatBegin(prefix, limit + 1, sources);
    const stored = await watches.getMany(keys);
    const there = keys.filter((_, at) => stored[at] !== null);
    return { found: there.slice(0, limit).map(presentRun), more: !isAll || there.length > limit };
  }

  async #watchesThatBegin(
    prefix: string,
    most: number,
    sources: readonly string[] = [],
  ): Promise<{ keys: WatchKey[]; isAll: boolean }> {
    const { redis, keys } = this.#options;
    const ids = new Set<string>();
    let from = '';
    for (let calls = 0; calls < MOST_CALLS && ids.size < most; calls += 1) {
      const [next = '', ...found] = await redis.rwFindWatches(
        keys.watchNames,
        from,
        CHUNKS_AT_ONCE,
        prefix,
        most,
        ...sources,
      );
      for (const id of found) ids.add(id);
      from = next;
      if (from === '') break;
    }
    return { keys: [...ids].map(parseWatchId), isAll: from === '' };
  }

  async #events(prefix: string, limit: number): Promise<LookupResult> {
    const { events } = this.#options;
    if ((await events.body(prefix)) !== null) return onlyThis('event', prefix);
    return walk('event', { prefix, limit }, events.newest(PAGE_SIZE));
  }

  async #deliveries(prefix: string, limit: number): Promise<LookupResult> {
    const { deliveries } = this.#options;
    if ((await deliveries.get(prefix)) !== null) return onlyThis('delivery', prefix);
    return walk('delivery', { prefix, limit }, deliveries.created({}, PAGE_SIZE));
  }
}

function presentRun({ runId, source }: WatchKey): Found {
  return { kind: 'run', id: runId, source };
}

function onlyThis(kind: LookupKind, id: string): LookupResult {
  return { found: [{ kind, id }], more: false };
}

async function walk(
  kind: LookupKind,
  { prefix, limit }: { prefix: string; limit: number },
  newest: AsyncIterable<readonly { id: string }[]>,
): Promise<LookupResult> {
  const found: Found[] = [];
  let pages = 0;
  for await (const page of newest) {
    for (const { id } of page) {
      if (!id.startsWith(prefix)) continue;
      if (found.length === limit) return { found, more: true };
      found.push({ kind, id });
    }
    pages += 1;
    // What is older is not examined; one that was found here is as good as unique.
    if (pages === MOST_PAGES) break;
  }
  return { found, more: false };
}
