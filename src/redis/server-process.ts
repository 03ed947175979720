import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, readlink, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { RunwatchError } from '../core/errors.ts';
import { isAlive, isCode } from './file-lock.ts';
import { SOCKET_NAME } from './server-socket.ts';

/** The same relative to src/redis and to dist/redis. */
const BASE_CONFIG = fileURLToPath(new URL('../../config/redis.conf', import.meta.url));
const BINARIES = ['redis-server', 'valkey-server'];
const PID_FILE = 'redis.pid';
const LOG_FILE = 'redis.log';
const LAST_LINES = 5;
const EXIT_TIMEOUT_MS = 10_000;

/**
 * Starts a server on a data directory, as a process that outlives this one: in a session of its
 * own, so that neither Ctrl-C in a terminal nor a kill of the daemon reaches it. Its output goes
 * to redis.log there, and that of the start before is kept as redis.log.1.
 * @throws RunwatchError `redis_server_missing` when no server is installed
 */
export async function spawnServer(dataDir: string): Promise<ChildProcess> {
  const logPath = join(dataDir, LOG_FILE);
  await rename(logPath, `${logPath}.1`).catch((error: unknown) => {
    if (!isCode(error, 'ENOENT')) throw error;
  });
  const output = await open(logPath, 'w', 0o600);
  try {
    for (const binary of BINARIES) {
      const child = await trySpawn(binary, dataDir, output.fd);
      if (child !== null) return child;
    }
  } finally {
    await output.close();
  }
  throw new RunwatchError(
    'runwatch found no redis-server or valkey-server on PATH: install the package redis-server ' +
      '(apt), redis (apk, brew) or valkey (dnf), or set REDIS_URL to a Redis that runs already.',
    { code: 'redis_server_missing' },
  );
}

/** Nothing that the server writes is for other users to read: runs, metadata, sealed secrets. */
const PRIVATE_UMASK = 0o077;

async function trySpawn(binary: string, dir: string, output: number): Promise<ChildProcess | null> {
  const umask = process.umask(PRIVATE_UMASK);
  const child = spawn(binary, [BASE_CONFIG, ...overrides(dir)], {
    cwd: dir,
    detached: true,
    stdio: ['ignore', output, output],
  });
  process.umask(umask);
  try {
    await once(child, 'spawn');
  } catch (error) {
    if (isCode(error, 'ENOENT')) return null;
    throw error;
  }
  child.unref();
  return child;
}

/** The socket is named without its directory: the server works in there, and paths may be long. */
function overrides(dir: string): string[] {
  const socket = ['--unixsocket', SOCKET_NAME, '--unixsocketperm', '700'];
  return ['--port', '0', ...socket, '--dir', dir, '--pidfile', join(dir, PID_FILE)];
}

/** The last lines that the server on a data directory has written, for an error message. */
export async function lastWords(dataDir: string): Promise<string> {
  const text = await readFile(join(dataDir, LOG_FILE), 'utf8').catch(() => '');
  return text.trimEnd().split('\n').slice(-LAST_LINES).join('\n');
}

/**
 * Ends a server that still has a data directory open although nobody reaches it any more, as when
 * its socket file was removed: two servers writing one append-only file would ruin it.
 * @throws RunwatchError `redis_stuck` when it does not go within 10 s
 */
export async function endUnreachableServer(dataDir: string): Promise<void> {
  const pid = await runningServer(dataDir);
  if (pid === null) return;
  process.kill(pid, 'SIGTERM');
  const deadline = performance.now() + EXIT_TIMEOUT_MS;
  while (isAlive(pid)) {
    if (performance.now() > deadline) {
      throw new RunwatchError(`the Redis server ${pid} on ${dataDir} neither answers nor ends`, {
        code: 'redis_stuck',
      });
    }
    await delay(50);
  }
}

/** The process that the pid file names, if that is a server and works in the data directory. */
async function runningServer(dataDir: string): Promise<number | null> {
  const text = await readFile(join(dataDir, PID_FILE), 'utf8').catch(() => '');
  const pid = Number.parseInt(text, 10);
  if (!(pid > 0) || !isAlive(pid)) return null;
  const { name, cwd } = await describeProcess(pid);
  const isServer = BINARIES.some((binary) => name.trim().endsWith(binary));
  return isServer && (cwd === null || cwd === dataDir) ? pid : null;
}

/** Process ids are used again, so a pid file alone proves nothing. */
async function describeProcess(pid: number): Promise<{ name: string; cwd: string | null }> {
  if (process.platform === 'linux') {
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '');
    return { name, cwd };
  }
  const ps = promisify(execFile)('ps', ['-o', 'comm=', '-p', String(pid)]);
  const { stdout } = await ps.catch(() => ({ stdout: '' }));
  return { name: stdout, cwd: null };
}
