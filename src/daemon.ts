import { randomInt } from 'node:crypto';
import { hostname, uptime } from 'node:os';
import type { Config } from './config/schema.ts';
import { newName, type NewMark } from './core/event-id.ts';
import { createDeliverer, type Deliverer } from './daemon/deliverer.ts';
import { createDiscovery, type Discovery } from './daemon/discovery.ts';
import { createEndpoints, DEFAULT_RETRY_MS, PER_WATCH_TIMEOUT_MS } from './daemon/endpoints.ts';
import { startJanitor } from './daemon/janitor.ts';
import { openRedis } from './daemon/open-redis.ts';
import { createLearning, type Learning } from './daemon/learning.ts';
import { loadOwnSecrets, type OwnSecrets } from './daemon/own-secrets.ts';
import { createPoller, type Poller } from './daemon/poller.ts';
import { createProcesses, type Processes } from './daemon/processes.ts';
import { queueFactory } from './daemon/queues.ts';
import { createRoutes } from './daemon/routes.ts';
import { createServices } from './daemon/services.ts';
import { createStores, type Stores } from './daemon/stores.ts';
import {
  createEgressGuard,
  createEndpointGuard,
  type EgressGuard,
} from './deliver/egress-guard.ts';
import { createEndpointSecrets } from './deliver/endpoint-secrets.ts';
import type { EventLogger } from './deliver/log-channel.ts';
import { generateSecret } from './deliver/sign.ts';
import { createWebhookAgents } from './deliver/webhook-agents.ts';
import { createServer, listen } from './http/server.ts';
import type { Services } from './http/services.ts';
import type { Lifecycle } from './lifecycle.ts';
import { newProcessId } from './redis/claims.ts';
import type { RedisConnections } from './redis/connection.ts';
import type { Logger } from './telemetry/logger.ts';
import { createMetrics, type Metrics } from './telemetry/metrics.ts';

interface DaemonOptions {
  config: Config;
  log: Logger;
  /** Where `log` endpoints write; takes every level. */
  eventLog: EventLogger;
  version: string;
  /** Readiness fails once it stops; it finishes or hands back work that runs, and closes everything. */
  lifecycle: Lifecycle;
}

/**
 * The composition root: builds everything from the configuration and starts it, in the order in
 * which it needs one another. What is opened is registered with the lifecycle, which closes it.
 * Throws RunwatchError with the code of the part that could not start, or `stopping`.
 * @returns where the HTTP API listens
 */
export async function startDaemon(options: DaemonOptions): Promise<{ url: string }> {
  const { config, log, version } = options;
  const connections = await openRedis(options);
  const ownSecrets = await loadOwnSecrets(options);
  const stores = createStores(connections, config.redis.prefix);
  const epoch = await stores.epochs.open(newName(randomInt));
  const newMark = () => epoch + newName(randomInt);
  const parts = build(options, connections, { stores, newMark, ...ownSecrets });
  const url = await serve(options, parts);
  run(options, parts, connections);
  log.info({ url, version, sources: Object.keys(config.sources) }, 'ready');
  return { url };
}

interface Parts {
  stores: Stores;
  processes: Processes;
  learning: Learning;
  poller: Poller;
  discovery: Discovery;
  deliverer: Deliverer;
  services: Services;
  metrics: Metrics;
  /** Closes what webhooks keep open. */
  closeAgents: () => void;
}

interface BuildFrom extends OwnSecrets {
  stores: Stores;
  newMark: NewMark;
}

