import { derivedSecrets } from './config/advice.ts';
import { Daemon } from './daemon.ts';
import { checkDataDirectory } from './daemon/data-directory.ts';
import { Migrator } from './daemon/migrator.ts';
import { openProcess, type DaemonOptions } from './daemon/open.ts';
import { openRedis } from './daemon/redis.ts';
import type { Reload } from './daemon/reload.ts';
import { nameFigures } from './http/figures.ts';
import { Heartbeat } from './http/heartbeat.ts';
import { createServer, createWaitingServer, listen } from './http/server.ts';
import { Services } from './http/services.ts';
import { Names } from './names.ts';
import type { RedisConnections } from './redis/connection.ts';
import { createKeys } from './redis/keys.ts';

interface RunningDaemon {
  /** Where the HTTP API listens. */
  url: string;
  /** Takes another configuration, as far as that needs no restart. */
  reload: Reload['apply'];
}

/**
 * Opens the store, builds the daemon with its API, and starts them. The lifecycle closes every part that was
 * opened.
 * Throws RunwatchError with the code of the part that could not start, or `stopping`.
 */
export async function startDaemon(options: DaemonOptions): Promise<RunningDaemon> {
  const { config, log, version, lifecycle, deliver = true } = options;
  await checkDataDirectory(config.data_dir);
  const names = new Names();
  const { connections, ownServer } = await openRedis({ ...options, names });
  await migrate(options, connections);
  const opened = await openProcess(options, connections, names);
  const derived = derivedSecrets(config);
  if (derived !== null) log.info(derived);
  const daemon = new Daemon(opened, ownServer, !deliver);
  const services = new Services(daemon);
  nameFigures(daemon, services.health);
  const server = createServer(daemon, services, lifecycle.stopping);
  lifecycle.onStop('http server', () => server.close());
  if (!daemon.tokens.areNeeded()) {
    log.warn('no token is configured: every user of this machine has all rights');
  }
  // Before any worker starts: a port in use is found before any work is done.
  const url = await listen(server, config.server);
  daemon.start(lifecycle);
  const heartbeat = new Heartbeat(daemon.deliverer, services.health, lifecycle.stopping);
  if (deliver) heartbeat.start();
  else log.warn('--no-deliver: nothing is sent or deleted; deliveries wait');
  // A receiver that is slow must not hold up the stop.
  lifecycle.onStop('heartbeat', () => void heartbeat.stop());
  log.info({ url, version, sources: Object.keys(config.sources) }, 'ready');
  return { url, reload: (loaded) => daemon.reload.apply(loaded) };
}

/**
 * Has the records in the form of this version. Meanwhile the API says how far that is, and nothing else.
 * Throws RunwatchError of the server and of {@link Migrator}.
 */
async function migrate(options: DaemonOptions, connections: RedisConnections): Promise<void> {
  const { config, log, version, lifecycle } = options;
  const keys = createKeys(config.redis.prefix);
  const migrator = new Migrator(connections, keys, log, version, options.migrations);
  if (await migrator.isDone()) return;
  const server = createWaitingServer(migrator, config.server, lifecycle.stopping);
  try {
    const url = await listen(server, config.server);
    log.warn({ url }, 'store.migration_needed');
    await migrator.run(lifecycle.stopping);
  } finally {
    await server.close();
  }
}
