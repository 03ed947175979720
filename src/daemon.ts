import { derivedSecrets } from './config/cross-check.ts';
import { redactConfig } from './config/redact.ts';
import type { Config } from './config/schema.ts';
import { sectionHashes } from './config/sections.ts';
import { RunwatchError } from './core/errors.ts';
import { createAlerting, type Alerting } from './daemon/alerting.ts';
import { openCommon, type Common, type CommonOptions } from './daemon/common.ts';
import { DataDirectoryGuard } from './daemon/data-directory-guard.ts';
import { checkDataDirectory } from './daemon/data-directory.ts';
import { createDeliverer, type Deliverer } from './daemon/deliverer.ts';
import { endpointFigures } from './daemon/services/endpoints.ts';
import { allEndpoints, DEFAULT_RETRY_MS, PER_WATCH_TIMEOUT_MS } from './daemon/endpoints.ts';
import { startJanitor } from './daemon/janitor.ts';
import { checkFigures } from './daemon/services/health.ts';
import { startHeartbeat } from './daemon/heartbeat.ts';
import { faultLog } from './daemon/fault-log.ts';
import { startPeriodic } from './daemon/periodic.ts';
import { openRedis } from './daemon/redis.ts';
import { createLearning, type Learning, createPoller, type Poller } from './daemon/poller.ts';
import { keptSecrets, loadOwnSecrets, type OwnSecrets } from './daemon/secrets.ts';
import { createReload, replaceEntries, type Reload, type Reloadable } from './daemon/reload.ts';
import {
  createRoutes,
  type RoutesDependencies,
  type RouteTable,
} from './daemon/delivery-routes.ts';
import { createBacklogNotices } from './daemon/backlog-notices.ts';
import { createSystemEvents, type SystemEvents } from './daemon/system-events.ts';
import { createServices } from './daemon/services/services.ts';
import { createDiscovery, findSourcesInDoubt, type Discovery } from './daemon/source-feed.ts';
import { sourceFigures } from './daemon/services/sources.ts';
import {
  createEgressGuard,
  createEndpointGuard,
  type EgressGuard,
} from './deliver/egress/egress-guard.ts';
import { createEndpointSecrets } from './deliver/secrets/endpoint-secrets.ts';
import type { Sealer } from './deliver/secrets/seal.ts';
import { generateSecret } from './deliver/secrets/sign.ts';
import { createWebhookAgents, type WebhookAgents } from './deliver/http-post.ts';
import { createUnconfigured, type Unconfigured } from './daemon/unconfigured.ts';
import { createServer, listen } from './http/server.ts';
import type { Services } from './http/services.ts';
import { createTokens, type Tokens } from './http/tokens.ts';
import type { Lifecycle } from './lifecycle.ts';
import { Names } from './names.ts';
import type { RedisConnections } from './redis/connection.ts';

/** How long the stop waits for the receiver of traces, ms. */
const FLUSH_MS = 2_000;

/** How often a source is asked whether it answers, while that is not known, ms. */
const GREET_EVERY_MS = 10_000;

interface RunningDaemon {
  /** Where the HTTP API listens. */
  url: string;
  /** Takes another configuration, as far as that needs no restart. */
  reload: Reload['apply'];
}

export interface DaemonOptions extends Omit<CommonOptions, 'names'> {
  /** Where `log` endpoints write; without a level of its own. */
  eventLog: RoutesDependencies['eventLog'];
  /** When it stops, readiness fails; it finishes or releases running work and closes everything. */
  lifecycle: Lifecycle;
}

/**
 * The composition root: builds all parts from the configuration and starts them, in the order of their
 * dependencies. The lifecycle closes every part that was opened.
 * Throws RunwatchError with the code of the part that could not start, or `stopping`.
 */
export async function startDaemon(options: DaemonOptions): Promise<RunningDaemon> {
  const { config, log, version } = options;
  await checkDataDirectory(config.data_dir);
  const names = new Names();
  const { connections, ownServer } = await openRedis({ ...options, names });
  const common = await openCommon({ ...options, names }, connections);
  await common.workflowNames.start(Object.keys(config.sources));
  const ownSecrets = await loadOwnSecrets({ config, log, stores: common.stores });
  const derived = derivedSecrets(config);
  if (derived !== null) log.info(derived);
  const dataDirectory = new DataDirectoryGuard({
    ...common,
    path: config.data_dir,
    server: ownServer,
    kept: keptSecrets(config.data_dir),
  });
  const parts = build(options, connections, { common, dataDirectory, ...ownSecrets });
  const url = await serve(options, parts, connections);
  run(options, parts, connections);
  log.info({ url, version, sources: Object.keys(config.sources) }, 'ready');
  return { url, reload: (loaded) => parts.reload.apply(loaded) };
}

