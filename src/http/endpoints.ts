import type { z } from 'zod';
import type { AuditRecord } from '../core/audit.ts';
import { groupBy, sum } from '../core/arrays.ts';
import { isForPeople, noDeliveries } from '../core/delivery/delivery.ts';
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
} from '../core/delivery/receiver.ts';
import { RunwatchError } from '../core/errors.ts';
import { DEFAULT_EVENTS, isoTime, SYSTEM_EVENT_TYPES } from '../core/event/event.ts';
import { formatDuration } from '../core/time.ts';
import type { Daemon } from '../daemon.ts';
import { changeEndpoint, retryEndpoint, testEndpoint } from '../deliver/endpoint-control.ts';
import { endpointKindOf } from '../deliver/endpoint-kinds.ts';
import type { Endpoints } from '../deliver/endpoints.ts';
import { DEFAULT_OVERLAP_MS } from '../deliver/secrets/endpoint-secrets.ts';
import type { Process } from '../process.ts';
import type { DeliveryCounts } from '../redis/stores/delivery-store.ts';
import { auditOf, type Acting } from './audit.ts';
import { sourcesOf } from './auth.ts';
import { presentAttempt, timeOrNull } from './present.ts';
import { refusal } from './problem.ts';
import type { Requests, Slice } from './routing.ts';
import type { endpointSchema } from './schemas/endpoint.ts';
import type { Routes } from './schemas/routes.ts';

type Own = Routes['endpoints'];
type Asked = Requests<Own>;

/** An endpoint as users may see it: no secrets, no header values. */
export type EndpointView = z.output<typeof endpointSchema>;
type EndpointHealth = EndpointView['health'];

/** The most failing per-watch webhooks in the list. */
const MOST_UNWELL = 200;

/** The most of them that a name is searched in: as many as are kept. */
const SEARCHED_UNWELL = 10_000;

const SECRET_OF_WATCH =
  'the webhook of a watch or a batch has no secret to rotate: it signs with the one that its registration gave or answered';

/**
 * Shows the configured endpoints and the webhooks that are not well, tests and switches them. What names an
 * endpoint throws RunwatchError `endpoint_not_found`, and `ambiguous_endpoint` where several webhooks share a name.
 */
export class EndpointService implements Slice<Own> {
  constructor(private readonly daemon: Daemon) {}

  async list({ token }: Asked['list']) {
    return { data: await listEndpoints(this.daemon, sourcesOf(token)) };
  }

  /** Sends `runwatch.test` at once, past breaker, pause and rate. */
  async test({ params: { name } }: Asked['test']) {
    const { daemon } = this;
    const { endpoints, newMark, now } = daemon;
    const receivers = await receiversOf(daemon, name);
    const route = await daemon.deliverer.routes.routeOf(await someDelivery(daemon, receivers));
    if (route === null) throw await unknownEndpoint(daemon, name);
    const getsMessages = isForPeople(endpoints.all[name]?.type);
    const options = { endpoint: name, isForPeople: getsMessages, now: now(), newMark };
    const { delivered, attempt } = await testEndpoint(route, options);
    return { delivered, attempt: presentAttempt(attempt) };
  }

  /** Keeps deliveries until `resume`. */
  pause(request: Acting & Asked['pause']) {
    return this.change(request, pause, 'endpoint.pause');
  }

  /** Ends a pause, a throttle and `disabled`; skipped deliveries are sent only by `redeliver`. */
  resume(request: Acting & Asked['resume']) {
    return this.change(request, resume, 'endpoint.resume');
  }

  /** Makes all that waits due now, and counts it. */
  async retry(request: Acting & Asked['retry']) {
    const { daemon } = this;
    const { name } = request.params;
    const receivers = await receiversOf(daemon, name);
    const audit = auditOf(request, daemon.now(), { action: 'endpoint.retry', target: name });
    const counts = await Promise.all(
      receivers.map((receiver) => retryEndpoint(daemon, receiver, audit)),
    );
    daemon.dispatch([...new Set(receivers.map(poolOf))]);
    return { count: sum(counts) };
  }

