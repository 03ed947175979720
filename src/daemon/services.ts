import type { Config } from '../config/schema.ts';
import { RunwatchError } from '../core/errors.ts';
import { watchId, type WatchKey } from '../core/watch.ts';
import type { EgressGuard } from '../deliver/egress-guard.ts';
import type { Sealer } from '../deliver/seal.ts';
import type {
  DeliveryService,
  EndpointService,
  EndpointView,
  Services,
  WatchResult,
  WatchService,
} from '../http/services.ts';
import { createEndWatch } from '../poll/end-watch.ts';
import { createRegisterWatches, type RegisterDependencies } from '../poll/register-watches.ts';
import { resolveRequest, resolveSource, type RequestRules } from '../poll/resolve-request.ts';
import type { JobQueue } from '../queue/job-queue.ts';
import type { RedisConnections } from '../redis/connection.ts';
import type { DeliveryStore, Ledger } from '../redis/delivery-store.ts';
import type { EventStore } from '../redis/event-store.ts';
import type { WatchStore } from '../redis/watch-store.ts';
import type { Deliverer } from './deliverer.ts';
import type { Endpoints } from './endpoints.ts';
import { createHealth } from './health.ts';
import type { Poller } from './poller.ts';

interface ServicesDependencies {
  config: Config;
  endpoints: Endpoints;
  watches: WatchStore;
  events: EventStore;
  deliveries: DeliveryStore;
  connections: RedisConnections;
  poller: Poller;
  deliverer: Deliverer;
  guard: EgressGuard;
  sealer: Sealer;
  now: () => number;
}

/** What the HTTP API serves from: use cases where something is done, stores where something is read. */
export function createServices(deps: ServicesDependencies): Services {
  const { config, endpoints, watches, events, deliveries, poller, deliverer } = deps;
  return {
    watches: createWatchService({
      watches,
      jobsOf: poller.jobsOf,
      dispatch: deliverer.dispatch,
      filterOf: endpoints.filterOf,
      defaults: {
        timeoutMs: config.watches.timeout,
        minIntervalMs: config.polling.min_interval,
        profile: config.polling.profile,
      },
      rules: requestRules(deps),
      now: deps.now,
    }),
    events: {
      list: ({ limit, order, ...filter }) => events.list(filter, { limit, order }),
      position: () => events.position(),
      follow: (filter, signal) => events.follow(filter, signal),
    },
    deliveries: createDeliveryService(deliveries),
    endpoints: createEndpointService(endpoints, deliveries),
    health: createHealth({ redis: deps.connections, poller, deliverer }),
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
    seal: sealer.canSeal ? (plain, context) => sealer.seal(plain, context) : null,
  };
}

interface WatchServiceDependencies extends Omit<RegisterDependencies, 'watches' | 'jobsOf'> {
  watches: WatchStore;
  rules: RequestRules;
  jobsOf: (source: string) => JobQueue | undefined;
}

function createWatchService(deps: WatchServiceDependencies): WatchService {
  const { watches, rules, jobsOf } = deps;
  const registerWatches = createRegisterWatches(deps);
  const endWatch = createEndWatch(deps);

  const keyOf = ({ source, runId }: { source?: string; runId: string }): WatchKey | null => {
    const resolved = resolveSource(rules.sources, source);
    return resolved === null ? null : { source: resolved, runId };
  };

  return {
    async register(requests) {
      const resolved = requests.map((request) => resolveRequest(request, rules));
      const good = resolved.flatMap((one) => ('registration' in one ? [one.registration] : []));
      const registered = (await registerWatches(good)).values();
      return resolved.map((one): WatchResult => {
        if ('issues' in one) return { kind: 'invalid', issues: one.issues };
        const { value } = registered.next();
        if (value === undefined)
          throw new RunwatchError('a result is missing', { code: 'internal' });
        return { kind: value.kind === 'merged' ? 'merged' : 'created', watch: value.watch };
      });
    },

    async get(named) {
      const key = keyOf(named);
      return key === null ? null : ((await watches.get(key))?.watch ?? null);
    },

    list: ({ limit, cursor, ...filter }) => watches.list(filter, { limit, cursor }),

    async unwatch(named) {
      const key = keyOf(named);
      return key === null ? false : endWatch(key);
    },

    async pollNow(named) {
      const key = keyOf(named);
      const stored = key === null ? null : await watches.get(key);
      if (key === null || stored === null) return 'not_found';
      if (stored.watch.state !== 'active') return 'not_active';
      await jobsOf(key.source)?.hasten(watchId(key));
      return 'scheduled';
    },
  };
}

function createDeliveryService(deliveries: DeliveryStore): DeliveryService {
  return {
    list: ({ limit, cursor, ...filter }) => deliveries.list(filter, { limit, cursor }),
    async get(id) {
      const stored = await deliveries.get(id);
      if (stored === null) return null;
      return { delivery: stored.delivery, attempts: await deliveries.attempts(id) };
    },
  };
}

function createEndpointService(endpoints: Endpoints, deliveries: DeliveryStore): EndpointService {
  return {
    async list() {
      const ledger = await deliveries.ledger();
      return endpoints.names.map((name) => viewOf(name, endpoints, ledger));
    },
  };
}

function viewOf(name: string, endpoints: Endpoints, ledger: Ledger): EndpointView {
  const endpoint = endpoints.all[name];
  return {
    name,
    type: endpoint?.type ?? 'log',
    url: endpoint?.type === 'webhook' ? publicUrl(endpoint.url) : null,
    events: endpoint?.events ?? null,
    default: endpoints.defaults.includes(name),
    counts: ledger.byEndpoint.get(name) ?? NO_COUNTS,
  };
}

const NO_COUNTS = { pending: 0, delivered: 0, dead: 0, parked: 0, skipped: 0, superseded: 0 };

/** Queries of webhook URLs often hold credentials. */
function publicUrl(text: string): string {
  const url = new URL(text);
  if (url.search !== '') url.search = '?…';
  return url.href;
}
