import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { dumpRedis } from './dump-redis.ts';
import { startPrivateRedis } from './redis.ts';
import { openStores } from './stores.ts';

/** A call of a script: what stood in Redis before it, and its arguments. */
export interface ScriptCall {
  script: string;
  lua: string;
  args: unknown[];
  before: StoredKey[];
}

interface StoredKey {
  key: string;
  expiresInMs: number;
  dump: Buffer;
}

type Script = (...args: unknown[]) => Promise<unknown>;

/** The names of all scripts that our sources declare. */
export async function scriptNames(): Promise<string[]> {
  const folder = join(import.meta.dirname, '../../src/redis');
  const files = await readdir(folder, { recursive: true });
  const texts = await Promise.all(
    files
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readFile(join(folder, file), 'utf8')),
  );
  return texts
    .flatMap((text) => [...text.matchAll(/\bscript\(\s*'(\w+)'/g)].map(([, name]) => name ?? ''))
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
  const { scriptsSet } = redis as { scriptsSet: Record<string, { lua?: string }> };
  const restored = [script, `${script}Buffer`].map((name) => {
    // A store defines its scripts when it needs them first.
    let original = commands[name];
    const recorded = async (...args: unknown[]) => {
      const lua = scriptsSet[script]?.lua ?? '';
      calls.push({ script: name, lua, args, before: await storedKeys(redis, await keysLeft()) });
      return original?.apply(redis, args);
    };
    Object.defineProperty(redis, name, {
      configurable: true,
      get: () => (original === undefined ? undefined : recorded),
      set(defined: Script) {
        original = defined;
      },
    });
    return () => {
      const value = original;
      Object.defineProperty(redis, name, { value, configurable: true, writable: true });
    };
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
    { script, lua, args, before }: ScriptCall,
    { isFull, clockAgeMs }: { isFull: boolean; clockAgeMs: number },
  ): Promise<Outcome> {
    await redis.flushall();
    for (const { key, expiresInMs, dump } of before) await redis.restore(key, expiresInMs, dump);
    await redis.set(keys.clock, `0 ${Date.now() - clockAgeMs} 0`);
    const [textBefore, bytes] = [await text(), await bytesOf(redis)];
    if (isFull) await makeFull(redis);
    redis.defineCommand(script.replace(/Buffer$/, ''), { lua });
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
