import type { ChildProcess } from 'node:child_process';
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { RunwatchError } from '../../core/errors.ts';
import { makeDirectory } from '../make-directory.ts';
import { withFileLock } from '../file-lock.ts';
import type { RedisLog } from '../failures.ts';
import {
  probeServer,
  shutDown,
  shutDownUnlessUsed,
  socketPathFor,
  endUnreachableServers,
  lastWords,
  spawnServer,
} from './process.ts';
import { findLoss, identify, keepData, type Place } from './rescue.ts';

const LOCK_TIMEOUT_MS = 60_000;
const PROBE_INTERVAL_MS = 25;
/** Reading in an append-only file of some gigabytes takes minutes. */
const LOADING_TIMEOUT_MS = 600_000;

/** The Redis that the daemon runs for itself. */
export interface EmbeddedRedis {
  /** Where clients connect; a restart of the server keeps it. */
  readonly socketPath: string;
  /** Whether the server was found running: in use, or left behind by a daemon that was killed. */
  readonly reused: boolean;
  /** What is gone of the data directory, as the server found it; null while all is there. */
  loss(): Promise<string | null>;
  /**
   * Makes the data directory again with all that the server holds, and starts the server anew there, so
   * that clients find it. Does nothing while all is there.
   * @throws RunwatchError `data_directory_replaced` where the directory has data of its own, and what
   *   keeps the server from writing there
   */
  rescue(): Promise<void>;
  /** Gives the server another limit of memory in bytes; one that is away gets it when it is back. */
  limitMemory(bytes: number): Promise<void>;
  /**
   * Lets go of the server, and shuts it down unless another client is connected to it. Never
   * throws; a server that is left running is found by the next start.
   * @param timeoutMs after this it returns in any case
   */
  close(timeoutMs: number): Promise<'stopped' | 'left_running'>;
}

interface Ground {
  /** By its real path. */
  dataDir: string;
  socketPath: string;
  lockPath: string;
  /** In bytes. */
  maxMemory: number;
  log: RedisLog;
}

/**
 * Makes sure that one Redis server runs on a data directory, however many daemons ask for it: one
 * that runs is used, else one is started. Until `close`, a server that dies is started again.
 * @param options.dataDir made when missing; holds everything that the server writes
 * @param options.ownDirs see {@link socketPathFor}
 * @param options.maxMemory the limit of its memory in bytes, also for a server that runs already
 * @throws RunwatchError `redis_server_missing`, `redis_start_failed` with the server's last lines,
 *   `redis_foreign`, `redis_stuck`, `socket_path_unusable`, `lock_timeout`
 */
export async function startEmbeddedRedis(options: {
  dataDir: string;
  ownDirs: readonly string[];
  maxMemory: number;
  log: RedisLog;
}): Promise<EmbeddedRedis> {
  await makeDirectory(options.dataDir);
  const dataDir = await realpath(options.dataDir);
  const socketPath = await socketPathFor(dataDir, options.ownDirs);
  const { log, maxMemory } = options;
  const ground = { dataDir, socketPath, lockPath: join(dataDir, 'redis.lock'), maxMemory, log };

  const first = await ensureServer(ground);
  const ensure = () => ensureServer(ground);
  const found = ({ control }: RunningServer) => {
    limit(ground, control).catch((error: unknown) => {
      log.warn({ err: error }, 'the Redis server has no memory limit');
    });
  };
  const supervisor = superviseServer({ first, ensure, found, log });
  return {
    socketPath,
    reused: first.reused,
    async loss() {
      const lost = await findLoss(ground.dataDir, supervisor.current().place);
      return lost?.what ?? null;
    },
    rescue: () => rescue(ground, supervisor.current()),
    async limitMemory(bytes) {
      ground.maxMemory = bytes;
      const { control } = supervisor.current();
      if (control.status === 'ready') await limit(ground, control);
    },
    async close(timeoutMs) {
      const cut = delay(timeoutMs, 'left_running' as const, { ref: false });
      const done = supervisor.letGo().then((server) => letEnd(ground, server, timeoutMs));
      return Promise.race([done, cut]);
    },
  };
}

