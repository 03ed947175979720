import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { probeServer, shutDown, shutDownUnlessUsed } from '../../src/redis/embedded/process.ts';
import { startEmbeddedRedis } from '../../src/redis/embedded/server.ts';
import { isAlive } from '../../src/redis/file-lock.ts';
import { collectLog } from '../support/collect-log.ts';
import { findServer } from '../support/redis-process.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function newDataDir(...below: string[]): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  return join(dir, ...below);
}

type Log = ReturnType<typeof collectLog>;

async function start(
  dataDir: string,
  {
    log = collectLog(),
    ownDirs = [],
    maxMemory = 1e9,
  }: { log?: Log; ownDirs?: string[]; maxMemory?: number } = {},
) {
  const server = await startEmbeddedRedis({ dataDir, ownDirs, maxMemory, log });
  cleanups.push(() => server.close(5_000));
  return server;
}

function connect(socketPath: string): Redis {
  const redis = new Redis(socketPath, { disconnectTimeout: 100 });
  redis.on('error', () => undefined);
  cleanups.push(async () => redis.disconnect());
  return redis;
}

function pidIn(dataDir: string): number {
  const pid = Number(readFileSync(join(dataDir, 'redis.pid'), 'utf8'));
  // 0, as of a file that is just being written, would stand for this process and its group.
  if (!(pid > 1)) throw new Error('no process id yet');
  return pid;
}

/** Starts the embedded Redis from a process of its own; resolves to what that says of it. */
async function startFromProcess(dataDir: string, path = process.env['PATH']) {
  const script = join(import.meta.dirname, '../support/hold-embedded-redis.ts');
  const args = ['--import', 'tsx', script, dataDir];
  const env = { ...process.env, PATH: path };
  const holder = spawn(process.execPath, args, { env, detached: true });
  const exited = once(holder, 'exit');
  const [said] = (await once(holder.stdout, 'data')) as [Buffer];
  const kill = async () => {
    // The whole process group, like Ctrl-C in a terminal, but one that nothing can catch.
    if (holder.exitCode === null) process.kill(-(holder.pid ?? 0), 'SIGKILL');
    await exited;
  };
  return { said: said.toString(), kill };
}

/** As after a kill -9 of the daemon. */
async function leaveBehind(dataDir: string): Promise<void> {
  const { said, kill } = await startFromProcess(dataDir);
  await kill();
  expect(said).toBe('up\n');
}

async function caught(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => null,
    (error: unknown) => error,
  );
}

test('the embedded server keeps everything, on a private socket and on no port', async () => {
  const dataDir = await newDataDir('not', 'there yet');
  const server = await start(dataDir);
  const redis = connect(server.socketPath);
  const setting = async (name: string) => {
    const [, value] = (await redis.config('GET', name)) as [string, string];
    return value;
  };

  expect(server).toMatchObject({ reused: false, socketPath: join(dataDir, 'redis.sock') });
  expect(await setting('port')).toBe('0');
  expect(await setting('appendonly')).toBe('yes');
  expect(await setting('appendfsync')).toBe('everysec');
  expect(await setting('maxmemory-policy')).toBe('noeviction');
  expect(await setting('hash-max-listpack-value')).toBe('1024');
  expect(await setting('hash-max-listpack-entries')).toBe('128');
  expect((await stat(server.socketPath)).mode & 0o777).toBe(0o700);
  expect((await stat(dataDir)).mode & 0o777).toBe(0o700);
});

test('a memory limit holds for a server that is found, after its death, and is changed as it runs', async () => {
  const dataDir = await newDataDir();
  const limitOf = async () => {
    const [, bytes] = (await connect(join(dataDir, 'redis.sock')).config('GET', 'maxmemory')) as [
      string,
      string,
    ];
    return Number(bytes);
  };
  await leaveBehind(dataDir);
  const server = await start(dataDir, { maxMemory: 2e8 });
  expect(server.reused).toBe(true);
  await waitFor(async () => (await limitOf()) === 2e8);

  await server.limitMemory(3e8);
  expect(await limitOf()).toBe(3e8);
  const pid = pidIn(dataDir);
  process.kill(pid, 'SIGKILL');
  await waitFor(() => existsSync(join(dataDir, 'redis.pid')) && pidIn(dataDir) !== pid);
  await waitFor(async () => (await limitOf()) === 3e8);
});

