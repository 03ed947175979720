import type { Attempt, Delivery, DeliveryState } from '../core/delivery.ts';
import type { InputIssue } from '../core/errors.ts';
import type { EventType, RunwatchEvent } from '../core/event.ts';
import type { WatchRequest } from '../core/register.ts';
import type { Watch, WatchKey, WatchState } from '../core/watch.ts';

/** A page of a listing. `nextCursor` is opaque, and null on the last page. */
export interface Page<Item> {
  items: Item[];
  nextCursor: string | null;
}

export type WatchResult =
  | { kind: 'created' | 'merged'; watch: Watch }
  /** The request names something that does not exist or may not be; nothing was changed by it. */
  | { kind: 'invalid'; issues: InputIssue[] };

export interface WatchQuery {
  state?: WatchState;
  status?: string;
  source?: string;
  workflowId?: string;
  limit: number;
  cursor?: string;
}

/** What the API does with watches. A key without a source means the default one. */
export interface WatchService {
  /** One result per request, in order; a bad one spoils no other. */
  register(requests: WatchRequest[]): Promise<WatchResult[]>;
  get(key: Partial<WatchKey> & { runId: string }): Promise<Watch | null>;
  /** Newest first. Throws RunwatchError `invalid_cursor`. */
  list(query: WatchQuery): Promise<Page<Watch>>;
  /** False when there is no such watch; a watch that has ended already stays as it is. */
  unwatch(key: Partial<WatchKey> & { runId: string }): Promise<boolean>;
  pollNow(
    key: Partial<WatchKey> & { runId: string },
  ): Promise<'scheduled' | 'not_found' | 'not_active'>;
}

/** An event with its place in the log; the cursor grows with every event. */
export interface LoggedEvent {
  cursor: string;
  event: RunwatchEvent;
}

export interface EventQuery {
  runId?: string;
  type?: EventType;
  /** A cursor, or the id of an event: only what comes after it in the order of the listing. */
  after?: string;
}

export type EventOrder = 'oldest' | 'newest';

export interface EventService {
  /** Oldest first unless asked otherwise. Throws RunwatchError `invalid_cursor`. */
  list(query: EventQuery & { limit: number; order?: EventOrder }): Promise<Page<LoggedEvent>>;
  /** The cursor of the latest event: what a follower of everything new starts from. */
  position(): Promise<string>;
  /** What comes after `query.after`; ends with the signal. */
  follow(query: EventQuery & { after: string }, signal: AbortSignal): AsyncIterable<LoggedEvent>;
}

export interface DeliveryQuery {
  state?: DeliveryState;
  endpoint?: string;
  runId?: string;
  eventId?: string;
  limit: number;
  cursor?: string;
}

export interface DeliveryService {
  /** Newest first. Throws RunwatchError `invalid_cursor`. */
  list(query: DeliveryQuery): Promise<Page<Delivery>>;
  get(id: string): Promise<{ delivery: Delivery; attempts: Attempt[] } | null>;
}

/** An endpoint as users may see it: no secrets, no header values. */
export interface EndpointView {
  name: string;
  type: 'webhook' | 'log';
  /** Null for kinds that have none. */
  url: string | null;
  /** Event patterns; null stands for the types told by default. */
  events: string[] | null;
  default: boolean;
  /** Deliveries by state. */
  counts: Record<DeliveryState, number>;
}

export interface EndpointService {
  list(): Promise<EndpointView[]>;
}

/** `degraded` is worth a look but serves; only `failed` makes the process unready. */
export interface HealthCheck {
  name: string;
  status: 'ok' | 'degraded' | 'failed';
  detail: string;
}

export interface HealthService {
  checks(): Promise<HealthCheck[]>;
}

/** Everything that the HTTP server serves from. */
export interface Services {
  watches: WatchService;
  events: EventService;
  deliveries: DeliveryService;
  endpoints: EndpointService;
  health: HealthService;
}
