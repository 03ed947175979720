import type { EndpointConfig } from '../../config/schema.ts';
import { groupBy, sum } from '../../core/arrays.ts';
import { noDeliveries } from '../../core/delivery/delivery.ts';
import {
  longPause,
  NEW_STATE,
  pause,
  resume,
  type EndpointState,
  type StoredEndpoint,
} from '../../core/delivery/endpoint-state.ts';
import {
  isWebhook,
  maskedUrl,
  poolOf,
  receiverAt,
  shownReceiver,
  urlOf,
  type Receiver,
  PER_WATCH,
} from '../../core/delivery/receiver.ts';
import { RunwatchError } from '../../core/errors.ts';
import { DEFAULT_EVENTS, isoTime, SYSTEM_EVENT_TYPES } from '../../core/event/event.ts';
import { changeEndpoint, retryEndpoint, testEndpoint } from '../../deliver/endpoint-control.ts';
import type { EndpointService, EndpointView, EndpointHealth } from '../../http/routes/endpoints.ts';
import type { DeliveryStore, DeliveryCounts } from '../../redis/stores/delivery-store.ts';
import type { EndpointStore } from '../../redis/stores/endpoint-store.ts';
import type { EndpointFigures } from '../../telemetry/gauges.ts';
import type { Deliverer } from '../../deliver/deliverer.ts';
import { smtpServer } from '../../deliver/channels/email.ts';
import type { Process } from '../../process.ts';
import type { Endpoints } from '../../deliver/endpoints.ts';
import type { Unconfigured } from '../../watches/unconfigured.ts';

/** The most failing per-watch webhooks in the list. */
const MOST_UNWELL = 200;

/** The most of them that a name is searched in: as many as are kept. */
const SEARCHED_UNWELL = 10_000;

const SECRET_OF_WATCH =
  'the webhook of a watch has no secret to rotate: it signs with the one that its registration gave or answered';

export function createEndpointService(
  deliverer: Deliverer,
  unconfigured: Pick<Unconfigured, 'find'>,
): EndpointService {
  const { process, routes, secrets } = deliverer;
  const { endpoints, newMark, now } = process;
  const { deliveries, endpointStates } = process.stores;
  const find = (name: string) => findReceivers(process, name);
  const countsOf = async ({ name, receivers }: Shown, { byEndpoint }: DeliveryCounts) =>
    receivers.some(isWebhook)
      ? deliveries.countsAt(receivers)
      : (byEndpoint.get(name) ?? noDeliveries());
  const change = async (name: string, by: (state: EndpointState) => EndpointState) => {
    const receivers = await find(name);
    const changed = await Promise.all(
      receivers.map(async (receiver) => ({
        receiver,
        state: await changeEndpoint(process, receiver, by),
      })),
    );
    const [shown] = shownAlike(changed);
    if (shown === undefined) return null;
    return viewOf(process, shown, { counts: await countsOf(shown, await deliveries.counts()) });
  };
  return {
    async list(sources) {
      if (sources !== undefined) return listWithin(process, sources);
      const [counts, configured, unwell] = await Promise.all([
        deliveries.counts(),
        endpointStates.getMany(endpoints.names),
        endpointStates.unwell(MOST_UNWELL),
      ]);
      // Endpoints that are no longer configured and still have waiting deliveries.
      const { endpoints: remnants } = await unconfigured.find();
      const removed = await endpointStates.getMany(remnants.map(({ name }) => name));
      const known = [...configured, ...removed, ...unwell];
      return Promise.all(
        shownAlike(known).map(async (shown) =>
          viewOf(process, shown, { counts: await countsOf(shown, counts) }),
        ),
      );
    },
    async test(name) {
      const receivers = await find(name);
      if (receivers.length === 0) return null;
      const route = await routes.routeOf(await someDelivery(deliveries, receivers));
      const type = endpoints.all[name]?.type;
      const isForPeople = type !== undefined && type !== 'webhook' && type !== 'log';
      const test = { endpoint: name, isForPeople, now: now(), newMark };
      return route && testEndpoint(route, test);
    },
    pause: (name) => change(name, pause),
    resume: (name) => change(name, resume),
    async retry(name) {
      const receivers = await find(name);
      const counts = await Promise.all(
        receivers.map((receiver) => retryEndpoint(process, receiver)),
      );
      deliverer.dispatch([...new Set(receivers.map(poolOf))]);
      return receivers.length === 0 ? null : sum(counts);
    },
    async secret(name) {
      const [receiver] = await find(name);
      if (receiver === undefined) return null;
      if (isWebhook(receiver)) throw new RunwatchError(SECRET_OF_WATCH, { code: 'not_signed' });
      return secrets.derived(receiver);
    },
    async rotate(name, options) {
      const [receiver] = await find(name);
      if (receiver === undefined) return null;
      if (isWebhook(receiver)) throw new RunwatchError(SECRET_OF_WATCH, { code: 'not_signed' });
      return secrets.rotate(receiver, options);
    },
  };
}