test('closing shuts the server down with all its data, and the next start has them', async () => {
  const dataDir = await newDataDir();
  const server = await start(dataDir);
  const redis = connect(server.socketPath);
  await redis.set('kept', 'yes');
  redis.disconnect();
  const pid = pidIn(dataDir);
  expect(await server.close(5_000)).toBe('stopped');
  await waitFor(() => !isAlive(pid));

  const next = await start(dataDir);
  expect(next.reused).toBe(false);
  expect(await connect(next.socketPath).get('kept')).toBe('yes');
});

test('a server outlives the process that started it by kill -9, and is found again', async () => {
  const dataDir = await newDataDir();
  await leaveBehind(dataDir);
  const pid = pidIn(dataDir);
  const server = await start(dataDir);
  expect(server.reused).toBe(true);
  expect(pidIn(dataDir)).toBe(pid);
  expect(await server.close(5_000)).toBe('stopped');
  await waitFor(() => !isAlive(pid));
});

test('daemons that start at the same moment share one server, which the last one shuts down', async () => {
  const dataDir = await newDataDir();
  const servers = await Promise.all([start(dataDir), start(dataDir), start(dataDir)]);
  expect(servers.filter(({ reused }) => !reused)).toHaveLength(1);

  const [first, second, third] = servers;
  expect(await first?.close(5_000)).toBe('left_running');
  expect(await second?.close(5_000)).toBe('left_running');
  expect(await third?.close(5_000)).toBe('stopped');
});

test('a server that is in use by any other client is left running', async () => {
  const dataDir = await newDataDir();
  const server = await start(dataDir);
  const redis = connect(server.socketPath);
  await redis.ping();
  expect(await server.close(5_000)).toBe('left_running');
  expect(await redis.ping()).toBe('PONG');
  expect((await start(dataDir)).reused).toBe(true);
});

/** A connection to a server that nothing else uses, and how to let that stand still for a time. */
async function stillServer() {
  const dataDir = await newDataDir();
  await leaveBehind(dataDir);
  const client = connect(join(dataDir, 'redis.sock'));
  await client.ping();
  const probe = await probeServer(join(dataDir, 'redis.sock'));
  if (probe.kind !== 'ready') throw new Error(`the server is ${probe.kind}`);
  const { control, pid } = probe;
  process.kill(pid, 'SIGSTOP');
  client.disconnect();
  const goOnAfter = async (ms: number) => {
    const stoodAt = performance.now();
    await waitFor(() => performance.now() - stoodAt > ms);
    process.kill(pid, 'SIGCONT');
  };
  return { control, goOnAfter };
}

test('a server that stood still while its clients left is shut down all the same', async () => {
  const { control, goOnAfter } = await stillServer();
  const ending = shutDownUnlessUsed(control, 30_000);
  await goOnAfter(1_000);
  expect(await ending).toBe('stopped');
});

test('a server that writes for long when it is shut down has stopped once it is done', async () => {
  const { control, goOnAfter } = await stillServer();
  const ending = shutDown(control);
  await goOnAfter(6_000);
  expect(await ending).toBe('stopped');
});

test('what a dead server and a dead starter left behind is no obstacle', async () => {
  const dataDir = await newDataDir();
  const dead = spawn(process.execPath, ['--version']);
  await once(dead, 'exit');
  await leaveBehind(dataDir);
  const pid = pidIn(dataDir);
  process.kill(pid, 'SIGKILL');
  await waitFor(() => !isAlive(pid));
  await writeFile(join(dataDir, 'redis.lock'), `${dead.pid} some-mark`);
  expect(existsSync(join(dataDir, 'redis.sock'))).toBe(true);

  const server = await start(dataDir);
  expect(server.reused).toBe(false);
  expect(await connect(server.socketPath).ping()).toBe('PONG');
});

test('a server with a removed socket is ended before another one opens its files', async () => {
  const dataDir = await newDataDir();
  await leaveBehind(dataDir);
  const redis = connect(join(dataDir, 'redis.sock'));
  await redis.set('kept', 'yes');
  const pid = pidIn(dataDir);
  await rm(join(dataDir, 'redis.sock'));

  const server = await start(dataDir);
  // In use by any client, the server would rightly be left running at the end.
  redis.disconnect();
  expect(server.reused).toBe(false);
  expect(isAlive(pid)).toBe(false);
  expect(await connect(server.socketPath).get('kept')).toBe('yes');
});

