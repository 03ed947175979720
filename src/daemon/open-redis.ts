import type { Config } from '../config/schema.ts';
import type { Lifecycle } from '../lifecycle.ts';
import { createRedisConnections, type RedisConnections } from '../redis/connection.ts';
import { startEmbeddedRedis } from '../redis/embedded-server.ts';
import type { Logger } from '../telemetry/logger.ts';

interface OpenRedisOptions {
  config: Config;
  log: Logger;
  lifecycle: Lifecycle;
}

/**
 * Connects to the configured Redis, or to one that runs for this data directory.
 * Throws RunwatchError of the server or the connection.
 */
export async function openRedis(options: OpenRedisOptions): Promise<RedisConnections> {
  const { config, log, lifecycle } = options;
  const url = config.redis.url ?? (await embedded(options));
  const connections = createRedisConnections({ url, prefix: config.redis.prefix, log });
  lifecycle.onStop('redis connections', () => connections.close());
  await connections.ready();
  return connections;
}

async function embedded({ config, log, lifecycle }: OpenRedisOptions): Promise<string> {
  const server = await startEmbeddedRedis({ dataDir: config.data_dir, log });
  lifecycle.onStop('redis server', (remainingMs) => server.close(remainingMs));
  return server.socketPath;
}
