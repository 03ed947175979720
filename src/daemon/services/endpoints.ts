import type { EndpointConfig } from '../../config/schema.ts';
import { noDeliveries } from '../../core/delivery/delivery.ts';
import {
  longPause,
  pause,
  resume,
  type EndpointState,
  type StoredEndpoint,
} from '../../core/delivery/endpoint-state.ts';
import {
  isWebhook,
  maskedUrl,
  poolOf,
  shownReceiver,
  type Receiver,
  PER_WATCH,
} from '../../core/delivery/receiver.ts';
import { RunwatchError } from '../../core/errors.ts';
import { DEFAULT_EVENTS, isoTime, SYSTEM_EVENT_TYPES } from '../../core/event/event.ts';
import type { NewMark } from '../../core/event/ids.ts';
import { changeEndpoint, retryEndpoint, testEndpoint } from '../../deliver/endpoint-control.ts';
import type { EndpointSecrets } from '../../deliver/secrets/endpoint-secrets.ts';
import type { EndpointService, EndpointView, EndpointHealth } from '../../http/routes/endpoints.ts';
import type { DeliveryStore, DeliveryCounts } from '../../redis/stores/delivery-store.ts';
import type { EndpointStore } from '../../redis/stores/endpoint-store.ts';
import type { OutboxStore } from '../../redis/stores/outbox-store.ts';
import type { EndpointFigures } from '../../telemetry/gauges.ts';
import type { Deliverer } from '../deliverer.ts';
import { smtpServer, type Routes } from '../delivery-routes.ts';
import type { Endpoints } from '../endpoints.ts';
import type { Unconfigured } from '../unconfigured.ts';

interface EndpointServiceDependencies {
  endpoints: Endpoints;
  deliveries: DeliveryStore;
  endpointStates: EndpointStore;
  outbox: OutboxStore;
  deliverer: Pick<Deliverer, 'dispatch'>;
  routeOf: Routes;
  secrets: Pick<EndpointSecrets, 'derived' | 'rotate'>;
  newMark: NewMark;
  unconfigured: Pick<Unconfigured, 'find'>;
  now: () => number;
}

/** The most failing per-watch webhooks in the list. */
const MOST_UNWELL = 200;

/** The most of them that a name is searched in: as many as are kept. */
const SEARCHED_UNWELL = 10_000;

const SECRET_OF_WATCH =
  'the webhook of a watch has no secret to rotate: it signs with the one that its registration gave or answered';

export function createEndpointService(deps: EndpointServiceDependencies): EndpointService {
  const { endpoints, deliveries, endpointStates, routeOf, newMark, now } = deps;
  const find = receiverFinder(endpoints, endpointStates);
  const controlOf = (receiver: Receiver) => {
    const limits = endpoints.limitsOf(poolOf(receiver));
    return { endpoints: endpointStates, limits, now: now() };
  };
  const countsOf = async (receiver: Receiver, { byEndpoint }: DeliveryCounts) =>
    isWebhook(receiver)
      ? deliveries.countsAt(receiver)
      : (byEndpoint.get(receiver) ?? noDeliveries());
  const change = async (name: string, by: (state: EndpointState) => EndpointState) => {
    const receiver = await find(name);
    if (receiver === null) return null;
    const state = await changeEndpoint(controlOf(receiver), receiver, by);
    const counts = await countsOf(receiver, await deliveries.counts());
    return viewOf(deps, { receiver, state }, { counts });
  };
  return {
    async list(sources) {
      if (sources !== undefined) return listWithin(sources, deps);
      const [counts, configured, unwell] = await Promise.all([
        deliveries.counts(),
        endpointStates.getMany(endpoints.names),
        endpointStates.unwell(MOST_UNWELL),
      ]);
      const known = [...configured, ...(await removed(deps)), ...unwell];
      return Promise.all(
        known.map(async (stored) =>
          viewOf(deps, stored, { counts: await countsOf(stored.receiver, counts) }),
        ),
      );
    },
    async test(name) {
      const receiver = await find(name);
      if (receiver === null) return null;
      const route = await routeOf(await someDelivery(deliveries, receiver));
      const type = endpoints.all[receiver]?.type;
      const isForPeople = type !== undefined && type !== 'webhook' && type !== 'log';
      const test = { endpoint: name, isForPeople, now: now(), newMark };
      return route && testEndpoint(route, test);
    },
    pause: (name) => change(name, pause),
    resume: (name) => change(name, resume),
    async retry(name) {
      const receiver = await find(name);
      if (receiver === null) return null;
      const count = await retryEndpoint({ ...controlOf(receiver), outbox: deps.outbox }, receiver);
      deps.deliverer.dispatch([poolOf(receiver)]);
      return count;
    },
    async secret(name) {
      const receiver = await find(name);
      if (receiver === null) return null;
      if (isWebhook(receiver)) throw new RunwatchError(SECRET_OF_WATCH, { code: 'not_signed' });
      return deps.secrets.derived(receiver);
    },
    async rotate(name, options) {
      const receiver = await find(name);
      if (receiver === null) return null;
      if (isWebhook(receiver)) throw new RunwatchError(SECRET_OF_WATCH, { code: 'not_signed' });
      return deps.secrets.rotate(receiver, options);
    },
  };
}