interface Parts {
  common: Common;
  dataDirectory: DataDirectoryGuard;
  systemEvents: SystemEvents;
  learning: Learning;
  poller: Poller;
  discovery: Discovery;
  deliverer: Deliverer;
  unconfigured: Unconfigured;
  alerting: Alerting;
  tokens: Tokens;
  reload: Reload;
  services: Services;
  sealer: Sealer;
  /** Closes the connections of webhooks. */
  closeAgents: () => void;
  /** Sends the heartbeats. */
  get: WebhookAgents['get'];
}

function build(
  options: DaemonOptions,
  connections: RedisConnections,
  {
    common,
    dataDirectory,
    signingSecret,
    sealer,
  }: OwnSecrets & Pick<Parts, 'common' | 'dataDirectory'>,
): Parts {
  const { config, eventLog } = options;
  const guard = openPerWatchGuard(config, common);
  const agents = openAgents(guard, { ...options, names: common.names });
  const own = { signingSecret, sealer };
  const secrets = openSecrets(common, own);
  const routes = openRoutes(common, { ...own, agents, secrets, eventLog });
  const { routeOf } = routes;
  const systemEvents = openSystemEvents(common, (pools) => deliverer.dispatch(pools));
  const deliverer: Deliverer = createDeliverer({ ...common, routeOf, systemEvents, eventLog });
  common.watches.noticeBacklogs(createBacklogNotices({ ...common, systemEvents }));
  const learning = createLearning(common);
  const { dispatch } = deliverer;
  const polling = { systemEvents, statistics: learning, dispatch, signingSecret };
  const poller = createPoller({ ...common, ...polling });
  const discovery = createDiscovery(common);
  const startedAt = performance.now();
  const sourcesInDoubt = () =>
    findSourcesInDoubt({ discovery, poller, forMs: performance.now() - startedAt });
  const readSoon = async (source: string, runIds: readonly string[]) =>
    poller.scheduleOf(source)?.expedite(runIds);
  const alerting = createAlerting({ ...common, dispatch, sourcesInDoubt, readSoon });
  const unconfigured = createUnconfigured({ ...common, dispatch });
  const tokens = createTokens(config.auth.tokens);
  const retryEndpoint = (name: string) => services.endpoints.retry(name);
  const changing = { routes, poller, alerting, tokens, retryEndpoint, dispatch };
  const reload = openReload(options, { common, ...changing });
  const services = createServices({
    ...common,
    dataDirectory,
    alerting,
    unconfigured,
    reload,
    connections,
    eventLog,
    poller,
    discovery,
    deliverer,
    routeOf,
    secrets,
    guard,
    ...own,
  });
  nameFigures(common, { poller, services });
  return {
    common,
    dataDirectory,
    systemEvents,
    learning,
    poller,
    discovery,
    deliverer,
    unconfigured,
    alerting,
    tokens,
    reload,
    services,
    sealer,
    closeAgents: () => agents.close(),
    get: (...request) => agents.configured.get(...request),
  };
}

/** Judges the webhooks that come with watches. */
function openPerWatchGuard({ egress }: Config, { names }: Common): EgressGuard {
  return createEgressGuard({
    allow: egress.allow,
    requireHttps: egress.require_https,
    isProxied: egress.proxy !== undefined,
    resolve: names.ofReceiver,
  });
}

/** What a scrape of the metrics reads. */
function nameFigures(
  common: Common,
  { poller, services }: Pick<Parts, 'poller' | 'services'>,
): void {
  const { metrics, budgets } = common;
  metrics.ofSources(() => sourceFigures(poller.sources, budgets));
  metrics.ofEndpoints(() => endpointFigures(common));
  metrics.ofChecks(() => checkFigures(services.health));
}

