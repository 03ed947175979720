import type { Config } from './config/schema.ts';
import { createDeliverer, type Deliverer } from './daemon/deliverer.ts';
import { createEndpoints } from './daemon/endpoints.ts';
import { startJanitor } from './daemon/janitor.ts';
import { openRedis } from './daemon/open-redis.ts';
import { createPoller, type Poller } from './daemon/poller.ts';
import { queueFactory } from './daemon/queues.ts';
import { createServices } from './daemon/services.ts';
import { loadSigningSecret } from './daemon/signing-secret.ts';
import { createStores, type Stores } from './daemon/stores.ts';
import { createEgressGuard } from './deliver/egress-guard.ts';
import type { EventLogger } from './deliver/log-channel.ts';
import { createSealer } from './deliver/seal.ts';
import { createWebhookAgents } from './deliver/webhook-agents.ts';
import { createServer, listen } from './http/server.ts';
import type { Services } from './http/services.ts';
import { createReleasers, type Releasers } from './lifecycle.ts';
import type { RedisConnections } from './redis/connection.ts';
import type { Logger } from './telemetry/logger.ts';
import { createMetrics, type Metrics } from './telemetry/metrics.ts';

/** A daemon that runs. */
export interface Daemon {
  /** Where its HTTP API listens. */
  url: string;
  /**
   * Readiness fails at once; then work that runs is finished or handed back, and everything that
   * was opened is closed, in reverse. Returns within the configured `shutdown_timeout`.
   */
  stop(): Promise<void>;
}

interface DaemonOptions {
  config: Config;
  log: Logger;
  /** Where `log` endpoints write; takes every level. */
  eventLog: EventLogger;
  version: string;
}

/**
 * The composition root: builds everything from the configuration and starts it, in the order in
 * which it needs one another. What was opened is closed again when a later part cannot start.
 * Throws RunwatchError with the code of the part that could not.
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { config, log } = options;
  const releasers = createReleasers(log);
  try {
    const connections = await openRedis(config, log, releasers);
    const parts = await build(options, connections);
    const state = { draining: false };
    const url = await serve(options, parts, state, releasers);
    run(parts, connections, options, releasers);
    log.info({ url, version: options.version, sources: Object.keys(config.sources) }, 'ready');
    return {
      url,
      async stop() {
        state.draining = true;
        await releasers.release(config.server.shutdown_timeout);
      },
    };
  } catch (error) {
    await releasers.release(config.server.shutdown_timeout);
    throw error;
  }
}

interface Parts {
  stores: Stores;
  poller: Poller;
  deliverer: Deliverer;
  services: Services;
  metrics: Metrics;
  /** Closes what webhooks keep open. */
  closeAgents: () => void;
}

async function build(options: DaemonOptions, connections: RedisConnections): Promise<Parts> {
  const { config, log } = options;
  const stores = createStores(connections, config.redis.prefix);
  const metrics = createMetrics(() => stores.count());
  const endpoints = createEndpoints(config.endpoints);
  const guard = createEgressGuard({
    allow: config.egress.allow,
    requireHttps: config.egress.require_https,
  });
  const agents = createWebhookAgents(guard);
  const sealer = createSealer(config.encryption.keys);
  const common = {
    ...stores,
    config,
    endpoints,
    metrics,
    queueOf: queueFactory({
      prefix: stores.keys.queuePrefix,
      producer: connections.commands,
      consumer: connections.blocking,
      log,
    }),
    userAgent: `runwatch/${options.version}`,
    now: Date.now,
    random: Math.random,
    log,
  };
  const deliverer = createDeliverer({
    ...common,
    agents,
    sealer,
    eventLog: options.eventLog,
    signingSecret: await signingSecret(config, log),
  });
  const poller = createPoller({ ...common, dispatch: deliverer.dispatch });
  const services = createServices({ ...common, connections, poller, deliverer, guard, sealer });
  return { stores, poller, deliverer, services, metrics, closeAgents: () => agents.close() };
}

async function signingSecret(config: Config, log: Logger): Promise<string> {
  const { secret, path } = await loadSigningSecret(config.data_dir, config.delivery.signing_secret);
  if (path !== null) log.info({ path }, 'webhooks without a secret of their own are signed by');
  return secret;
}

/** Listens before any worker starts: a port that is taken is noticed before anything is done. */
async function serve(
  { config, log, version }: DaemonOptions,
  { services, metrics }: Parts,
  state: { draining: boolean },
  releasers: Releasers,
): Promise<string> {
  const server = createServer({
    services,
    tokens: config.auth.tokens,
    version,
    log,
    metrics,
    isDraining: () => state.draining,
  });
  releasers.add('http server', () => server.close());
  return listen(server, config.server);
}

function run(
  { stores, poller, deliverer, closeAgents }: Parts,
  connections: RedisConnections,
  { config, log }: DaemonOptions,
  releasers: Releasers,
): void {
  const { watches, delivery } = config;
  const janitor = startJanitor(stores.retention, {
    retention: { watchesMs: watches.retention, deliveriesMs: delivery.retention },
    now: Date.now,
    log,
  });
  releasers.add('janitor', () => janitor.stop());
  // Work that runs cannot end while Redis is away: it is handed back by leaving it.
  const mustForce = () => !connections.isReady();
  releasers.add('webhook connections', async () => closeAgents());
  deliverer.start();
  releasers.add('deliverer', () => deliverer.stop(mustForce()));
  poller.start();
  releasers.add('poller', () => poller.stop(mustForce()));
  // What was lost or left undone while Redis was away is mended as soon as it is back.
  connections.commands.on('ready', () => {
    poller.reconcile();
    deliverer.sweep();
  });
}
