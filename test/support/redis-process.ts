import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { AddressInfo, NetConnectOpts } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const START_DEADLINE_MS = 120_000;

export interface PrivateRedisOptions {
  /** Keep an append-only file that is synced on every write, so that a kill loses nothing. */
  aof?: boolean;
  /** Listen on a free TCP port of 127.0.0.1 instead of a unix socket. */
  tcp?: boolean;
  /** Further arguments of the server, such as `--requirepass`. */
  args?: readonly string[];
}

export interface PrivateRedis {
  /** A socket path, or redis://127.0.0.1:port; the same over restarts. */
  readonly url: string;
  /** Process id of the running server, or of the last one that ran. */
  readonly pid: number;
  /** SIGKILL, then waits until the process is gone. */
  kill(): Promise<void>;
  /** Starts the server again on the same data, after killing one that still runs. */
  restart(): Promise<void>;
  /** Kills the server and removes its data. */
  stop(): Promise<void>;
}

/** The Redis or Valkey server on PATH, or null. */
export function findServer(): string | null {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  for (const name of ['redis-server', 'valkey-server']) {
    const found = folders.map((folder) => join(folder, name)).find(isExecutable);
    if (found !== undefined) return found;
  }
  return null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Starts a Redis for the caller alone, in a new temporary directory. */
export async function startPrivateRedis(options: PrivateRedisOptions = {}): Promise<PrivateRedis> {
  const server = findServer();
  if (server === null) throw new Error('no redis-server or valkey-server on PATH');
  const dir = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
  const socket = join(dir, 'redis.sock');
  const port = options.tcp === true ? await freePort() : 0;
  const target = port === 0 ? { path: socket } : { host: '127.0.0.1', port };
  const args = serverArguments({ dir, socket, port, options });
  const start = () => startServer({ server, args, target });

  let child = await start();
  const kill = () => killAndWait(child);
  return {
    url: port === 0 ? socket : `redis://127.0.0.1:${port}`,
    get pid() {
      return child.pid ?? 0;
    },
    kill,
    async restart() {
      await kill();
      child = await start();
    },
    async stop() {
      await kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function serverArguments(given: {
  dir: string;
  socket: string;
  port: number;
  options: PrivateRedisOptions;
}): string[] {
  const listen = given.port === 0 ? ['--unixsocket', given.socket] : ['--bind', '127.0.0.1'];
  const common = ['--port', String(given.port), '--dir', given.dir, '--save', ''];
  const durable = given.options.aof === true ? 'yes' : 'no';
  const aof = ['--appendonly', durable, '--appendfsync', 'always'];
  const policy = ['--maxmemory-policy', 'noeviction'];
  return [...common, ...listen, ...aof, ...policy, ...(given.options.args ?? [])];
}

async function startServer(given: {
  server: string;
  args: readonly string[];
  target: NetConnectOpts;
}): Promise<ChildProcess> {
  const child = spawn(given.server, given.args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const collect = (chunk: Buffer) => (output = (output + chunk.toString()).slice(-4096));
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  // The suite must be able to end while the server still runs.
  child.unref();

  const deadline = Date.now() + START_DEADLINE_MS;
  while (!(await answersPing(given.target))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await killAndWait(child);
      throw new Error(`the test Redis did not start:\n${output}`);
    }
    await delay(20);
  }
  return child;
}

/** True for +PONG and for -NOAUTH: both come from a server that has finished loading. */
async function answersPing(target: NetConnectOpts): Promise<boolean> {
  const socket = connect(target);
  try {
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer')));
    await once(socket, 'connect');
    socket.write('PING\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    return /^(\+PONG|-NOAUTH)/.test(answer.toString());
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function killAndWait(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