test('a data directory with a path too long for a socket works, by a private short cut', async () => {
  const dataDir = await newDataDir('d'.repeat(120), 'e'.repeat(120));
  const own = await newDataDir('made', 'when missing');
  const ownDirs = [`/${'f'.repeat(120)}`, own];
  const server = await start(dataDir, { ownDirs });
  expect(dirname(dirname(server.socketPath))).toBe(own);
  expect((await stat(own)).mode & 0o777).toBe(0o700);
  expect(await connect(server.socketPath).ping()).toBe('PONG');
  expect((await start(dataDir, { ownDirs })).reused).toBe(true);

  const elsewhere = await newDataDir('d'.repeat(120));
  expect(await caught(start(elsewhere))).toMatchObject({ code: 'socket_path_unusable' });
  await chmod(own, 0o755);
  expect(await caught(start(elsewhere, { ownDirs }))).toMatchObject({
    code: 'socket_path_unusable',
  });
});

test('no other user can read what the embedded server writes, wherever its directory is', async () => {
  const dataDir = await newDataDir();
  await chmod(dataDir, 0o755);
  const server = await start(dataDir);
  await connect(server.socketPath).set('kept', 'yes');
  await waitFor(() => pidIn(dataDir) > 1);
  const names = await readdir(dataDir, { recursive: true });
  const open = await Promise.all(
    names.map(async (name) => ((await stat(join(dataDir, name))).mode & 0o077) !== 0),
  );
  expect(names).toEqual(expect.arrayContaining(['appendonlydir', 'redis.log', 'redis.sock']));
  expect(names.filter((_, at) => open[at])).toEqual([]);
});

test('the embedded server writes its data into a removed directory anew, and clients find it', async () => {
  const dataDir = await newDataDir('data');
  const server = await start(dataDir);
  const redis = connect(server.socketPath);
  await redis.set('before', 'yes');
  const pid = pidIn(dataDir);
  expect(await server.loss()).toBeNull();
  await server.rescue();
  expect(isAlive(pid)).toBe(true);

  await rm(dataDir, { recursive: true });
  await redis.set('after', 'yes');
  expect(await server.loss()).toBe(`${dataDir} is gone`);
  await server.rescue();
  await waitFor(async () => (await server.loss()) === null);
  expect(await connect(server.socketPath).mget('before', 'after')).toEqual(['yes', 'yes']);
  expect(pidIn(dataDir)).not.toBe(pid);
  await waitFor(() => !isAlive(pid));
});

test.each(['appendonlydir', 'redis.sock'])(
  'a server that lost its %s has it again after a rescue, with all its data',
  async (name) => {
    const dataDir = await newDataDir();
    const server = await start(dataDir);
    await connect(server.socketPath).set('kept', 'yes');
    await rm(join(dataDir, name), { recursive: true });
    expect(await server.loss()).toMatch(/ is gone$/);
    await server.rescue();
    await waitFor(async () => (await server.loss()) === null);
    expect(await connect(server.socketPath).get('kept')).toBe('yes');
  },
);

test('two daemons rescue the server that they share, and both find it again', async () => {
  const dataDir = await newDataDir('data');
  const servers = await Promise.all([start(dataDir), start(dataDir)]);
  await connect(servers[0].socketPath).set('kept', 'yes');
  await rm(dataDir, { recursive: true });
  await Promise.allSettled(servers.map((server) => server.rescue()));
  for (const server of servers) await waitFor(async () => (await server.loss()) === null);
  expect(await connect(servers[1].socketPath).get('kept')).toBe('yes');
  expect(await servers[0].close(5_000)).toBe('left_running');
});

test('closing the embedded server of a removed directory keeps its data, and leaves no process', async () => {
  const dataDir = await newDataDir('data');
  const server = await start(dataDir);
  const redis = connect(server.socketPath);
  await redis.set('kept', 'yes');
  redis.disconnect();
  const pid = pidIn(dataDir);
  await rm(dataDir, { recursive: true });
  expect(await server.close(5_000)).toBe('stopped');
  await waitFor(() => !isAlive(pid));

  const next = await start(dataDir);
  expect(next.reused).toBe(false);
  expect(await connect(next.socketPath).get('kept')).toBe('yes');
});

