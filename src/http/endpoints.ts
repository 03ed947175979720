import { groupBy, sum } from '../core/arrays.ts';
import {
  isForPeople,
  noDeliveries,
  type Attempt,
  type DeliveryState,
  type EndpointType,
} from '../core/delivery/delivery.ts';
import {
  longPause,
  NEW_STATE,
  pause,
  resume,
  type EndpointState,
  type StoredEndpoint,
} from '../core/delivery/endpoint-state.ts';
import {
  isWebhook,
  poolOf,
  receiverAt,
  shownReceiver,
  urlOf,
  type Receiver,
  type RotateOptions,
} from '../core/delivery/receiver.ts';
import { RunwatchError } from '../core/errors.ts';
import { DEFAULT_EVENTS, isoTime, SYSTEM_EVENT_TYPES } from '../core/event/event.ts';
import type { Daemon } from '../daemon.ts';
import { changeEndpoint, retryEndpoint, testEndpoint } from '../deliver/endpoint-control.ts';
import { endpointKindOf } from '../deliver/endpoint-kinds.ts';
import type { Endpoints } from '../deliver/endpoints.ts';
import type { Process } from '../process.ts';
import type { DeliveryCounts } from '../redis/stores/delivery-store.ts';

/** An endpoint as users may see it: no secrets, no header values. */
export interface EndpointView {
  name: string;
  /** `unconfigured`: it was renamed or removed while deliveries still wait for it. */
  type: EndpointType | 'unconfigured';
  /** Null for kinds that have none. */
  url: string | null;
  /** Event patterns; null stands for the default events. */
  events: string[] | null;
  default: boolean;
  /** Deliveries by state. */
  counts: Record<DeliveryState, number>;
  /** When the oldest delivery was created that is pending or parked; null where none is. */
  oldestPendingAt: number | null;
  health: EndpointHealth;
}

/** How an endpoint does. Times are milliseconds since the epoch. */
export interface EndpointHealth {
  /**
   * `failing`: most recent attempts failed, so deliveries are parked and one at a time probes.
   * `paused`: a user paused it, deliveries are parked. `disabled`: it answered 410 or failed for
   * days, deliveries are skipped.
   */
  state: 'active' | 'failing' | 'paused' | 'disabled';
  /** Why it is disabled, else null. */
  reason: string | null;
  /** The first failure since anything was delivered; null when the last attempt succeeded. */
  failingSince: number | null;
  /** When a failing endpoint is probed next. */
  nextProbeAt: number | null;
  /** It asked by Retry-After for no requests before this. */
  throttledUntil: number | null;
}

/** What a test of an endpoint came to. */
export interface EndpointTest {
  delivered: boolean;
  attempt: Attempt;
}

/** The most failing per-watch webhooks in the list. */
const MOST_UNWELL = 200;

/** The most of them that a name is searched in: as many as are kept. */
const SEARCHED_UNWELL = 10_000;

const SECRET_OF_WATCH =
  'the webhook of a watch has no secret to rotate: it signs with the one that its registration gave or answered';

/** Shows the configured endpoints and the webhooks that are not well, tests and switches them. */
export class EndpointService {
  constructor(private readonly daemon: Daemon) {}

  /**
   * @param sources count only their deliveries, and leave out webhooks of watches. Absent, everything
   *   counts
   */
  async list(sources?: readonly string[]): Promise<EndpointView[]> {
    const { daemon } = this;
    if (sources !== undefined) return listWithin(daemon, sources);
    const { deliveries, endpointStates } = daemon.stores;
    const [counts, configured, unwell] = await Promise.all([
      deliveries.counts(),
      endpointStates.getMany(daemon.endpoints.names),
      endpointStates.unwell(MOST_UNWELL),
    ]);
    // Endpoints that are no longer configured and still have waiting deliveries.
    const { endpoints: remnants } = await daemon.unconfigured.find();
    const removed = await endpointStates.getMany(remnants.map(({ name }) => name));
    const known = [...configured, ...removed, ...unwell];
    return Promise.all(
      shownAlike(known).map(async (shown) =>
        viewOf(daemon, shown, { counts: await countsOf(daemon, shown, counts) }),
      ),
    );
  }

