import type { Config } from '../config/schema.ts';
import type { Releasers } from '../lifecycle.ts';
import { createRedisConnections, type RedisConnections } from '../redis/connection.ts';
import { startEmbeddedRedis } from '../redis/embedded-server.ts';
import type { Logger } from '../telemetry/logger.ts';

/**
 * Connects to the configured Redis, or to one that runs for this data directory.
 * Throws RunwatchError of the server or the connection.
 */
export async function openRedis(
  config: Config,
  log: Logger,
  releasers: Releasers,
): Promise<RedisConnections> {
  const url = config.redis.url ?? (await embedded(config, log, releasers));
  const connections = createRedisConnections({ url, log });
  releasers.add('redis connections', () => connections.close());
  await connections.ready();
  return connections;
}

async function embedded(config: Config, log: Logger, releasers: Releasers): Promise<string> {
  const server = await startEmbeddedRedis({ dataDir: config.data_dir, log });
  releasers.add('redis server', async (remainingMs) => {
    await server.close(remainingMs);
  });
  return server.socketPath;
}
