import type { Config } from '../config/schema.ts';
import type { EgressGuard } from '../deliver/egress-guard.ts';
import type { Sealer } from '../deliver/seal.ts';
import { deriveSecret } from '../deliver/sign.ts';
import type { Services } from '../http/services.ts';
import type { RequestRules } from '../poll/resolve-request.ts';
import type { RedisConnections } from '../redis/connection.ts';
import type { AnswerStore } from '../redis/stores/answer-store.ts';
import type { BudgetStore } from '../redis/stores/budget-store.ts';
import type { EventStore } from '../redis/stores/event-store.ts';
import type { ScheduleStore } from '../redis/stores/schedule-store.ts';
import type { StatisticsStore } from '../redis/stores/statistics-store.ts';
import type { WatchStore } from '../redis/stores/watch-store.ts';
import type { Deliverer } from './deliverer.ts';
import { createDeliveryService } from './delivery-service.ts';
import type { Discovery } from './discovery.ts';
import { createEndpointService, type EndpointServiceDependencies } from './endpoint-service.ts';
import { createHealth } from './health.ts';
import type { Poller } from './poller.ts';
import type { Unconfigured } from './unconfigured.ts';
import { createPollingService } from './polling-service.ts';
import { createRepeatService } from './repeat-service.ts';
import { registerDefaults } from './register-defaults.ts';
import type { Processes } from './processes.ts';
import { closedSource, createSourceService } from './source-service.ts';
import type { StoreGuard } from './store-guard.ts';
import type { WatchNotes } from './watch-notes.ts';
import { createWatchService } from './watch-service.ts';

interface ServicesDependencies extends EndpointServiceDependencies {
  config: Config;
  watches: WatchStore;
  events: EventStore;
  statistics: StatisticsStore;
  budgets: BudgetStore;
  requests: ScheduleStore;
  connections: RedisConnections;
  poller: Poller;
  unconfigured: Unconfigured;
  discovery: Discovery;
  deliverer: Deliverer;
  processes: Processes;
  storeGuard: StoreGuard;
  watchNotes: WatchNotes;
  guard: EgressGuard;
  sealer: Sealer;
  signingSecret: string;
  answers: AnswerStore;
}

/** What the HTTP API serves from: use cases where something is done, stores where something is read. */
export function createServices(deps: ServicesDependencies): Services {
  const { config, endpoints, watches, events, deliveries, poller, deliverer } = deps;
  return {
    watches: createWatchService({
      watches,
      scheduleOf: poller.scheduleOf,
      closedSource: (name) => closedSource(poller.sourceOf(name)),
      schedule: deps.requests,
      dispatch: deliverer.dispatch,
      wants: endpoints.wants,
      defaults: registerDefaults(config),
      rules: requestRules(deps),
      notes: deps.watchNotes,
      deriveSecret: (url) => deriveSecret(deps.signingSecret, url),
      now: deps.now,
    }),
    events: {
      list: ({ limit, order, ...filter }) => events.list(filter, { limit, order }),
      position: () => events.position(),
      follow: (filter, signal) => events.follow(filter, signal),
    },
    deliveries: createDeliveryService(deliveries, deliverer),
    endpoints: createEndpointService(deps),
    polling: createPollingService(deps),
    repeats: createRepeatService(deps.answers, deps.sealer),
    processes: deps.processes,
    sources: createSourceService(deps),
    health: createHealth({ ...deps, redis: deps.connections }),
  };
}

function requestRules({ config, endpoints, guard, sealer }: ServicesDependencies): RequestRules {
  return {
    sources: Object.keys(config.sources),
    endpoints: endpoints.names,
    defaultEndpoints: endpoints.defaults,
    forbids(url) {
      const verdict = guard.check(new URL(url));
      return verdict.allowed ? null : verdict.message;
    },
    seal: (plain, context) => sealer.seal(plain, context),
  };
}
