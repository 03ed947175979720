import { RunwatchError } from '../../core/errors.ts';
import { withMoments } from '../../core/time.ts';
import type { WatchKey } from '../../core/watch/watch.ts';
import type { EgressGuard } from '../../deliver/egress/egress-guard.ts';
import { deriveWebhookSecret } from '../../deliver/secrets/sign.ts';
import { skipOutstanding } from '../../deliver/skip-outstanding.ts';
import type { DeliveryService } from '../../http/routes/deliveries.ts';
import type { StoreService } from '../../http/routes/system.ts';
import type { Services } from '../../http/services.ts';
import { purgeWatch } from '../../watches/purge.ts';
import type { RequestRules } from '../../watches/register.ts';
import { serverTraits } from '../../redis/server-check.ts';
import type { Alerting } from '../../alert/alerting.ts';
import type { Daemon } from '../../daemon.ts';
import { bagOf, type Bag } from '../bag.ts';
import type { DataDirectoryGuard } from '../data-directory-guard.ts';
import type { Deliverer } from '../../deliver/deliverer.ts';
import type { Poller } from '../../source/poller.ts';
import type { Reload } from '../reload.ts';
import type { Discovery } from '../../source/discovery.ts';
import type { Unconfigured } from '../../watches/unconfigured.ts';
import { createAlertServices } from './alerts.ts';
import { createAttentionService } from './attention.ts';
import { createEndpointService } from './endpoints.ts';
import { createHealth } from './health.ts';
import { createRepeatService } from './idempotency.ts';
import { closedSource, createSourceService } from './sources.ts';
import { createWatchService } from './watches.ts';
import { createWebhookService } from './webhooks.ts';
import { createPollingService, createWorkflowService } from './workflows.ts';

interface ServicesDependencies extends Bag {
  dataDirectory: DataDirectoryGuard;
  poller: Poller;
  unconfigured: Unconfigured;
  reload: Reload;
  discovery: Discovery;
  deliverer: Deliverer;
  alerting: Alerting;
  guard: EgressGuard;
}

/** The services behind the HTTP API: use cases for changes, stores for reads. */
export function createServices(daemon: Daemon): Services {
  const { poller, deliverer, alerting, unconfigured, reload, dataDirectory } = daemon;
  const deps: ServicesDependencies = bagOf(daemon, {
    dataDirectory,
    alerting,
    unconfigured,
    reload,
    poller,
    discovery: poller.discovery,
    deliverer,
    guard: deliverer.egressGuard,
  });
  const { config, watches, events } = deps;
  return {
    watches: createWatchService({
      watches,
      poller,
      closedSource: (name) => closedSource(poller.sourceOf(name)),
      schedule: deps.requests,
      timelines: deps.timelines,
      purgeWatch: purger(daemon),
      rules: requestRules(deps),
      refuseIfLost: () => deps.dataDirectory.refuseIfLost(),
      notes: deps.watchNotes,
      linksOf: deps.linksOf,
      get workflows() {
        return Object.keys(config.workflows);
      },
      statistics: deps.statistics,
      deriveSecret: (webhook) => deriveWebhookSecret(deps.signingSecret, webhook),
      now: deps.now,
    }),
    events: {
      list({ limit, order, ...filter }) {
        return events.list(withMoments(filter, deps.now()), { limit, order });
      },
      position: () => events.position(),
      follow: (filter, signal) => events.follow(filter, signal),
    },
    deliveries: createDeliveryService(deps),
    ...createAlertServices(alerting),
    endpoints: createEndpointService(deliverer, unconfigured),
    webhooks: createWebhookService({ ...deps, process: daemon, notes: deps.watchNotes }),
    polling: createPollingService(deps),
    workflows: createWorkflowService(deps),
    lookup: deps.lookup,
    storage: createStoreService(deps),
    repeats: createRepeatService(deps.answers, deps.sealer),
    endedSessions: deps.endedSessions,
    processes: deps.processes,
    sources: createSourceService(deps),
    attention: createAttentionService(deps),
    health: createHealth({ ...deps, redis: deps.connections }),
  };
}

function purger(daemon: Daemon) {
  const { alerting, log, stores } = daemon;
  const { watches } = stores;
  const steps = {
    skipOutstanding: (key: WatchKey) => skipOutstanding(daemon, key),
    async leaveAlerts(key: WatchKey) {
      const stored = await watches.get(key);
      if (stored === null) return;
      try {
        await alerting.engine.leave(stored.watch);
      } catch (error) {
        // A purge makes room in a Redis that is full, which takes nothing more.
        if (!(error instanceof RunwatchError && error.code === 'redis_refuses')) throw error;
        log.warn({ run_id: key.runId, source: key.source, err: error }, 'alerts.purged_run_kept');
      }
    },
  };
  return (key: WatchKey) => purgeWatch(daemon, key, steps);
}

function requestRules({ config, endpoints, guard, sealer }: ServicesDependencies): RequestRules {
  return {
    sources: Object.keys(config.sources),
    get endpoints() {
      return endpoints.names;
    },
    get defaultEndpoints() {
      return endpoints.defaults;
    },
    forbids(url) {
      const verdict = guard.check(new URL(url));
      return verdict.allowed ? null : verdict.message;
    },
    seal: (plain, context) => sealer.seal(plain, context),
  };
}

function createStoreService({ connections, memory }: ServicesDependencies): StoreService {
  return {
    async describe() {
      const [server, figures] = await Promise.all([
        serverTraits(connections.commands),
        memory.figures(),
      ]);
      return { server, memory: figures };
    },
  };
}

function createDeliveryService({
  deliveries,
  outbox,
  deliverer,
  now,
}: ServicesDependencies): DeliveryService {
  return {
    list({ limit, cursor, ...filter }) {
      return deliveries.list(withMoments(filter, now()), { limit, cursor });
    },
    async get(id) {
      const stored = await deliveries.get(id);
      if (stored === null) return null;
      return { delivery: stored.delivery, attempts: await deliveries.attempts(id) };
    },
    async headersOf(delivery) {
      const shown = (await deliverer.routes.routeOf(delivery).catch(unusable))?.channel
        .shownHeaders;
      return shown === undefined ? null : (atMs) => shown(delivery.eventId, atMs);
    },
    redeliver: (id, to) => deliverer.replay.one(id, to),
    async redeliverMany({ to, ...range }) {
      let count = 0;
      const byDefault = to === undefined ? AGAIN_BY_DEFAULT : ELSEWHERE_BY_DEFAULT;
      const filter = { state: byDefault, ...withMoments(range, now()) };
      for await (const found of deliveries.created(filter, AGAIN_CHUNK)) {
        await outbox.requestReplays(found, to);
        count += found.length;
      }
      deliverer.replayRanges();
      return count;
    },
  };
}

/** Without the secrets of an endpoint there are no headers to show. */
function unusable(error: unknown): null {
  if (error instanceof RunwatchError && !error.retriable) return null;
  throw error;
}

/** States to redeliver if none is named: settled without a delivery. */
const AGAIN_BY_DEFAULT = ['dead', 'skipped'] as const;

/** States to send to another endpoint if none is named: waiting deliveries too. */
const ELSEWHERE_BY_DEFAULT = ['pending', 'parked', ...AGAIN_BY_DEFAULT] as const;

const AGAIN_CHUNK = 200;
