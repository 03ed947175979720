import type { EventType, SentEventType } from '../event/event.ts';
import { deliveryId } from '../event/ids.ts';
import { wantsEvent, type MatchedWatch } from '../event/patterns.ts';
import { subscriptionKey, type Subscription, type Watch, type WatchKey } from '../watch/watch.ts';
import { isNameCheck } from './name-wait.ts';
import type { Receiver } from './receiver.ts';
import { isOutstanding } from './state.ts';

export const DELIVERY_STATES = [
  'pending',
  'delivered',
  'dead',
  'parked',
  'skipped',
  'superseded',
] as const;

export type DeliveryState = (typeof DELIVERY_STATES)[number];

/** Counts of deliveries by state, all 0. */
export function noDeliveries(): Record<DeliveryState, number> {
  return { pending: 0, delivered: 0, dead: 0, parked: 0, skipped: 0, superseded: 0 };
}

/** Why an attempt failed, or did not reach all recipients: a stable code and a sentence for people. */
export interface AttemptError {
  code: string;
  message: string;
}

/** One try at delivering. Times in milliseconds since the epoch, durations in milliseconds. */
export interface Attempt {
  at: number;
  /** HTTP status; null where no answer came, or none exists (a log line). */
  status: number | null;
  error: AttemptError | null;
  durationMs: number;
  /** First 1 KiB of the answer. */
  response: string | null;
  /** Absent where no HTTP request was made. */
  phases?: RequestPhases;
}

/**
 * How long each part of a request took, ms: until it could be sent (a free connection, DNS, connection,
 * TLS), until the answer began, and until it ended. `connect` is null on a connection that was kept
 * alive: then `wait` counts from the start. A part that was not reached is absent.
 */
export type RequestPhases = readonly [connect: number | null, wait?: number, receive?: number];

/** One event to one subscription. Times are milliseconds since the epoch. */
export interface Delivery extends WatchKey {
  id: string;
  eventId: string;
  eventType: SentEventType;
  /** The alert that its event is about; absent for others. */
  alertId?: string;
  /** What its event is about, which orders it: of system events and of batches; absent for others. */
  subject?: string;
  /** The id of the batch that its event is about; absent for others. */
  batchId?: string;
  /** The sources of that batch where they are several; it is for tokens of all of them. */
  sources?: readonly string[];
  /** Where it goes. */
  endpoint: Receiver;
  state: DeliveryState;
  /** Attempts so far, those included that were answered by a request for quiet. */
  attemptCount: number;
  /** Position in the retry schedule; a redelivery starts it anew. */
  step: number;
  /** A user asked for it, so the relay sends it whatever the run's state is now. */
  requested: boolean;
  /** A user asked for the next attempt now: it ignores an open breaker and a requested quiet. */
  urgent: boolean;
  /**
   * The most events that its message may cover, since a message that covered more was rejected. Absent:
   * as many as the endpoint's.
   */
  foldMost?: number;
  nextAttemptAt: number | null;
  createdAt: number;
  deliveredAt: number | null;
  last: Attempt | null;
}

/** Whether this is about an attempt that delivered, but not to all recipients of its message. */
export function isPartial({ code }: AttemptError): boolean {
  return code === 'recipients_refused';
}

/** Which deliveries are meant; of several values, any. */
export interface DeliveryFilter {
  state?: readonly DeliveryState[] | undefined;
  endpoint?: string | undefined;
  /** System events have none. */
  sources?: readonly string[] | undefined;
  /** Of any of these runs. */
  runs?: readonly WatchKey[] | undefined;
  eventId?: string | undefined;
}

/** What a delivery belongs to: a token must be good for all of these. None: to runwatch itself. */
export function sourcesOfDelivery({
  source,
  sources,
}: Pick<Delivery, 'source' | 'sources'>): readonly string[] {
  return sources ?? (source === '' ? [] : [source]);
}

/** A delivery as read from the store, with the version that a write must find unchanged. */
export interface StoredDelivery {
  delivery: Delivery;
  version: number;
  /** Its number in the order of creation; one with the id of a delivery that was forgotten has another. */
  number: number;
}

/** The result of an attempt, as reported by the channel that made it. */
export type AttemptOutcome =
  | { kind: 'delivered'; attempt: Attempt }
  /** May work later, but not before the time that the receiver gave, if any. */
  | { kind: 'failed'; attempt: Attempt; retryAfterMs?: number }
  /** The receiver asked for quiet (429 or 503 with `Retry-After`). */
  | { kind: 'throttled'; attempt: Attempt; retryAfterMs: number }
  /** This message will never be taken, whenever it is sent; others may be, also some of its events. */
  | { kind: 'rejected'; attempt: Attempt }
  /** Will never work: the receiver said so (410). */
  | { kind: 'refused'; attempt: Attempt };

/** Whether a named endpoint wants a type of event of a watch. */
export type EndpointFilter = (endpoint: string, type: EventType, watch: MatchedWatch) => boolean;

/** The event of a delivery, by id and type. */
interface Notice {
  id: string;
  type: EventType;
}

/** Whether a subscription wants a type of event of a watch. */
export function isSubscribed(
  subscription: Subscription,
  type: EventType,
  watch: MatchedWatch,
  wants: EndpointFilter,
): boolean {
  return subscription.kind === 'webhook'
    ? wantsEvent(subscription.events, type)
    : wants(subscription.endpoint, type, watch);
}

