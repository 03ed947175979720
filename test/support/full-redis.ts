import type { Redis } from 'ioredis';
import { dumpRedis } from './dump-redis.ts';
import { startPrivateRedis } from './redis.ts';
import { openStores } from './stores.ts';

/** A call of a script: what stood in Redis before it, and its arguments. */
export interface ScriptCall {
  script: string;
  args: unknown[];
  before: StoredKey[];
}

interface StoredKey {
  key: string;
  expiresInMs: number;
  dump: Buffer;
}

type Script = (...args: unknown[]) => Promise<unknown>;

/** The names of the scripts that a connection was taught, however it was. */
export function scriptsOf(redis: Redis): string[] {
  return Object.keys(redis)
    .filter((name) => name.startsWith('rw') && !name.endsWith('Buffer'))
    .sort();
}

/** From now on a Redis refuses whatever may take memory. */
export async function makeFull(redis: Redis): Promise<void> {
  await redis.config('SET', 'maxmemory', '1');
}

export async function makeRoom(redis: Redis): Promise<void> {
  await redis.config('SET', 'maxmemory', '0');
}

/** Records the calls of a script while something is done. */
export async function callsOf(
  { redis, keysLeft }: Pick<ReturnType<typeof openStores>, 'redis' | 'keysLeft'>,
  script: string,
  act: () => Promise<unknown>,
): Promise<ScriptCall[]> {
  const calls: ScriptCall[] = [];
  const commands = redis as unknown as Record<string, Script>;
  const restored = [script, `${script}Buffer`].map((name) => {
    const original = commands[name] as Script;
    commands[name] = async function (this: unknown, ...args) {
      // Pipelines have copies of it.
      if (this !== redis) return original.apply(this, args);
      calls.push({ script: name, args, before: await storedKeys(redis, await keysLeft()) });
      return original.apply(this, args);
    };
    return () => (commands[name] = original);
  });
  try {
    await act();
  } finally {
    for (const restore of restored) restore();
  }
  return calls;
}

async function storedKeys(redis: Redis, names: readonly string[]): Promise<StoredKey[]> {
  const found = await Promise.all(
    names.map(async (key) => {
      const [dump, expiresInMs] = await Promise.all([redis.dumpBuffer(key), redis.pttl(key)]);
      return { key, expiresInMs: Math.max(0, expiresInMs), dump };
    }),
  );
  return found.filter(({ dump }) => (dump as Buffer | null) !== null);
}

/** What a call came to. */
export interface Outcome {
  isRefused: boolean;
  isChanged: boolean;
  /** All that is stored then, with times made equal: two calls are never made at the same one. */
  after: string;
  /** By how many bytes its keys became more. */
  grownBytes: number;
}

/** A Redis of one's own, on which a call can be made again from where it was made. */
export async function startShadow(prefix: string) {
  const server = await startPrivateRedis();
  const stores = openStores({ url: server.url, prefix });
  const { redis, keys } = stores;
  const text = async () => textOf(await dumpRedis(server.url, prefix), keys.clock);

  async function makeAgain(
    { script, args, before }: ScriptCall,
    { isFull, clockAgeMs }: { isFull: boolean; clockAgeMs: number },
  ): Promise<Outcome> {
    await redis.flushall();
    for (const { key, expiresInMs, dump } of before) await redis.restore(key, expiresInMs, dump);
    await redis.set(keys.clock, `0 ${Date.now() - clockAgeMs} 0`);
    const [textBefore, bytes] = [await text(), await bytesOf(redis)];
    if (isFull) await makeFull(redis);
    const commands = redis as unknown as Record<string, Script>;
    let isRefused = false;
    await (commands[script] as Script)(...args).catch((error: unknown) => {
      isRefused = error instanceof Error && /\bOOM\b/.test(error.message);
      if (!isRefused) throw error;
    });
    await makeRoom(redis);
    const textAfter = await text();
    return {
      isRefused,
      isChanged: textAfter !== textBefore,
      after: textAfter.replaceAll(/\d{13}(\.\d+)?/g, '<time>'),
      grownBytes: (await bytesOf(redis)) - bytes,
    };
  }

  return {
    makeAgain,
    async stop() {
      await stores.close();
      await server.stop();
    },
  };
}

/** All that is stored but the clock. */
function textOf(entries: Awaited<ReturnType<typeof dumpRedis>>, clock: string): string {
  const lines = entries.filter(({ key }) => key !== clock).map(({ key, text }) => `${key} ${text}`);
  return lines.join('\n');
}

/** The bytes of all keys. */
export async function bytesOf(redis: Redis): Promise<number> {
  let bytes = 0;
  for (const key of await redis.keys('*')) {
    bytes += Number(await redis.memory('USAGE', key, 'SAMPLES', 0));
  }
  return bytes;
}