  /** Sends `runwatch.test` at once, past breaker, pause and rate; null when there is no such endpoint. */
  async test(name: string): Promise<EndpointTest | null> {
    const { daemon } = this;
    const { endpoints, newMark, now } = daemon;
    const receivers = await findReceivers(daemon, name);
    if (receivers.length === 0) return null;
    const delivery = await someDelivery(daemon, receivers);
    const route = await daemon.deliverer.routes.routeOf(delivery);
    const getsMessages = isForPeople(endpoints.all[name]?.type);
    const options = { endpoint: name, isForPeople: getsMessages, now: now(), newMark };
    return route && testEndpoint(route, options);
  }

  /**
   * Keeps deliveries until `resume`. Null when there is no such endpoint.
   * This and the calls below throw RunwatchError `ambiguous_endpoint` where several webhooks share a name.
   */
  pause(name: string): Promise<EndpointView | null> {
    return this.change(name, pause);
  }

  /** Ends a pause, a throttle and `disabled`; skipped deliveries are sent only by `redeliver`. */
  resume(name: string): Promise<EndpointView | null> {
    return this.change(name, resume);
  }

  /** Makes all that waits due now. @returns how many deliveries that are; null for no such endpoint */
  async retry(name: string): Promise<number | null> {
    const { daemon } = this;
    const receivers = await findReceivers(daemon, name);
    const counts = await Promise.all(receivers.map((receiver) => retryEndpoint(daemon, receiver)));
    daemon.dispatch([...new Set(receivers.map(poolOf))]);
    return receivers.length === 0 ? null : sum(counts);
  }

  /**
   * The secret that signs for an endpoint without one of its own.
   * Throws RunwatchError `not_signed`, `secret_not_derived`.
   */
  async secret(name: string): Promise<string | null> {
    const receiver = await this.findSigned(name);
    return receiver === null ? null : this.daemon.deliverer.secrets.derived(receiver);
  }

  /**
   * Makes a new secret that signs from now on, beside those that it replaces, each for as long as was
   * promised. Throws RunwatchError `not_signed` for kinds without a secret, `too_many_secrets`.
   */
  async rotate(
    name: string,
    options: RotateOptions,
  ): Promise<{ secret: string; previousExpiresAt: number | null } | null> {
    const receiver = await this.findSigned(name);
    return receiver === null ? null : this.daemon.deliverer.secrets.rotate(receiver, options);
  }

  private async findSigned(name: string): Promise<Receiver | null> {
    const [receiver] = await findReceivers(this.daemon, name);
    if (receiver === undefined) return null;
    if (isWebhook(receiver)) throw new RunwatchError(SECRET_OF_WATCH, { code: 'not_signed' });
    return receiver;
  }

  private async change(
    name: string,
    by: (state: EndpointState) => EndpointState,
  ): Promise<EndpointView | null> {
    const { daemon } = this;
    const receivers = await findReceivers(daemon, name);
    const changed = await Promise.all(
      receivers.map(async (receiver) => ({
        receiver,
        state: await changeEndpoint(daemon, receiver, by),
      })),
    );
    const [shown] = shownAlike(changed);
    if (shown === undefined) return null;
    const counts = await countsOf(daemon, shown, await daemon.stores.deliveries.counts());
    return viewOf(daemon, shown, { counts });
  }
}

async function countsOf(
  { stores }: Process,
  { name, receivers }: Shown,
  { byEndpoint }: DeliveryCounts,
): Promise<EndpointView['counts']> {
  return receivers.some(isWebhook)
    ? stores.deliveries.countsAt(receivers)
    : (byEndpoint.get(name) ?? noDeliveries());
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
async function someDelivery({ stores }: Process, receivers: readonly Receiver[]) {
  const [receiver = ''] = receivers;
  const none = { endpoint: receiver, source: '', runId: '' };
  if (!isWebhook(receiver)) return none;
  const filter = { endpoint: shownReceiver(receiver) };
  const { items } = await stores.deliveries.list(filter, { limit: 20 });
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
  return { type: endpoint.type, url: endpointKindOf(endpoint).shownUrl(endpoint), events };
}

export function healthOf({ disabled, paused, breaker }: EndpointState): EndpointHealth['state'] {
  if (disabled !== null) return 'disabled';
  if (paused) return 'paused';
  return breaker === 'open' ? 'failing' : 'active';
}

/** What keeps deliveries from configured endpoints, other than a user's pause: a text for each. */
export async function endpointTroubles({ endpoints, stores, now }: Process): Promise<string[]> {
  const states = await stores.endpointStates.getMany(endpoints.names);
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