/** Configured endpoints, with the deliveries of some sources. */
async function listWithin(process: Process, sources: readonly string[]): Promise<EndpointView[]> {
  const { endpoints } = process;
  const { deliveries, endpointStates } = process.stores;
  const configured = await endpointStates.getMany(endpoints.names);
  return Promise.all(
    shownAlike(configured).map(async (shown) => {
      const counts = await deliveries.countsWithin(sources, shown.name);
      return viewOf(process, shown, { counts, sources });
    }),
  );
}

/**
 * Finds the receivers of a name: a configured endpoint, or those of all sources at the URL of a per-watch
 * webhook that is not well for one of them.
 * Throws RunwatchError `ambiguous_endpoint` when two URLs share the masked form.
 */
async function findReceivers(
  { config, endpoints, stores }: Process,
  name: string,
): Promise<Receiver[]> {
  if (endpoints.names.includes(name)) return [name];
  const unwell = await stores.endpointStates.unwell(SEARCHED_UNWELL);
  const found = unwell.flatMap(({ receiver }) =>
    shownReceiver(receiver) === name ? [receiver] : [],
  );
  const [url, ...others] = new Set(found.map(urlOf));
  if (others.length > 0) {
    const message = `${1 + others.length} webhooks are shown as ${name}`;
    throw new RunwatchError(message, { code: 'ambiguous_endpoint' });
  }
  if (url === undefined) return [];
  const sources = Object.keys(config.sources);
  return [...new Set([...found, ...sources.map((source) => receiverAt(url, source))])];
}

/** A delivery that leads to a route: the URL of a webhook is stored with its watch. */
async function someDelivery(deliveries: DeliveryStore, receivers: readonly Receiver[]) {
  const [receiver = ''] = receivers;
  const none = { endpoint: receiver, source: '', runId: '' };
  if (!isWebhook(receiver)) return none;
  const { items } = await deliveries.list({ endpoint: shownReceiver(receiver) }, { limit: 20 });
  return items.find(({ endpoint }) => receivers.includes(endpoint)) ?? none;
}

/** An endpoint, or a webhook with its receivers, as users see it. */
export interface Shown {
  name: string;
  receivers: Receiver[];
  /** Of the receiver that is least well. */
  state: EndpointState;
}

/** Receivers by their names: at one URL there is one for each source. */
export function shownAlike(found: readonly Pick<StoredEndpoint, 'receiver' | 'state'>[]): Shown[] {
  const groups = groupBy(found, ({ receiver }) => shownReceiver(receiver));
  return [...groups].map(([name, some]) => ({
    name,
    receivers: some.map(({ receiver }) => receiver),
    state: leastWell(some.map(({ state }) => state)),
  }));
}

const BY_NEED: readonly EndpointHealth['state'][] = ['disabled', 'failing', 'paused', 'active'];

/** Of the states of receivers that are shown alike, the one to show. */
export function leastWell(states: readonly EndpointState[]): EndpointState {
  const [first = NEW_STATE] = states.toSorted(
    (one, other) =>
      rankOf(one) - rankOf(other) || (other.throttledUntil ?? 0) - (one.throttledUntil ?? 0),
  );
  return first;
}

function rankOf(state: EndpointState): number {
  return BY_NEED.indexOf(healthOf(state));
}

async function viewOf(
  { endpoints, stores }: Process,
  { name, receivers, state }: Shown,
  { counts, sources }: { counts: EndpointView['counts']; sources?: readonly string[] },
): Promise<EndpointView> {
  const isWaitedFor = counts.pending + counts.parked > 0;
  return {
    name,
    ...kindOf(name, receivers.some(isWebhook), endpoints),
    default: endpoints.defaults.includes(name),
    counts,
    oldestPendingAt: isWaitedFor ? await stores.deliveries.oldestWaiting(name, sources) : null,
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
  name: string,
  isOfWatches: boolean,
  endpoints: Endpoints,
): Pick<EndpointView, 'type' | 'url' | 'events'> {
  if (isOfWatches) return { type: 'webhook', url: name, events: [] };
  const endpoint = endpoints.all[name];
  if (endpoint === undefined) return { type: 'unconfigured', url: null, events: [] };
  const events = endpoint.events ?? [
    ...DEFAULT_EVENTS,
    ...SYSTEM_EVENT_TYPES.filter((type) => endpoints.wantingSystemEvent(type).includes(name)),
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