/** What takes new settings, in the order in which it does so. */
function openReload(
  { config, log }: DaemonOptions,
  {
    common,
    routes,
    poller,
    alerting,
    tokens,
    retryEndpoint,
    dispatch,
  }: Pick<Parts, 'common' | 'poller' | 'alerting' | 'tokens'> & {
    routes: RouteTable;
    retryEndpoint: (name: string) => Promise<unknown>;
    dispatch: Deliverer['dispatch'];
  },
): Reload {
  const { endpoints, metrics, now } = common;
  const onError = faultLog(log, 'reload');
  const parts: Reloadable[] = [
    {
      settings: ['endpoints', 'delivery.per_endpoint'],
      prepare(next) {
        const replaceRoutes = routes.prepare(allEndpoints(next));
        return () => {
          endpoints.replace(next);
          // What waited for the receiver to be mended is tried at once: the cause may have been here.
          for (const name of replaceRoutes()) void retryEndpoint(name).catch(onError);
          // What waited for a slot, or for the pace, may have more room now.
          dispatch(endpoints.names);
        };
      },
    },
    {
      settings: ['sources.*.api_key', 'sources.*.rate_limit'],
      prepare: (next) => () => poller.reconfigure(next.sources),
    },
    {
      settings: ['rules', 'time_intervals', 'inhibit_rules'],
      prepare: (next) => () => {
        common.alertRules.replace(next);
        alerting.restart();
      },
    },
    {
      settings: ['workflows'],
      prepare: (next) => () => replaceEntries(config.workflows, next.workflows),
    },
    {
      settings: ['auth.tokens'],
      prepare(next) {
        refuseToOpen(tokens, next);
        return () => tokens.replace(next.auth.tokens);
      },
    },
    {
      settings: ['log.level'],
      prepare: (next) => () => void (log.level = next.log.level),
    },
  ];
  return createReload({
    config,
    parts,
    count: (isInForce) => metrics.reloaded(isInForce),
    changed: (inForce) => common.processes.reconfigured(sectionHashes(inForce)),
    now,
    log,
  });
}

function openRoutes(
  common: Common,
  parts: Pick<RoutesDependencies, 'agents' | 'sealer' | 'secrets' | 'eventLog' | 'signingSecret'>,
): RouteTable {
  return createRoutes({
    ...common,
    ...parts,
    workflowNameOf: ({ source, workflowId }) =>
      common.linksOf({
        source,
        runId: '',
        run: { id: '', workflow_id: workflowId, group_id: null },
      }).workflowName,
    ownerOf: (workflowId) => common.config.workflows[workflowId ?? '']?.owner ?? null,
    timeOfDay: common.clock.timeOfDay,
    perWatch: { timeoutMs: PER_WATCH_TIMEOUT_MS, retry: DEFAULT_RETRY_MS },
  });
}

function openSystemEvents(common: Common, dispatch: Deliverer['dispatch']): SystemEvents {
  return createSystemEvents({
    ...common,
    store: common.stores.events,
    entryOf: (event) => common.alertRules.entryOf(event),
    dispatch,
  });
}

function openSecrets(common: Common, { signingSecret, sealer }: OwnSecrets) {
  const { stores, endpoints, now } = common;
  return createEndpointSecrets({
    store: stores.endpointSecrets,
    sealer,
    endpoints,
    signingSecret,
    generate: generateSecret,
    now,
  });
}

/** Returns a function that says how many ms ago the process began to stop. */
function stopwatch(stopping: AbortSignal): () => number {
  let stoppingSince = Infinity;
  stopping.addEventListener('abort', () => (stoppingSince = performance.now()), { once: true });
  return () => Math.max(0, performance.now() - stoppingSince);
}

/** Connections of configured webhooks and of per-watch webhooks, each with its egress guard. */
function openAgents(
  perWatchGuard: EgressGuard,
  { config, log, names }: DaemonOptions & Pick<Common, 'names'>,
) {
  const { proxy } = config.egress;
  const resolve = names.ofReceiver;
  const configured = createWebhookAgents(createEndpointGuard({ resolve }), { proxy, names });
  const perWatch = createWebhookAgents(perWatchGuard, { proxy, names });
  if (proxy !== undefined) {
    const what =
      'webhooks go through a proxy, which resolves their names: the egress guard judges names and literal addresses, so limit at the proxy which addresses it may reach';
    log.info({ proxy: new URL(proxy).host }, what);
  }
  return {
    configured,
    perWatch,
    close() {
      configured.close();
      perWatch.close();
    },
  };
}