  /** Throws RunwatchError `not_signed`, `secret_not_derived`. */
  async secret(request: Acting & Asked['secret']) {
    const { daemon } = this;
    const { name } = request.params;
    const receiver = await this.signedReceiver(name);
    const secret = await daemon.deliverer.secrets.derived(receiver);
    if (secret === null) throw await unknownEndpoint(daemon, name);
    const act = { action: 'endpoint.secret', target: name } as const;
    // Before it is shown: whoever has seen it is on record.
    await daemon.stores.audit.append(auditOf(request, daemon.now(), act));
    return { secret };
  }

  /**
   * Makes a new secret that signs from now on, beside those that it replaces, each for as long as was
   * promised. Throws RunwatchError `not_signed` for kinds without a secret, `too_many_secrets`.
   */
  async rotate(request: Acting & Asked['rotate']) {
    const { daemon } = this;
    const { name } = request.params;
    const { overlap: overlapMs = DEFAULT_OVERLAP_MS, now = false } = request.body;
    const receiver = await this.signedReceiver(name);
    const audit = auditOf(request, daemon.now(), {
      action: 'endpoint.rotate',
      target: name,
      details: { overlap: formatDuration(now ? 0 : overlapMs) },
    });
    const { secrets } = daemon.deliverer;
    const rotation = await secrets.rotate(receiver, { overlapMs, now }, audit);
    if (rotation === null) throw await unknownEndpoint(daemon, name);
    const { secret, previousExpiresAt } = rotation;
    return { secret, previous_expires_at: timeOrNull(previousExpiresAt) };
  }

  private async signedReceiver(name: string): Promise<Receiver> {
    const [receiver = name] = await receiversOf(this.daemon, name);
    if (isWebhook(receiver)) throw new RunwatchError(SECRET_OF_WATCH, { code: 'not_signed' });
    return receiver;
  }

  private async change(
    request: Acting & Asked['pause'],
    by: (state: EndpointState) => EndpointState,
    action: AuditRecord['action'],
  ): Promise<EndpointView> {
    const { daemon } = this;
    const { name } = request.params;
    const receivers = await receiversOf(daemon, name);
    const audit = auditOf(request, daemon.now(), { action, target: name });
    const states = await Promise.all(
      receivers.map((receiver) => changeEndpoint(daemon, receiver, by, audit)),
    );
    const shown = { name, receivers, state: leastWell(states) };
    const counts = await countsOf(daemon, shown, await daemon.stores.deliveries.counts());
    return viewOf(daemon, shown, { counts });
  }
}

/**
 * Endpoints as users may see them.
 * @param sources count only their deliveries, and leave out webhooks of watches. Absent, everything counts
 */
async function listEndpoints(daemon: Daemon, sources?: readonly string[]): Promise<EndpointView[]> {
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

/** Most names that a refusal lists. */
const MAX_NAMES = 20;

/** One sentence about a name that no endpoint has; those that there are stand in its words. */
export function unknownEndpointText(name: string, views: readonly EndpointView[]): string {
  const names = views.slice(0, MAX_NAMES).map((view) => view.name);
  const more = views.length > MAX_NAMES ? ` and ${views.length - MAX_NAMES} more` : '';
  return `no endpoint is named "${name}"; expected one of: ${names.join(', ')}${more}`;
}

async function unknownEndpoint(daemon: Daemon, name: string): Promise<RunwatchError> {
  return refusal('endpoint_not_found', unknownEndpointText(name, await listEndpoints(daemon)));
}

/** {@link findReceivers}, of which there is one at least. */
async function receiversOf(daemon: Daemon, name: string): Promise<Receiver[]> {
  const receivers = await findReceivers(daemon, name);
  if (receivers.length === 0) throw await unknownEndpoint(daemon, name);
  return receivers;
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
  // Batches of several sources have none.
  const sources = ['', ...Object.keys(config.sources)];
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
    oldest_pending_at: timeOrNull(
      isWaitedFor ? await stores.deliveries.oldestWaiting(name, sources) : null,
    ),
    health: presentHealth(state),
  };
}

/** How an endpoint does, as users see it. */
export function presentHealth(state: EndpointState): EndpointHealth {
  return {
    state: healthOf(state),
    reason: state.disabled?.reason ?? null,
    failing_since: timeOrNull(state.failingSince),
    next_probe_at: timeOrNull(state.probeAt),
    throttled_until: timeOrNull(state.throttledUntil),
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