/** Configured endpoints, with the deliveries of some sources. */
async function listWithin(
  sources: readonly string[],
  deps: EndpointServiceDependencies,
): Promise<EndpointView[]> {
  const { endpoints, endpointStates, deliveries } = deps;
  const configured = await endpointStates.getMany(endpoints.names);
  return Promise.all(
    configured.map(async (stored) => {
      const counts = await deliveries.countsWithin(sources, shownReceiver(stored.receiver));
      return viewOf(deps, stored, { counts, sources });
    }),
  );
}

/** Endpoints that are no longer configured and still have waiting deliveries. */
async function removed({
  endpointStates,
  unconfigured,
}: EndpointServiceDependencies): Promise<StoredEndpoint[]> {
  const { endpoints: remnants } = await unconfigured.find();
  return endpointStates.getMany(remnants.map(({ name }) => name));
}

/**
 * Finds the receiver of a name: a configured endpoint, or a failing per-watch webhook.
 * The function throws RunwatchError `ambiguous_endpoint` when two webhooks share the masked form.
 */
function receiverFinder(endpoints: Endpoints, states: EndpointStore) {
  return async function find(name: string): Promise<Receiver | null> {
    if (endpoints.names.includes(name)) return name;
    const unwell = await states.unwell(SEARCHED_UNWELL);
    const found = unwell.filter(({ receiver }) => shownReceiver(receiver) === name);
    if (found.length > 1) {
      const message = `${found.length} webhooks are shown as ${name}`;
      throw new RunwatchError(message, { code: 'ambiguous_endpoint' });
    }
    return found[0]?.receiver ?? null;
  };
}

/** A delivery that leads to the route of a receiver: the URL of a webhook is stored with its watch. */
async function someDelivery(deliveries: DeliveryStore, receiver: Receiver) {
  const none = { endpoint: receiver, source: '', runId: '' };
  if (!isWebhook(receiver)) return none;
  const { items } = await deliveries.list({ endpoint: shownReceiver(receiver) }, { limit: 20 });
  return items.find(({ endpoint }) => endpoint === receiver) ?? none;
}

async function viewOf(
  { endpoints, deliveries }: Pick<EndpointServiceDependencies, 'endpoints' | 'deliveries'>,
  { receiver, state }: Pick<StoredEndpoint, 'receiver' | 'state'>,
  { counts, sources }: { counts: EndpointView['counts']; sources?: readonly string[] },
): Promise<EndpointView> {
  const name = shownReceiver(receiver);
  const isWaitedFor = counts.pending + counts.parked > 0;
  return {
    name,
    ...kindOf(receiver, endpoints),
    default: endpoints.defaults.includes(receiver),
    counts,
    oldestPendingAt: isWaitedFor ? await deliveries.oldestWaiting(name, sources) : null,
    health: healthViewOf(state),
  };
}

/** How an endpoint does, as users see it. */
export function healthViewOf(state: EndpointState): EndpointHealth {
  return {
    state: healthOf(state),
    reason: state.disabled?.reason ?? null,
    failingSince: state.failingSince,
    nextProbeAt: state.probeAt,
    throttledUntil: state.throttledUntil,
  };
}