/** Listens before any worker starts: a port in use is found before any work is done. */
async function serve(
  { config, log, version, lifecycle }: DaemonOptions,
  { services, sealer, common, tokens, reload }: Parts,
  connections: RedisConnections,
): Promise<string> {
  const server = createServer({
    services,
    tokens,
    sealer,
    public: config.auth.public,
    version,
    publicUrl: config.server.public_url,
    configuration: () => redactConfig(reload.current()),
    log,
    metrics: common.metrics,
    isDraining: () => lifecycle.stopping.aborted,
    isStoreReady: () => connections.state().kind !== 'away',
  });
  lifecycle.onStop('http server', () => server.close());
  if (!tokens.areNeeded()) {
    log.warn('no token is configured: every user of this machine has all rights');
  }
  return listen(server, config.server);
}

function run(
  { config, lifecycle }: DaemonOptions,
  parts: Parts,
  connections: RedisConnections,
): void {
  const { common, systemEvents, learning, poller, deliverer, unconfigured } = parts;
  const { processes, tracing } = common;
  lifecycle.onStop('tracing', (withinMs) => tracing.stop(Math.min(FLUSH_MS, withinMs / 2)));
  // Before Redis is closed: it restores what the close would lose.
  parts.dataDirectory.start();
  lifecycle.onStop('data directory', () => parts.dataDirectory.stop());
  const janitor = startJanitor(common);
  lifecycle.onStop('janitor', () => janitor.stop());
  // Running work cannot end while Redis is away: other processes take it over.
  const mustForce = () => connections.state().kind !== 'ok';
  lifecycle.onStop('webhook connections', parts.closeAgents);
  // First to start and last to stop: only a process with a heartbeat claims work.
  processes.add(poller.work);
  processes.start();
  lifecycle.onStop('process', () => processes.stop(mustForce()));
  unconfigured.start();
  lifecycle.onStop('unconfigured', () => unconfigured.stop());
  learning.start();
  lifecycle.onStop('learning', () => learning.stop());
  deliverer.start();
  const elapsedMs = stopwatch(lifecycle.stopping);
  lifecycle.onStop('deliverer', () => {
    return deliverer.stop({ force: mustForce(), elapsedMs: elapsedMs() });
  });
  parts.alerting.start();
  lifecycle.onStop('alerting', () => parts.alerting.stop({ force: mustForce() }));
  poller.start();
  lifecycle.onStop('poller', (withinMs) => poller.stop({ force: mustForce(), withinMs }));
  const greeting = startPeriodic(() => poller.greet(), {
    everyMs: GREET_EVERY_MS,
    onError: faultLog(parts.common.log, 'greeting'),
  });
  lifecycle.onStop('greeting', () => greeting.stop());
  // After the workers: it may find that watches are missing from the schedule.
  common.storeGuard.start({
    systemEvents,
    dispatch: deliverer.dispatch,
    count: (reason) => common.metrics.dataLost(reason),
    renewed() {
      common.storeRepair.owe();
      poller.survey();
      common.eventBell.wakeAll();
    },
  });
  lifecycle.onStop('store guard', () => common.storeGuard.stop());
  common.storeRepair.start({
    compared: () => common.storeGuard.checkRecords(),
    repaired() {
      poller.survey();
      deliverer.compare();
    },
  });
  lifecycle.onStop('store repair', () => common.storeRepair.stop());
  common.storeConditions.start();
  lifecycle.onStop('store conditions', () => common.storeConditions.stop());
  keepBeating(config, lifecycle, parts);
  // Repairs what was lost or not done while Redis was away.
  connections.onUsable(() => {
    processes.tend();
    common.storeGuard.check();
    common.storeRepair.check();
    poller.survey();
    deliverer.sweep();
    deliverer.compare();
    parts.alerting.restart();
  });
}

function keepBeating(
  { heartbeat: settings }: Config,
  lifecycle: Lifecycle,
  { common, services, get }: Parts,
): void {
  if (settings === undefined) return;
  const { metrics, log } = common;
  const beating = startHeartbeat({
    settings,
    health: services.health,
    isDraining: () => lifecycle.stopping.aborted,
    get,
    count: (result) => metrics.heartbeat(result),
    log,
  });
  // A receiver that is slow must not hold up the stop.
  lifecycle.onStop('heartbeat', () => void beating.stop());
}

/** Without tokens the API is open to this machine, which a slip in a file must not bring about. */
function refuseToOpen(tokens: Tokens, next: Config): void {
  if (!tokens.areNeeded() || next.auth.tokens.length > 0) return;
  const message =
    'it has no token any more, which would give every user of this machine all rights; restart the daemon to run it without';
  throw new RunwatchError(message, { code: 'last_token' });
}