function build(
  options: DaemonOptions,
  connections: RedisConnections,
  { stores, newMark, signingSecret, sealer }: BuildFrom,
): Parts {
  const { config } = options;
  const common = createCommon(options, connections, { stores, newMark });
  const { endpoints } = common;
  const guard = createEgressGuard({
    allow: config.egress.allow,
    requireHttps: config.egress.require_https,
  });
  const agents = openAgents(guard);
  const secrets = createEndpointSecrets({
    store: stores.endpointSecrets,
    sealer,
    endpoints: endpoints.all,
    signingSecret,
    generate: generateSecret,
    now: Date.now,
  });
  const routeOf = createRoutes({
    ...common,
    endpoints: endpoints.all,
    agents,
    sealer,
    secrets,
    eventLog: options.eventLog,
    signingSecret,
    perWatch: { timeoutMs: PER_WATCH_TIMEOUT_MS, retry: DEFAULT_RETRY_MS },
  });
  const deliverer = createDeliverer({ ...common, routeOf });
  const learning = createLearning(common);
  const { dispatch } = deliverer;
  const poller = createPoller({ ...common, statistics: learning, dispatch });
  const discovery = createDiscovery({ ...common, poller });
  const services = createServices({
    ...common,
    connections,
    poller,
    discovery,
    deliverer,
    routeOf,
    secrets,
    guard,
    sealer,
    signingSecret,
  });
  return {
    stores,
    processes: createOwnProcess(options, stores),
    learning,
    poller,
    discovery,
    deliverer,
    services,
    metrics: common.metrics,
    closeAgents: () => agents.close(),
  };
}

/** Connections of webhooks, each kind behind the guard that judges it. */
function openAgents(perWatchGuard: EgressGuard) {
  const configured = createWebhookAgents(createEndpointGuard());
  const perWatch = createWebhookAgents(perWatchGuard);
  return {
    configured,
    perWatch,
    close() {
      configured.close();
      perWatch.close();
    },
  };
}

/** What nearly every part is built from. */
function createCommon(
  { config, log, version }: DaemonOptions,
  connections: RedisConnections,
  { stores, newMark }: Pick<BuildFrom, 'stores' | 'newMark'>,
) {
  return {
    ...stores,
    stores,
    config,
    endpoints: createEndpoints(config),
    metrics: createMetrics(() => stores.count()),
    queueOf: queueFactory({
      prefix: stores.keys.queuePrefix,
      producer: connections.commands,
      consumer: connections.blocking,
      log,
    }),
    userAgent: `runwatch/${version}`,
    newMark,
    now: Date.now,
    random: Math.random,
    log,
  };
}

function createOwnProcess({ log, version }: DaemonOptions, stores: Stores): Processes {
  return createProcesses({
    id: newProcessId(),
    info: { host: hostname(), pid: process.pid, version, startedAt: Date.now() },
    store: stores.processes,
    clock: stores.clock,
    uptime: () => uptime() * 1_000,
    monotonic: () => performance.now(),
    log,
  });
}

/** Listens before any worker starts: a port that is taken is noticed before anything is done. */
async function serve(
  { config, log, version, lifecycle }: DaemonOptions,
  { services, metrics }: Parts,
): Promise<string> {
  const server = createServer({
    services,
    tokens: config.auth.tokens,
    version,
    log,
    metrics,
    isDraining: () => lifecycle.stopping.aborted,
  });
  lifecycle.onStop('http server', () => server.close());
  return listen(server, config.server);
}

function run(
  { config, log, lifecycle }: DaemonOptions,
  { stores, processes, learning, poller, discovery, deliverer, closeAgents }: Parts,
  connections: RedisConnections,
): void {
  const { watches, delivery } = config;
  const janitor = startJanitor(stores.retention, {
    retention: {
      watchesMs: watches.retention,
      deliveriesMs: delivery.retention,
      deliveriesKept: delivery.keep,
    },
    now: Date.now,
    log,
  });
  lifecycle.onStop('janitor', () => janitor.stop());
  // Work that runs cannot end while Redis is away: it is handed back by leaving it.
  const mustForce = () => connections.state().kind !== 'ok';
  lifecycle.onStop('webhook connections', closeAgents);
  // First to start and last to stop: work is claimed only by a process that shows that it lives.
  processes.start();
  lifecycle.onStop('process', () => processes.stop(mustForce()));
  learning.start();
  lifecycle.onStop('learning', () => learning.stop());
  deliverer.start();
  lifecycle.onStop('deliverer', () => deliverer.stop(mustForce()));
  poller.start();
  lifecycle.onStop('poller', (withinMs) => poller.stop({ force: mustForce(), withinMs }));
  discovery.start();
  lifecycle.onStop('discovery', () => discovery.stop());
  // What was lost or left undone while Redis was away is mended as soon as it is back.
  connections.onUsable(() => {
    processes.tend();
    poller.reconcile();
    deliverer.look();
  });
}
