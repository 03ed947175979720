import { Redis } from 'ioredis';

/** The contents of a store in numbers. */
export interface StoreSize {
  keys: number;
  /** Fields of hashes, members of sets and sorted sets, items of lists and streams. */
  items: number;
  memoryBytes: number;
  /** Items and keys by key name, without the part special to a run, delivery or receiver. */
  byName: Record<string, number>;
}

const COUNTERS: Readonly<Record<string, 'hlen' | 'zcard' | 'scard' | 'llen' | 'xlen'>> = {
  hash: 'hlen',
  zset: 'zcard',
  set: 'scard',
  list: 'llen',
  stream: 'xlen',
};

/** Counts everything in a Redis, one page of its keys at a time. */
export async function measureStore(url: string): Promise<StoreSize> {
  const redis = new Redis(url);
  const size: StoreSize = { keys: 0, items: 0, memoryBytes: 0, byName: {} };
  try {
    for (let cursor = '0', isDone = false; !isDone; isDone = cursor === '0') {
      const [next, keys] = await redis.scan(cursor, 'COUNT', 1_000);
      cursor = next;
      await addPage(redis, keys, size);
    }
    const memory = await redis.info('memory');
    size.memoryBytes = Number(/used_memory:(\d+)/.exec(memory)?.[1]);
    return size;
  } finally {
    redis.disconnect();
  }
}

async function addPage(redis: Redis, keys: string[], size: StoreSize): Promise<void> {
  const types = await Promise.all(keys.map((key) => redis.type(key)));
  const counts = await Promise.all(
    keys.map(async (key, at) => {
      const counter = COUNTERS[types[at] ?? ''];
      return counter === undefined ? 0 : redis[counter](key).catch(() => 0);
    }),
  );
  for (const [at, key] of keys.entries()) {
    const items = counts[at] ?? 0;
    const name = nameOf(key);
    size.keys += 1;
    size.items += items;
    size.byName[name] = (size.byName[name] ?? 0) + items + 1;
  }
}

/** The first words of a key; what follows names one of many. */
function nameOf(key: string): string {
  return key.split(':').slice(0, 2).join(':');
}