async function limit({ maxMemory }: Ground, control: Redis): Promise<void> {
  await control.config('SET', 'maxmemory', maxMemory);
}

async function rescue(ground: Ground, server: RunningServer): Promise<void> {
  await makeDirectory(ground.dataDir);
  await withFileLock(ground.lockPath, LOCK_TIMEOUT_MS, async ({ touch }) => {
    // Another daemon may have been first: this server has ended then.
    if (server.control.status !== 'ready') return;
    if ((await findLoss(ground.dataDir, server.place)) === null) return;
    await keepData(server, ground.dataDir, touch);
    await shutDown(server.control);
  });
}

function ensureServer(ground: Ground): Promise<RunningServer> {
  return withFileLock(ground.lockPath, LOCK_TIMEOUT_MS, async ({ touch }) => {
    const found = await awaitServer(ground, touch, () => false);
    if (found !== null) return { ...found, reused: true };

    await endUnreachableServers(ground.dataDir);
    const child = await spawnServer(ground.dataDir);
    const started = await awaitServer(ground, touch, () => isRunning(child));
    if (started !== null) return { ...started, reused: false };
    throw new RunwatchError(
      `the Redis server on ${ground.dataDir} ended at once:\n${await lastWords(ground.dataDir)}`,
      { code: 'redis_start_failed' },
    );
  });
}

/** Waits for a server that loads or starts; null when none is there and none `mayCome`. */
async function awaitServer(
  ground: Ground,
  touch: () => Promise<void>,
  mayCome: () => boolean,
): Promise<Omit<RunningServer, 'reused'> | null> {
  const deadline = performance.now() + LOADING_TIMEOUT_MS;
  for (let isLogged = false; ;) {
    const mayStillCome = mayCome();
    const probe = await probeServer(ground.socketPath);
    if (probe.kind === 'ready') return verified(ground, probe);
    if (probe.kind === 'absent' && !mayStillCome) return null;
    if (performance.now() > deadline) throw stuck(ground);
    if (probe.kind !== 'absent' && !isLogged) {
      ground.log.info({ socket: ground.socketPath }, 'waiting for the Redis server to load');
      isLogged = true;
    }
    await touch();
    await delay(PROBE_INTERVAL_MS);
  }
}

/** A foreign server that listens there must not be filled with our keys, let alone be shut down. */
async function verified(
  ground: Ground,
  { control, dir, pid }: { control: Redis; dir: string; pid: number },
): Promise<Omit<RunningServer, 'reused'>> {
  if (dir === ground.dataDir) return { control, pid, place: await identify(ground.dataDir) };
  control.disconnect();
  const message = `the Redis server at ${ground.socketPath} keeps its data in ${dir}`;
  throw new RunwatchError(`${message}, not in ${ground.dataDir}`, { code: 'redis_foreign' });
}

