import { hasSecretUrl } from '../config/endpoint.ts';
import type { WebhookEndpointConfig } from '../config/schema.ts';
import { noDeliveries } from '../core/delivery.ts';
import type { NewMark } from '../core/event-id.ts';
import { maskedUrl } from '../core/delivery/receiver.ts';
import { enable, pause, resume, type Gate } from '../core/gate.ts';
import { testEndpoint, turnGate } from '../deliver/endpoint-control.ts';
import type { EndpointSecrets } from '../deliver/endpoint-secrets.ts';
import type { EndpointService, EndpointView } from '../http/services.ts';
import type { DeliveryStore, Ledger } from '../redis/delivery-store.ts';
import type { GateStore } from '../redis/gate-store.ts';
import type { Endpoints } from './endpoints.ts';
import type { Routes } from './routes.ts';
import type { Unconfigured } from './unconfigured.ts';

export interface EndpointServiceDependencies {
  endpoints: Endpoints;
  deliveries: DeliveryStore;
  gates: GateStore;
  routeOf: Routes;
  secrets: Pick<EndpointSecrets, 'rotate'>;
  newMark: NewMark;
  unconfigured: Pick<Unconfigured, 'find'>;
  now: () => number;
}

export function createEndpointService(deps: EndpointServiceDependencies): EndpointService {
  const { endpoints, deliveries, gates, routeOf, secrets, newMark, now } = deps;
  const turn = async (name: string, by: (gate: Gate) => Gate) => {
    if (!endpoints.names.includes(name)) return false;
    await turnGate(gates, name, by, now());
    return true;
  };
  return {
    async list() {
      const [ledger, stored] = await Promise.all([
        deliveries.ledger(),
        gates.getMany(endpoints.names),
      ]);
      const views = stored.map(({ name, gate }) => viewOf(name, gate, endpoints, ledger));
      return [...views, ...(await removed(deps, ledger))];
    },
    async test(name) {
      const route = endpoints.names.includes(name)
        ? await routeOf({ endpoint: name, source: '', runId: '' })
        : null;
      return route && testEndpoint(route, { endpoint: name, now: now(), newMark });
    },
    pause: (name) => turn(name, pause),
    resume: (name) => turn(name, resume),
    enable: (name) => turn(name, enable),
    rotate: (name, options) => secrets.rotate(name, options),
  };
}

/** Endpoints that are configured no more, and that deliveries still wait for. */
async function removed(
  { gates, unconfigured, endpoints }: EndpointServiceDependencies,
  ledger: Ledger,
): Promise<EndpointView[]> {
  const { endpoints: remnants } = await unconfigured.find();
  const stored = await gates.getMany(remnants.map(({ name }) => name));
  return stored.map(({ name, gate }) => viewOf(name, gate, endpoints, ledger));
}

function viewOf(name: string, gate: Gate, endpoints: Endpoints, ledger: Ledger): EndpointView {
  const endpoint = endpoints.all[name];
  return {
    name,
    type: endpoint?.type ?? 'unconfigured',
    url: endpoint?.type === 'webhook' ? publicUrl(endpoint) : null,
    events: endpoint === undefined ? [] : (endpoint.events ?? null),
    default: endpoints.defaults.includes(name),
    counts: ledger.byEndpoint.get(name) ?? noDeliveries(),
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

/** Queries of webhook URLs often hold credentials. */
function publicUrl(endpoint: WebhookEndpointConfig): string {
  if (hasSecretUrl(endpoint)) return maskedUrl(endpoint.url);
  const url = new URL(endpoint.url);
  if (url.search !== '') url.search = '?…';
  return url.href;
}
