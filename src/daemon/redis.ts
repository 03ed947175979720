import { totalmem } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { privateDirectories } from '../config/paths.ts';
import type { Config } from '../config/schema.ts';
import { loadTlsFiles } from '../config/tls-files.ts';
import { formatSize } from '../core/byte-size.ts';
import { RunwatchError } from '../core/errors.ts';
import type { Lifecycle } from '../lifecycle.ts';
import type { Names } from '../names.ts';
import { createRedisConnections, type RedisConnections } from '../redis/connection.ts';
import { installedServer } from '../redis/embedded/process.ts';
import { startEmbeddedRedis, type EmbeddedRedis } from '../redis/embedded/server.ts';
import { serverTraits, type ServerTraits } from '../redis/server-check.ts';
import type { RedisSettings } from '../redis/target.ts';
import type { Logger } from '../telemetry/logger.ts';
import { needDataDirectory, refuseUnfinished, unwritable } from './data-directory.ts';

interface OpenRedisOptions {
  config: Config;
  log: Logger;
  lifecycle: Lifecycle;
  names?: Names | undefined;
}

interface OpenedRedis {
  connections: RedisConnections;
  /** Null where Redis is configured. */
  ownServer: EmbeddedRedis | null;
}

/**
 * Connects to the configured Redis, or to one that runs for this data directory.
 * Throws RunwatchError of the server or the connection, or `tls_files_unusable`.
 */
export async function openRedis(options: OpenRedisOptions): Promise<OpenedRedis> {
  const { config, log, lifecycle, names } = options;
  const ownServer = usesOwnRedis(config) ? await startOwnServer(options) : null;
  const settings =
    ownServer === null
      ? configured(config)
      : { url: ownServer.socketPath, prefix: config.redis.prefix };
  const connections = createRedisConnections({ settings, log, names });
  lifecycle.onStop('redis connections', () => connections.close());
  await connections.ready();
  return { connections, ownServer };
}

/** The server that the daemon would run as its own Redis; null where none is installed. */
export async function findOwnServer(): Promise<string | null> {
  return installedServer();
}

/** Time for Redis to answer a question about its state, ms. */
const PROBE_MS = 5_000;

/**
 * What the configured Redis says of itself; null where it does not say.
 * Throws RunwatchError of the connection, `redis_unavailable` where none comes about in time.
 */
export async function probeRedis(config: Config): Promise<ServerTraits | null> {
  const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
  const connections = createRedisConnections({ settings: configured(config), log });
  const late = setTimeout(PROBE_MS, null, { ref: false }).then(() => {
    throw new RunwatchError('Redis does not answer', { code: 'redis_unavailable' });
  });
  try {
    await Promise.race([connections.ready(), late]);
    return await serverTraits(connections.commands);
  } finally {
    await connections.close();
  }
}

function ignore(): void {
  // The answer says all that a user asks for.
}

/** Whether the daemon runs the embedded Redis. */
export function usesOwnRedis({ redis }: Pick<Config, 'redis'>): boolean {
  return redis.url === undefined && redis.sentinels === undefined && redis.cluster === undefined;
}

function configured({ redis }: Config): RedisSettings {
  const { sentinel_username, sentinel_password, tls, ...settings } = redis;
  return {
    ...settings,
    sentinelUsername: sentinel_username,
    sentinelPassword: sentinel_password,
    ...(tls && { tls: { ...loadTlsFiles(['redis'], tls), serverName: tls.server_name } }),
  };
}

/** What of the memory the own Redis may take unless configured: it needs up to twice as much while it rewrites its file. */
const MEMORY_SHARE = 0.5;

/**
 * How much memory the own Redis may take, in bytes: as configured, else half of what this machine, or the
 * cgroup of this process, has.
 */
export function memoryLimit(
  { redis }: Pick<Config, 'redis'>,
  log: Pick<Logger, 'warn'>,
  memory = memoryHere(),
): number {
  const { maxmemory } = redis;
  if (maxmemory === undefined) return Math.floor(MEMORY_SHARE * memory);
  if (maxmemory > memory) {
    const fields = { maxmemory: formatSize(maxmemory), memory: formatSize(memory) };
    log.warn(fields, 'redis.maxmemory is more than the memory that there is');
  }
  return maxmemory;
}

/** In bytes, as far as a cgroup leaves it to this process. */
function memoryHere(): number {
  // Without a cgroup it is 0, or more than any machine has.
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}

async function startOwnServer({
  config,
  log,
  lifecycle,
}: OpenRedisOptions): Promise<EmbeddedRedis> {
  await needDataDirectory(config.data_dir);
  await refuseUnfinished(config.data_dir);
  const server = await startEmbeddedRedis({
    dataDir: config.data_dir,
    ownDirs: privateDirectories(),
    maxMemory: memoryLimit(config, log),
    log,
  }).catch((error: unknown) => {
    throw unwritable(config.data_dir, error);
  });
  lifecycle.onStop('redis server', (remainingMs) => server.close(remainingMs));
  return server;
}