/**
 * The deliveries of some events: one per event and subscription that wants it, in the order of the
 * events. Event and subscription determine the id.
 */
export function planDeliveries(
  watch: WatchKey & MatchedWatch,
  events: readonly Notice[],
  subscriptions: readonly Subscription[],
  { wants, now }: { wants: EndpointFilter; now: number },
): Delivery[] {
  return events.flatMap((event) =>
    subscriptions
      .filter((subscription) => isSubscribed(subscription, event.type, watch, wants))
      .map((subscription) => newDelivery(watch, event, subscriptionKey(subscription), now)),
  );
}

/** The deliveries of the event of a watch's present state to subscriptions that come late; none where it has none. */
export function planNotice(
  watch: Pick<Watch, 'source' | 'runId' | 'run' | 'metadata' | 'notice'>,
  subscriptions: readonly Subscription[],
  context: { wants: EndpointFilter; now: number },
): Delivery[] {
  const { notice } = watch;
  if (notice === null) return [];
  const event = { id: notice.eventId, type: notice.type };
  return planDeliveries(watch, [event], subscriptions, context);
}

/** A delivery that is due at once. Event and endpoint determine its id. */
export function newDelivery(
  about: WatchKey & Partial<Pick<Delivery, 'alertId' | 'subject' | 'batchId' | 'sources'>>,
  event: { id: string; type: SentEventType },
  endpoint: string,
  now: number,
): Delivery {
  return {
    id: deliveryId(event.id, endpoint),
    eventId: event.id,
    eventType: event.type,
    source: about.source,
    runId: about.runId,
    ...(about.alertId !== undefined && { alertId: about.alertId }),
    ...(about.subject !== undefined && { subject: about.subject }),
    ...(about.batchId !== undefined && { batchId: about.batchId }),
    ...(about.sources !== undefined && { sources: about.sources }),
    endpoint,
    state: 'pending',
    attemptCount: 0,
    step: 0,
    requested: false,
    urgent: false,
    nextAttemptAt: now,
    createdAt: now,
    deliveredAt: null,
    last: null,
  };
}

/** Within this age a first attempt goes out without a check of the run's present state, ms. */
const FRESH_MS = 5_000;

/** True for a delivery without a failure, a parking, or a wait in a queue so far, but for one for a name. */
export function isFresh(delivery: Delivery, now: number): boolean {
  const { last, createdAt, nextAttemptAt } = delivery;
  const isOnTime = nextAttemptAt === createdAt || isNameCheck(delivery);
  return last === null && isOnTime && now - createdAt < FRESH_MS;
}

/** A delivery that is suspended before any attempt, so no attempt is counted. */
export function withheld(delivery: Delivery, state: 'parked' | 'skipped' | 'superseded'): Delivery {
  return { ...delivery, state, urgent: false, nextAttemptAt: null };
}

/** The same event to another endpoint, at a user's request. */
export function sentInstead(delivery: Delivery, endpoint: string, now: number): Delivery {
  const event = { id: delivery.eventId, type: delivery.eventType };
  return { ...newDelivery(delivery, event, endpoint, now), requested: true };
}

/** A delivery deferred because its receiver asked for quiet. */
export function postponed(delivery: Delivery, until: number): Delivery {
  return { ...delivery, state: 'pending', nextAttemptAt: until };
}

/** A delivery that a user wants sent now; a settled one starts its retry schedule anew. */
export function wantedNow(delivery: Delivery, now: number): Delivery {
  return { ...replayed(delivery, now), urgent: true };
}

/**
 * What a user wants of a delivery that is being attempted: another attempt `now`, past breaker and quiet,
 * or one that is `due` as soon as its receiver takes it.
 */
export type Wish = 'now' | 'due';

/**
 * A delivery that a bulk redelivery sends: a settled one again, with the same event and a fresh retry
 * schedule, a waiting one as soon as its receiver takes it.
 */
export function replayed(delivery: Delivery, now: number): Delivery {
  return {
    ...delivery,
    state: 'pending',
    step: isOutstanding(delivery.state) ? delivery.step : 0,
    requested: true,
    nextAttemptAt: now,
    deliveredAt: null,
  };
}

/** The body formats of a webhook; `deliver/channels/bodies.ts` builds them. */
export const BODY_KIND_NAMES = ['standard', 'cloudevents'] as const;

export type BodyKindName = (typeof BODY_KIND_NAMES)[number];

/**
 * The kinds of configured endpoints, and the audience of each. Endpoints for programs get events
 * unchanged, those for people get messages. A pager gets a message for each alert, and no digests.
 */
export const AUDIENCES = {
  webhook: 'programs',
  log: 'programs',
  slack: 'people',
  pagerduty: 'pager',
  email: 'people',
  teams: 'people',
  discord: 'people',
} as const satisfies Record<string, 'programs' | 'people' | 'pager'>;

export type EndpointType = keyof typeof AUDIENCES;

export const ENDPOINT_TYPES = Object.keys(AUDIENCES) as EndpointType[];

/** Whether an endpoint gets messages, rather than events as they are. */
export function isForPeople(type: EndpointType | undefined): boolean {
  return type !== undefined && AUDIENCES[type] !== 'programs';
}

/** Whether an endpoint takes one alert at a time, and no digest. */
export function isPager(type: EndpointType | undefined): boolean {
  return type !== undefined && AUDIENCES[type] === 'pager';
}
