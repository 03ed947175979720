import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  open,
  readdir,
  readFile,
  readlink,
  rename,
  lstat,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { RunwatchError, messageOf } from '../../core/errors.ts';
import { makeDirectory } from '../make-directory.ts';
import { PACKAGE_ROOT } from '../../package-root.ts';
import { isReply } from '../failures.ts';
import { isAlive, isCode } from '../file-lock.ts';
import { DISCONNECT_TIMEOUT_MS } from '../target.ts';

const BASE_CONFIG = fileURLToPath(new URL('config/redis.conf', PACKAGE_ROOT));
const BINARIES = ['redis-server', 'valkey-server'];
const PID_FILE = 'redis.pid';
/** Where a server writes its log, in its data directory. */
export const LOG_FILE = 'redis.log';
const LAST_LINES = 5;
const EXIT_TIMEOUT_MS = 10_000;

/**
 * Starts a server on a data directory, as a process that outlives this one. It has a session of its
 * own: neither Ctrl-C in a terminal nor a kill of the daemon reaches it. Its output goes
 * to redis.log there, and that of the start before is kept as redis.log.1.
 * @throws RunwatchError `redis_server_missing` when no server is installed
 */
export async function spawnServer(dataDir: string): Promise<ChildProcess> {
  const logPath = join(dataDir, LOG_FILE);
  await rename(logPath, `${logPath}.1`).catch((error: unknown) => {
    if (!isCode(error, 'ENOENT')) throw error;
  });
  const server = await needServer();
  const output = await open(logPath, 'w', 0o600);
  try {
    return await spawnOn(dataDir, server, output.fd);
  } finally {
    await output.close();
  }
}

/** The server that is installed. @throws RunwatchError `redis_server_missing` */
export async function needServer(): Promise<InstalledServer> {
  const server = await findServer();
  if (server !== null) return server;
  throw new RunwatchError(
    'runwatch found no redis-server or valkey-server on PATH: install the package redis-server ' +
      '(apt), redis (apk, brew) or valkey (dnf), or set REDIS_URL to a Redis that runs already.',
    { code: 'redis_server_missing' },
  );
}

/** Name and version of the server that a start would run; null where none is installed. */
export async function installedServer(): Promise<string | null> {
  const found = await findServer().catch(() => null);
  return found === null ? null : `${found.binary} ${found.version}`.trim();
}

interface InstalledServer {
  binary: string;
  version: string;
}

async function findServer(): Promise<InstalledServer | null> {
  for (const binary of BINARIES) {
    const found = await promisify(execFile)(binary, ['--version']).catch((error: unknown) => {
      if (isCode(error, 'ENOENT')) return null;
      throw error;
    });
    if (found !== null) return { binary, version: /v=(\S+)/.exec(found.stdout)?.[1] ?? '' };
  }
  return null;
}

/** Nothing that the server writes is for other users to read: runs, metadata, sealed secrets. */
const PRIVATE_UMASK = 0o077;

async function spawnOn(
  dir: string,
  server: InstalledServer,
  output: number,
): Promise<ChildProcess> {
  const umask = process.umask(PRIVATE_UMASK);
  const child = spawn(server.binary, argumentsOf(dir, server), {
    cwd: dir,
    detached: true,
    stdio: ['ignore', output, output],
  });
  process.umask(umask);
  await once(child, 'spawn');
  child.unref();
  return child;
}

/** The arguments of a server that works in a directory. */
export function argumentsOf(dir: string, { version }: InstalledServer): string[] {
  return [BASE_CONFIG, ...overrides(dir, version)];
}

/** The socket is named without its directory: the server works in there, and paths may be long. */
function overrides(dir: string, version: string): string[] {
  const socket = ['--unixsocket', SOCKET_NAME, '--unixsocketperm', '700'];
  // Without it Redis 7 refuses another directory while it runs. 6.2 knows no such setting, and takes one.
  const movable = version.startsWith('6.') ? [] : ['--enable-protected-configs', 'local'];
  const files = ['--dir', dir, '--pidfile', join(dir, PID_FILE)];
  return ['--port', '0', ...socket, ...movable, ...files];
}