function stuck(ground: Ground): RunwatchError {
  const message = `the Redis server at ${ground.socketPath} runs, but does not become ready`;
  return new RunwatchError(message, { code: 'redis_stuck', retriable: true });
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

/** Where the socket is gone, the open connection alone can end the server. */
async function letEnd(
  ground: Ground,
  server: RunningServer,
  timeoutMs: number,
): Promise<'stopped' | 'left_running'> {
  const { control, place } = server;
  if (control.status === 'ready' && (await findLoss(ground.dataDir, place)) !== null) {
    return endLost(ground, server, timeoutMs);
  }
  if (control.status !== 'end') control.disconnect();
  return closeServer(ground, timeoutMs);
}

async function endLost(
  { dataDir, log }: Ground,
  server: RunningServer,
  timeoutMs: number,
): Promise<'stopped' | 'left_running'> {
  const { control, pid } = server;
  try {
    await makeDirectory(dataDir);
    await keepData(server, dataDir, async () => undefined);
  } catch (error) {
    log.error({ err: error, pid }, 'what the Redis server holds is lost');
  }
  try {
    return await shutDownUnlessUsed(control, timeoutMs);
  } catch (error) {
    log.warn({ err: error, pid }, 'the Redis server was left running');
    return 'left_running';
  } finally {
    if (control.status !== 'end') control.disconnect();
  }
}

/** Under the lock, so that no other daemon takes the server up while it shuts down. */
async function closeServer(ground: Ground, timeoutMs: number): Promise<'stopped' | 'left_running'> {
  try {
    return await withFileLock(ground.lockPath, timeoutMs, async ({ touch }) => {
      const probe = await probeServer(ground.socketPath);
      if (probe.kind === 'absent') return 'stopped';
      if (probe.kind !== 'ready') return 'left_running';
      const { control } = await verified(ground, probe);
      try {
        return await shutDownUnlessUsed(control, timeoutMs, touch);
      } finally {
        // Hanging up on what has ended would keep the process waiting.
        if (control.status !== 'end') control.disconnect();
      }
    });
  } catch (error) {
    ground.log.warn({ err: error, socket: ground.socketPath }, 'the Redis server was left running');
    return 'left_running';
  }
}

const FIRST_PAUSE_MS = 200;
const MAX_PAUSE_MS = 5_000;
/** A server that ran for this long had started well; the next restart is immediate again. */
const STEADY_AFTER_MS = 10_000;

/** A server that answers, and a connection that ends with it. */
export interface RunningServer {
  control: Redis;
  pid: number;
  /** Where it works, and clients find it. */
  place: Place;
  /** False when this process has just started it. */
  reused: boolean;
}

interface Supervision {
  first: RunningServer;
  /** Finds the server or starts one; may be called again after it has failed. */
  ensure: () => Promise<RunningServer>;
  /** Called with each server that is found or started. */
  found: (server: RunningServer) => void;
  log: RedisLog;
}

/** Brings a server back whenever its control connection ends, with growing pauses, until `letGo`. */
export function superviseServer({ first, ensure, found, log }: Supervision): {
  /** The server that was found last. */
  current(): RunningServer;
  /** Waits for a restart that is under way, and makes no more. The connection is the caller's to close. */
  letGo(): Promise<RunningServer>;
} {
  const released = new AbortController();
  let current = first;
  let recovery: Promise<void> = Promise.resolve();

  /** `failures` are the starts before this one that came to nothing. */
  const watch = (server: RunningServer, failures: number): void => {
    const since = performance.now();
    current = server;
    log.info({ pid: server.pid, reused: server.reused }, 'the Redis server is running');
    found(server);
    const onEnd = (): void => {
      if (released.signal.aborted) return;
      log.warn({ pid: server.pid }, 'the Redis server went away');
      const wasSteady = performance.now() - since > STEADY_AFTER_MS;
      recovery = recover(wasSteady ? 0 : failures + 1);
    };
    // It may have died since it was found, and then no event is to come.
    if (server.control.status === 'end') onEnd();
    else server.control.once('end', onEnd);
  };

  const attempt = async (pauseMs: number): Promise<RunningServer | null> => {
    try {
      await delay(pauseMs, undefined, { signal: released.signal });
      return await ensure();
    } catch (error) {
      if (!released.signal.aborted) log.error({ err: error }, 'the Redis server does not start');
      return null;
    }
  };

  const recover = async (failuresBefore: number): Promise<void> => {
    for (let failures = failuresBefore; !released.signal.aborted; failures += 1) {
      const server = await attempt(pauseAfter(failures));
      if (server !== null && !released.signal.aborted) return watch(server, failures);
      server?.control.disconnect();
    }
  };

  watch(first, 0);
  return {
    current: () => current,
    async letGo() {
      released.abort();
      await recovery;
      return current;
    },
  };
}

/** Milliseconds before a restart, after so many that did not last. */
function pauseAfter(failures: number): number {
  return failures === 0 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), MAX_PAUSE_MS);
}