function kindOf(
  receiver: Receiver,
  endpoints: Endpoints,
): Pick<EndpointView, 'type' | 'url' | 'events'> {
  if (isWebhook(receiver)) return { type: 'webhook', url: shownReceiver(receiver), events: [] };
  const endpoint = endpoints.all[receiver];
  if (endpoint === undefined) return { type: 'unconfigured', url: null, events: [] };
  const events = endpoint.events ?? [
    ...DEFAULT_EVENTS,
    ...SYSTEM_EVENT_TYPES.filter((type) => endpoints.wantingSystemEvent(type).includes(receiver)),
  ];
  return { type: endpoint.type, url: publicUrl(endpoint), events };
}

/** Queries of webhook URLs often hold credentials; those of chat services are credentials. */
function publicUrl(endpoint: EndpointConfig): string | null {
  switch (endpoint.type) {
    case 'webhook': {
      const url = new URL(endpoint.url);
      if (url.search !== '') url.search = '?…';
      return url.href;
    }
    case 'slack':
      return endpoint.url === undefined ? endpoint.api_url : maskedUrl(endpoint.url);
    case 'teams':
    case 'discord':
      return maskedUrl(endpoint.url);
    case 'pagerduty':
      return endpoint.api_url;
    case 'email':
      return `smtp://${smtpServer(endpoint).host}`;
    case 'log':
      return null;
  }
}

interface EndpointFiguresDependencies {
  endpoints: Endpoints;
  endpointStates: Pick<EndpointStore, 'getMany'>;
  deliveries: Pick<DeliveryStore, 'counts' | 'oldestWaiting'>;
  now: () => number;
}

export function healthOf({ disabled, paused, breaker }: EndpointState): EndpointHealth['state'] {
  if (disabled !== null) return 'disabled';
  if (paused) return 'paused';
  return breaker === 'open' ? 'failing' : 'active';
}

/** Figures of the configured endpoints, and of others with waiting deliveries, for metrics. */
export async function endpointFigures(
  deps: EndpointFiguresDependencies,
): Promise<EndpointFigures[]> {
  const { endpoints, endpointStates, deliveries, now } = deps;
  const [{ byEndpoint }, states] = await Promise.all([
    deliveries.counts(),
    endpointStates.getMany(endpoints.names),
  ]);
  const waitingAt = (name: string) => {
    const counts = byEndpoint.get(name);
    return counts === undefined ? 0 : counts.pending + counts.parked;
  };
  const known = new Set([...endpoints.names, PER_WATCH]);
  const others = [...byEndpoint.keys()].filter((name) => !known.has(name) && waitingAt(name) > 0);
  return Promise.all(
    [...known, ...others].map(async (name, at): Promise<EndpointFigures> => {
      const state = states[at]?.state;
      const backlog = waitingAt(name);
      const createdAt = backlog > 0 ? await deliveries.oldestWaiting(name) : null;
      const oldestMs = createdAt === null ? null : Math.max(0, now() - createdAt);
      return {
        name,
        isUp: state === undefined ? null : healthOf(state) === 'active',
        backlog,
        oldestMs: backlog > 0 ? oldestMs : 0,
      };
    }),
  );
}

/** What keeps deliveries from configured endpoints, other than a user's pause: a text for each. */
export async function endpointTroubles({
  endpoints,
  endpointStates,
  now,
}: Pick<EndpointFiguresDependencies, 'endpoints' | 'endpointStates' | 'now'>): Promise<string[]> {
  const states = await endpointStates.getMany(endpoints.names);
  return states.flatMap(({ receiver, state }) => {
    const health = healthOf(state);
    if (health === 'failing' || health === 'disabled') return `${receiver} is ${health}`;
    const asked = longPause(state, now());
    return asked === null ? [] : pauseText(receiver, asked.until);
  });
}

/** Says until when an endpoint, as shown, asked for no requests. */
export function pauseText(endpoint: string, until: number): string {
  return `${endpoint} asked for a pause until ${isoTime(until)}`;
}
