import type { Config } from '../config/schema.ts';
import { RunwatchError } from '../core/errors.ts';
import { enable, pause, resume, type Gate } from '../core/gate.ts';
import { watchId, type WatchKey } from '../core/watch.ts';
import { testEndpoint, turnGate } from '../deliver/endpoint-control.ts';
import type { EndpointSecrets } from '../deliver/endpoint-secrets.ts';
import type { Redeliver } from '../deliver/redeliver.ts';
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
import type { GateStore } from '../redis/gate-store.ts';
import type { WatchStore } from '../redis/watch-store.ts';
import type { Deliverer } from './deliverer.ts';
import type { Endpoints } from './endpoints.ts';
import { createHealth } from './health.ts';
import type { Poller } from './poller.ts';
import type { Routes } from './routes.ts';

interface ServicesDependencies {
  config: Config;
  endpoints: Endpoints;
  watches: WatchStore;
  events: EventStore;
  deliveries: DeliveryStore;
  gates: GateStore;
  routeOf: Routes;
  secrets: Pick<EndpointSecrets, 'rotate'>;
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
      wants: endpoints.wants,
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
    deliveries: createDeliveryService(deliveries, deliverer.redeliver),
    endpoints: createEndpointService(deps),
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

function createDeliveryService(deliveries: DeliveryStore, redeliver: Redeliver): DeliveryService {
  return {
    list: ({ limit, cursor, ...filter }) => deliveries.list(filter, { limit, cursor }),
    async get(id) {
      const stored = await deliveries.get(id);
      if (stored === null) return null;
      return { delivery: stored.delivery, attempts: await deliveries.attempts(id) };
    },
    redeliver: async (id) => ((await redeliver.one(id)) ? 'scheduled' : 'not_found'),
    async redeliverMany(range) {
      let count = 0;
      for (const state of range.state === undefined ? AGAIN_BY_DEFAULT : [range.state]) {
        for await (const ids of deliveries.created({ ...range, state }, AGAIN_CHUNK)) {
          count += await redeliver.many(ids);
        }
      }
      return count;
    },
  };
}

/** What goes out again where no state is named: whatever came to its end without being told. */
const AGAIN_BY_DEFAULT = ['dead', 'skipped'] as const;

const AGAIN_CHUNK = 200;

function createEndpointService(deps: ServicesDependencies): EndpointService {
  const { endpoints, deliveries, gates, routeOf, secrets, now } = deps;
  const turn = async (name: string, by: (gate: Gate) => Gate) => {
    if (!endpoints.names.includes(name)) return false;
    await turnGate(gates, name, by);
    return true;
  };
  return {
    async list() {
      const [ledger, stored] = await Promise.all([
        deliveries.ledger(),
        gates.getMany(endpoints.names),
      ]);
      return stored.map(({ name, gate }) => viewOf(name, gate, endpoints, ledger));
    },
    async test(name) {
      const route = endpoints.names.includes(name)
        ? await routeOf({ endpoint: name, source: '', runId: '' })
        : null;
      return route && testEndpoint(route, { endpoint: name, now: now() });
    },
    pause: (name) => turn(name, pause),
    resume: (name) => turn(name, resume),
    enable: (name) => turn(name, enable),
    rotate: (name, overlapMs) => secrets.rotate(name, overlapMs),
  };
}

function viewOf(name: string, gate: Gate, endpoints: Endpoints, ledger: Ledger): EndpointView {
  const endpoint = endpoints.all[name];
  return {
    name,
    type: endpoint?.type ?? 'log',
    url: endpoint?.type === 'webhook' ? publicUrl(endpoint.url) : null,
    events: endpoint?.events ?? null,
    default: endpoints.defaults.includes(name),
    counts: ledger.byEndpoint.get(name) ?? NO_COUNTS,
    health: {
      state: healthOf(gate),
      reason: gate.disabled?.reason ?? null,
      failingSince: gate.failingSince,
      nextProbeAt: gate.probeAt,
      throttledUntil: gate.throttledUntil,
    },
  };
}

function healthOf({ disabled, paused, breaker }: Gate): EndpointView['health']['state'] {
  if (disabled !== null) return 'disabled';
  if (paused) return 'paused';
  return breaker === 'open' ? 'failing' : 'active';
}

const NO_COUNTS = { pending: 0, delivered: 0, dead: 0, parked: 0, skipped: 0, superseded: 0 };

/** Queries of webhook URLs often hold credentials. */
function publicUrl(text: string): string {
  const url = new URL(text);
  if (url.search !== '') url.search = '?…';
  return url.href;
}
