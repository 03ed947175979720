import { derivedSecrets } from './config/advice.ts';
import { redactConfig } from './config/redact.ts';
import { Daemon } from './daemon.ts';
import { checkDataDirectory } from './daemon/data-directory.ts';
import { openProcess, type OpenOptions } from './daemon/open.ts';
import { openRedis } from './daemon/redis.ts';
import type { Reload } from './daemon/reload.ts';
import { nameFigures } from './http/figures.ts';
import { startHeartbeat } from './http/heartbeat.ts';
import { createServer, listen } from './http/server.ts';
import { Services } from './http/services.ts';
import type { Lifecycle } from './lifecycle.ts';
import { Names } from './names.ts';

interface RunningDaemon {
  /** Where the HTTP API listens. */
  url: string;
  /** Takes another configuration, as far as that needs no restart. */
  reload: Reload['apply'];
}

export interface DaemonOptions extends Omit<OpenOptions, 'names'> {
  /** When it stops, readiness fails; it finishes or releases running work and closes everything. */
  lifecycle: Lifecycle;
}

/**
 * Opens the store, builds the daemon with its API, and starts them. The lifecycle closes every part that was
 * opened.
 * Throws RunwatchError with the code of the part that could not start, or `stopping`.
 */
export async function startDaemon(options: DaemonOptions): Promise<RunningDaemon> {
  const { config, log, version, lifecycle } = options;
  await checkDataDirectory(config.data_dir);
  const names = new Names();
  const { connections, ownServer } = await openRedis({ ...options, names });
  const opened = await openProcess({ ...options, names }, connections);
  const derived = derivedSecrets(config);
  if (derived !== null) log.info(derived);
  const daemon = new Daemon(opened, ownServer);
  const services = new Services(daemon);
  nameFigures(daemon, services.health);
  const url = await serve(daemon, services, lifecycle);
  daemon.start(lifecycle);
  keepBeating(daemon, services, lifecycle);
  log.info({ url, version, sources: Object.keys(config.sources) }, 'ready');
  return { url, reload: (loaded) => daemon.reload.apply(loaded) };
}

/** Listens before any worker starts: a port in use is found before any work is done. */
async function serve(daemon: Daemon, services: Services, lifecycle: Lifecycle): Promise<string> {
  const { config, log, tokens } = daemon;
  const server = createServer({
    services,
    tokens,
    sealer: daemon.secrets.sealer,
    public: config.auth.public,
    version: daemon.version,
    publicUrl: config.server.public_url,
    configuration: () => redactConfig(daemon.reload.current()),
    log,
    metrics: daemon.metrics,
    isDraining: () => lifecycle.stopping.aborted,
    isStoreReady: () => daemon.connections.state().kind !== 'away',
  });
  lifecycle.onStop('http server', () => server.close());
  if (!tokens.areNeeded()) {
    log.warn('no token is configured: every user of this machine has all rights');
  }
  return listen(server, config.server);
}

function keepBeating(daemon: Daemon, services: Services, lifecycle: Lifecycle): void {
  const { config, deliverer, metrics, log } = daemon;
  if (config.heartbeat === undefined) return;
  const beating = startHeartbeat({
    settings: config.heartbeat,
    health: services.health,
    isDraining: () => lifecycle.stopping.aborted,
    get: (...request) => deliverer.agents.configured.get(...request),
    count: (result) => metrics.heartbeat(result),
    log,
  });
  // A receiver that is slow must not hold up the stop.
  lifecycle.onStop('heartbeat', () => void beating.stop());
}
