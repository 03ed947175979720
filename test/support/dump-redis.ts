import { Redis } from 'ioredis';

/** A key of any type, with its whole value as one text. */
export interface RedisEntry {
  key: string;
  text: string;
}

/** Everything in Redis, or everything under a prefix. Tests may scan; the product may not. */
export async function dumpRedis(url: string, prefix?: string): Promise<RedisEntry[]> {
  const redis = new Redis(url);
  try {
    const pattern = prefix === undefined ? '*' : `{${prefix}}:*`;
    const keys = new Set<string>();
    for await (const found of redis.scanStream({ match: pattern, count: 1_000 })) {
      for (const key of found as string[]) keys.add(key);
    }
    return await Promise.all(
      [...keys].sort().map(async (key) => ({ key, text: JSON.stringify(await read(redis, key)) })),
    );
  } finally {
    redis.disconnect();
  }
}

async function read(redis: Redis, key: string): Promise<unknown> {
  const type = await redis.type(key);
  switch (type) {
    case 'string':
      return redis.get(key);
    case 'hash':
      return inOrder(await redis.hgetall(key));
    case 'list':
      return redis.lrange(key, 0, -1);
    case 'set':
      return redis.smembers(key);
    case 'zset':
      return redis.zrangebyscore(key, '-inf', '+inf', 'WITHSCORES');
    case 'stream':
      return redis.xrange(key, '-', '+');
    // The key expired between the scan and the read.
    case 'none':
      return null;
    default:
      throw new Error(`the key ${key} is of the unexpected type ${type}`);
  }
}

/** Redis has the fields of a hash in no order, which may change while none is written. */
function inOrder(fields: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(fields).sort(([one], [other]) => (one < other ? -1 : 1)),
  );
}