/** Names the process of a server in its data directory, as the server itself does at its start. */
export async function writePidFile(dataDir: string, pid: number): Promise<void> {
  await writeFile(join(dataDir, PID_FILE), `${pid}\n`, { mode: 0o600 });
}

/** The last lines that the server on a data directory has written, for an error message. */
export async function lastWords(dataDir: string): Promise<string> {
  const text = await readFile(join(dataDir, LOG_FILE), 'utf8').catch(() => '');
  return text.trimEnd().split('\n').slice(-LAST_LINES).join('\n');
}

/**
 * Ends servers that still have a data directory open although no client can reach them, as when the
 * socket or the whole directory was removed. Two servers that write one append-only file would ruin it.
 * @throws RunwatchError `redis_stuck` when one does not go within 10 s
 */
export async function endUnreachableServers(dataDir: string): Promise<void> {
  for (const pid of await runningServers(dataDir)) await endServer(pid, dataDir);
}

async function endServer(pid: number, dataDir: string): Promise<void> {
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

/**
 * The servers that work in a data directory, or did when it was removed; where the system does not list
 * processes, the one that the pid file names.
 */
async function runningServers(dataDir: string): Promise<number[]> {
  const text = await readFile(join(dataDir, PID_FILE), 'utf8').catch(() => '');
  const named = Number.parseInt(text, 10);
  const pids = process.platform === 'linux' ? await listProcesses() : [named];
  const found = await Promise.all(
    pids.map(async (pid) => {
      if (!(pid > 0) || !isAlive(pid)) return [];
      const { name, cwd } = await describeProcess(pid);
      const isServer = BINARIES.some((binary) => name.trim().endsWith(binary));
      // What a removed directory is called. Source: proc(5).
      const isThere = cwd === null || cwd === dataDir || cwd === `${dataDir} (deleted)`;
      return isServer && isThere ? [pid] : [];
    }),
  );
  return found.flat();
}

async function listProcesses(): Promise<number[]> {
  const names = await readdir('/proc').catch(() => []);
  return names.map(Number).filter((pid) => pid > 0);
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

/** The name of the socket in the data directory, which is the server's working directory. */
export const SOCKET_NAME = 'redis.sock';

/**
 * Longest path of a unix socket that every system takes: sun_path holds 108 bytes on Linux and
 * 104 on macOS and the BSDs, each with a closing zero. Source: unix(7), unix(4).
 */
const MAX_SOCKET_PATH_BYTES = 103;

/**
 * The path by which clients reach the server of a data directory. Where the straight path is too long
 * for a socket, it leads over a short symbolic link in a directory of the user's own, never in a shared
 * one. The socket itself always lies with the data.
 * @param ownDirs directories where the link may be, the best first
 * @throws RunwatchError `socket_path_unusable` when no path is short enough, or when the short
 *   one could belong to someone else
 */
export async function socketPathFor(dataDir: string, ownDirs: readonly string[]): Promise<string> {
  const straight = join(dataDir, SOCKET_NAME);
  if (fits(straight)) return straight;

  const name = createHash('sha256').update(dataDir).digest('hex').slice(0, 16);
  const folder = ownDirs.find((dir) => fits(join(dir, name, SOCKET_NAME)));
  if (folder === undefined) {
    throw unusable([straight, ...ownDirs].join(', ').concat(': too long for a unix socket'));
  }
  const alias = join(folder, name);
  await ensureOwnFolder(folder);
  await ensureLink(alias, dataDir);
  return join(alias, SOCKET_NAME);
}

function fits(path: string): boolean {
  return Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES;
}

/** What is found there is not trusted by its name. */
async function ensureOwnFolder(folder: string): Promise<void> {
  await makeDirectory(folder).catch((error: unknown) => {
    throw unusable(`${folder} cannot be made (${messageOf(error)})`);
  });
  const found = await lstat(folder);
  const isOwn = found.isDirectory() && found.uid === userInfo().uid && (found.mode & 0o077) === 0;
  if (!isOwn) throw unusable(`${folder} is not a directory that only this user can enter`);
}

async function ensureLink(alias: string, target: string): Promise<void> {
  const current = await readlink(alias).catch((error: unknown) => {
    if (isCode(error, 'ENOENT')) return null;
    throw error;
  });
  if (current === target) return;
  await rm(alias, { force: true });
  await symlink(target, alias);
}

function unusable(message: string): RunwatchError {
  return new RunwatchError(`${message}; choose a shorter data directory`, {
    code: 'socket_path_unusable',
  });
}

const LOOK_AGAIN_MS = 25;
/**
 * So often the server's list of clients is read, since connections of this process, closed a moment ago, may still be
 * on it. A server that answers late has had no more occasions to notice than one that answers at once.
 */
const MOST_READS = 20;

/**
 * Shuts a server down through `control`, unless another client is connected to it. When it returns
 * `stopped`, everything that was written is on disk.
 * @param timeoutMs for how long clients are looked for at the most
 * @param touch is called between two readings of their list
 */
export async function shutDownUnlessUsed(
  control: Redis,
  timeoutMs: number,
  touch = async (): Promise<void> => undefined,
): Promise<'stopped' | 'left_running'> {
  const deadline = performance.now() + timeoutMs;
  for (let read = 1; await hasOtherClients(control); read += 1) {
    if (read === MOST_READS || performance.now() > deadline) return 'left_running';
    await delay(LOOK_AGAIN_MS);
    await touch();
  }
  return shutDown(control);
}

/** How long a server that shuts down may write what it holds, ms. */
const SHUTDOWN_MS = 60_000;

/** Shuts a server down through `control`, although clients may use it. */
export async function shutDown(control: Redis): Promise<'stopped' | 'left_running'> {
  const ended = new Promise<'stopped'>((resolve) => control.once('end', () => resolve('stopped')));
  // SHUTDOWN answers only to refuse; when it is obeyed, the connection ends.
  const refused = control.shutdown().then(
    () => 'left_running' as const,
    async (error: Error) => {
      if (isReply(error)) throw error;
      // No answer may mean that it writes: it ends once all is on disk.
      const late = await Promise.race([ended, delay(SHUTDOWN_MS, null, { ref: false })]);
      if (late === null) throw error;
      return late;
    },
  );
  return Promise.race([ended, refused]);
}

async function hasOtherClients(control: Redis): Promise<boolean> {
  const list = (await control.client('LIST')) as string;
  return list.trim().split('\n').length > 1;
}

const ANSWER_TIMEOUT_MS = 5_000;

/** What stands behind a socket path. */
type Probe =
  /** Nothing listens there. */
  | { kind: 'absent' }
  /** A server that is reading its data in, and will answer later. */
  | { kind: 'loading' }
  /** Something listens, but gives no sensible answer in time. */
  | { kind: 'silent'; reason: string }
  /** A server at work; the connection is the caller's to close. */
  | { kind: 'ready'; control: Redis; dir: string; pid: number };

/** Probes once which server answers on a unix socket. Never throws. */
export async function probeServer(socketPath: string): Promise<Probe> {
  const control = new Redis({
    path: socketPath,
    connectionName: 'runwatch-control',
    lazyConnect: true,
    connectTimeout: ANSWER_TIMEOUT_MS,
    commandTimeout: ANSWER_TIMEOUT_MS,
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    enableReadyCheck: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    // The supervisor wants to know when the connection breaks, and connects anew by itself.
    retryStrategy: null,
  });
  let failure: unknown = null;
  control.on('error', (error) => (failure ??= error));
  try {
    await control.connect();
    const [, dir] = (await control.config('GET', 'dir')) as [string, string];
    const info = await control.info('server');
    const pid = Number(/^process_id:(\d+)/m.exec(info)?.[1] ?? 0);
    return { kind: 'ready', control, dir, pid };
  } catch (error) {
    control.disconnect();
    return refusal(failure ?? error);
  }
}

function refusal(error: unknown): Probe {
  const reason = messageOf(error);
  if (/ENOENT|ECONNREFUSED|ENOTSOCK/.test(reason)) return { kind: 'absent' };
  if (reason.startsWith('LOADING')) return { kind: 'loading' };
  return { kind: 'silent', reason };
}