test('a rescue never writes over the data of another directory in that place', async () => {
  const dataDir = await newDataDir('data');
  const other = await newDataDir('data');
  const known = await start(other);
  await connect(known.socketPath).set('kept', 'other');
  const server = await start(dataDir);
  await connect(server.socketPath).set('kept', 'own');
  await rename(dataDir, `${dataDir}-moved`);
  await cp(other, dataDir, { recursive: true, filter: (path) => !path.endsWith('.sock') });

  expect(await server.loss()).toBe(`${dataDir} is another directory than before`);
  expect(await caught(server.rescue())).toMatchObject({ code: 'data_directory_replaced' });
  await rm(dataDir, { recursive: true });
  await server.rescue();
  await waitFor(async () => (await server.loss()) === null);
  expect(await connect(server.socketPath).get('kept')).toBe('own');
});

test('a start ends the embedded server that works in a removed directory of that path', async () => {
  const dataDir = await newDataDir('data');
  await leaveBehind(dataDir);
  const pid = pidIn(dataDir);
  await rm(dataDir, { recursive: true });
  const server = await start(dataDir);
  expect(server.reused).toBe(false);
  expect(isAlive(pid)).toBe(false);
});

test('a server that is killed comes back with its data, and clients find it by themselves', async () => {
  const dataDir = await newDataDir();
  const log = collectLog();
  const server = await start(dataDir, { log });
  const redis = connect(server.socketPath);
  for (const round of ['one', 'two']) {
    await redis.set(round, 'yes');
    // Written is not yet synced, but that matters to a power cut only.
    const pid = pidIn(dataDir);
    process.kill(pid, 'SIGKILL');
    await waitFor(() => log.lines.at(-1)?.level === 'info' && pidIn(dataDir) !== pid);
    expect(await redis.get(round)).toBe('yes');
  }
  expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(2);
  expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
});

test('an append-only file that was cut short is loaded up to there', async () => {
  const dataDir = await newDataDir();
  const server = await start(dataDir);
  const redis = connect(server.socketPath);
  await redis.set('kept', 'yes');
  redis.disconnect();
  expect(await server.close(5_000)).toBe('stopped');
  const file = join(dataDir, 'appendonlydir', 'appendonly.aof.1.incr.aof');
  await writeFile(file, `${await readFile(file, 'latin1')}*3\r\n$3\r\nSET\r\n$1`, 'latin1');

  const next = await start(dataDir);
  expect(await connect(next.socketPath).get('kept')).toBe('yes');
});

test('a server that cannot start is an error with its own last words', async () => {
  const dataDir = await newDataDir('data');
  await mkdir(dataDir);
  await writeFile(join(dataDir, 'appendonlydir'), 'in the way of a directory');
  const error = await caught(start(dataDir));
  expect(error).toMatchObject({ code: 'redis_start_failed' });
  expect(String(error)).toContain('append-only');
});

test('the server of someone else at that place is neither used nor stopped', async () => {
  const dataDir = await newDataDir();
  const socket = join(dataDir, 'redis.sock');
  const args = ['--port', '0', '--unixsocket', socket, '--dir', tmpdir(), '--save', ''];
  const foreign = spawn(findServer() ?? '', args, { stdio: 'ignore' });
  cleanups.push(async () => foreign.kill('SIGKILL'));
  const redis = connect(socket);
  await redis.ping();

  expect(await caught(start(dataDir))).toMatchObject({ code: 'redis_foreign' });
  expect(await redis.ping()).toBe('PONG');
});

test('the error without any server on PATH names the package and the way out', async () => {
  const dataDir = await newDataDir();
  const { said, kill } = await startFromProcess(dataDir, dataDir);
  await kill();
  expect(said).toMatch(/package redis-server.*REDIS_URL/);
});

test('a valkey-server does as well', async () => {
  const dataDir = await newDataDir('data');
  const bin = join(dataDir, '../bin');
  await mkdir(bin);
  await writeFile(join(bin, 'valkey-server'), `#!/bin/sh\nexec ${findServer()} "$@"\n`);
  await chmod(join(bin, 'valkey-server'), 0o755);
  const { said, kill } = await startFromProcess(dataDir, bin);
  await kill();
  expect(said).toBe('up\n');
  expect((await start(dataDir)).reused).toBe(true);
});
