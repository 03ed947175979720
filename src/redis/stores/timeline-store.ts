import type { Redis } from 'ioredis';
import type { Attempt } from '../../core/delivery/delivery.ts';
import type { RunwatchEvent } from '../../core/event/event.ts';
import type { WatchHistory } from '../../core/watch/timeline.ts';
import type { WatchKey } from '../../core/watch/watch.ts';
import { isPacked, type History } from '../history-codec.ts';
import type { Keys } from '../keys.ts';
import { replies } from '../connection.ts';
import { openPacked, readHistory, readLiveHistory, readStored } from './history-plan.ts';
import { HistoryReader } from './history-reader.ts';
import { readWatch } from './watch-record.ts';

/** Events and deliveries that are read at once; of a watch with more, the newest are. */
const MOST_AT_ONCE = 500;

/** Events, and deliveries, of a watch with very many. */
const MOST_OF_MANY = 200;

const NEWEST = { order: 'newest', limit: MOST_OF_MANY, matches: () => true } as const;

/** Reads a watch with all that belongs to it, live or packed. Errors of the connection pass through. */
export class TimelineStore {
  private readonly reader: HistoryReader;

  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {
    this.reader = new HistoryReader(redis, keys);
  }

  /** Null where there is no such watch. */
  async read(key: WatchKey): Promise<WatchHistory | null> {
    const { keys } = this;
    const [record, events, deliveries] = await readHistory(this.redis, keys, key, MOST_AT_ONCE);
    if (record === undefined) return null;
    if (isPacked(record)) {
      const { watch, history } = openPacked(key, record);
      return { watch, ...partsOf(history), isCut: false };
    }
    if (events === undefined || deliveries === undefined) return this.readNewest(key);
    const { watch } = readWatch(key, record.toString());
    return { watch, ...partsOf(readLiveHistory(record, events, deliveries)), isCut: false };
  }

  private async readNewest(key: WatchKey): Promise<WatchHistory | null> {
    const [record, events, deliveries] = await Promise.all([
      this.redis.getBuffer(this.keys.watch(key)),
      this.reader.events([key], NEWEST),
      this.reader.deliveries([key], NEWEST),
    ]);
    const stored = readStored(key, record);
    if (stored === null) return null;
    const newest = deliveries.items.map(({ item }) => item.delivery).toReversed();
    const attempts = await this.attemptsOf(newest.map(({ id }) => id));
    return {
      watch: stored.watch,
      events: events.items.map(({ item }) => item).toReversed(),
      deliveries: newest.map((delivery, at) => ({ delivery, attempts: attempts[at] ?? [] })),
      isCut: true,
    };
  }

  private async attemptsOf(ids: readonly string[]): Promise<Attempt[][]> {
    const pipeline = this.redis.pipeline();
    for (const id of ids) pipeline.lrange(this.keys.attempts(id), 0, -1);
    const lists = await replies<string[]>(pipeline);
    return lists.map((texts) => texts.map((text) => JSON.parse(text) as Attempt));
  }
}

function partsOf({ events, deliveries }: History) {
  return {
    events: events.map(({ body }) => JSON.parse(body) as RunwatchEvent),
    deliveries: deliveries.map(({ delivery, attempts }) => ({ delivery, attempts })),
  };
}
