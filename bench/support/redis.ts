import { spawn } from 'node:child_process';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { findServer } from '../../test/support/redis-process.ts';
import { waitFor } from '../../test/support/wait-for.ts';
import type { BenchContext } from './context.ts';
import { endProcess } from './process.ts';

const SETTINGS = fileURLToPath(new URL('../../config/redis.conf', import.meta.url));

/** A Redis of the benchmark's own, with the settings that the product's own server has. */
export interface BenchRedis {
  socket: string;
  version: string;
  /** Numbers of INFO; those that a server does not have are absent. */
  info(section: string): Promise<Record<string, number>>;
  /** Counts of commands since the last call of this. */
  takeCommands(): Promise<Record<string, number>>;
  /** The length of a list; 0 where there is none. */
  lengthOf(key: string): Promise<number>;
  flush(): Promise<void>;
  /** Suspends the server, and resumes it. */
  freeze(): void;
  thaw(): void;
}

export async function startRedis(context: BenchContext): Promise<BenchRedis> {
  const server = findServer();
  if (server === null) throw new Error('no redis-server or valkey-server on PATH');
  const dir = await mkdtemp(join(context.dir, 'redis-'));
  const socket = join(dir, 'redis.sock');
  const args = [SETTINGS, '--port', '0', '--unixsocket', socket, '--dir', dir];
  const child = spawn(server, args, { stdio: 'ignore' });
  context.onEnd(() => endProcess(child));
  const redis = new Redis({ path: socket, lazyConnect: true, retryStrategy: () => 50 });
  redis.on('error', () => undefined);
  context.onEnd(async () => redis.disconnect());
  await waitFor(async () => (await redis.ping()) === 'PONG', { describe: 'Redis to start' });
  const text = await redis.info('server');
  return {
    socket,
    version: /^(?:redis|valkey)_version:(\S+)/m.exec(text)?.[1] ?? 'unknown',
    async info(section) {
      return numbersOf(await redis.info(section));
    },
    async takeCommands() {
      const calls = callsOf(await redis.info('commandstats'));
      await redis.config('RESETSTAT');
      return calls;
    },
    lengthOf: (key) => redis.llen(key),
    async flush() {
      await redis.flushall();
    },
    freeze: () => child.kill('SIGSTOP'),
    thaw: () => child.kill('SIGCONT'),
  };
}

function numbersOf(info: string): Record<string, number> {
  const lines = [...info.matchAll(/^(\w+):(-?[\d.]+)\r?$/gm)];
  return Object.fromEntries(lines.map(([, name = '', value]) => [name, Number(value)]));
}

function callsOf(info: string): Record<string, number> {
  const lines = [...info.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)];
  return Object.fromEntries(lines.map(([, name = '', calls]) => [name, Number(calls)]));
}
