import type { Acknowledged } from '../alert/acknowledge.ts';
import type { ShownAlert } from '../alert/event.ts';
import type { Rehearsal } from '../alert/rehearse.ts';
import type { SilencePreview } from '../alert/silences.ts';
import type { Alert, AlertState } from '../core/alert/alert.ts';
import type { Matchers, Silence, SilenceState } from '../core/alert/silence.ts';
import type { AttentionItem, AttentionKind } from '../core/attention.ts';
import type { Attempt, Delivery, DeliveryState, EndpointType } from '../core/delivery/delivery.ts';
import type { InputIssue } from '../core/errors.ts';
import type { LookupKind } from './schemas/lookup.ts';
import type { MemoryFigures } from '../core/memory.ts';
import type { AnyEvent, LoggedType } from '../core/event/event.ts';
import type { Until, When, WhenRange } from '../core/time.ts';
import type { WatchRequest } from '../core/watch/register.ts';
import type { RunFigures } from '../core/watch/run-figures.ts';
import type { Timeline } from '../core/watch/timeline.ts';
import type { Profile, Watch, WatchState } from '../core/watch/watch.ts';
import type { RateLimit } from '../core/source/limiter.ts';
import type { StreamFigures } from '../feed/ports.ts';
import type { Overdue } from '../core/source/overdue.ts';
import type { ClosedSource } from '../core/source/throttle.ts';
import type { WorkflowPolling } from '../core/cadence/workflow-polling.ts';

/** A page of a listing. `nextCursor` is opaque, and null on the last page. */
export interface Page<Item> {
  items: Item[];
  nextCursor: string | null;
}

/** A watch as users may see it, with the name of its workflow and the address of its run. */
export interface WatchView extends Watch {
  workflowName: string | null;
  runUrl: string | null;
}

export type WatchResult =
  | {
      kind: 'created' | 'merged';
      watch: WatchView;
      /** What signs for the webhook of the request, where that came without a secret; else null. */
      webhookSecret: string | null;
    }
  /** The request names something that does not exist or may not be; nothing was changed by it. */
  | { kind: 'invalid'; issues: InputIssue[] };

/** A page that says how many there are on all pages. */
export interface CountedPage<Item> extends Page<Item> {
  /** Up to 10,000. */
  total: number;
  /** There are more than that, or the search for them ended before it had examined all. */
  isCapped: boolean;
}

/** Of the values of one field, a watch has any. The times are those of its last change. */
export interface WatchQuery extends WhenRange {
  state?: WatchState[];
  status?: string[];
  source?: string;
  /** Beside `source`, any of these: those that a token is for. */
  sources?: readonly string[];
  workflowId?: string[];
  /** Values by key: a watch has all of them. */
  metadata?: Record<string, string>;
  order?: 'registered' | 'changed';
  limit: number;
  cursor?: string;
}

interface AcknowledgeInput {
  by: string;
  comment?: string;
  /** When it expires: a time, or so long from now. */
  until?: Until;
}

/** A watch by its run. Of several sources, the one that has it is meant. */
export interface WatchName {
  /** The sources that may be meant; absent, all that are configured. */
  sources?: readonly string[];
  runId: string;
}

/** What the API does with watches. By name, it throws RunwatchError `several_sources`. */
export interface WatchService {
  /**
   * One result per request, in order; a bad one spoils no other.
   * @param sources those that requests may name; absent, all
   */
  register(requests: WatchRequest[], sources?: readonly string[]): Promise<WatchResult[]>;
  get(name: WatchName): Promise<WatchView | null>;
  /** Newest first. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  list(query: WatchQuery): Promise<CountedPage<WatchView>>;
  /** Whether any watch, or one of these sources, has a run of this status. */
  hasStatus(status: string, sources?: readonly string[]): Promise<boolean>;
  /** Whether a workflow is configured, or any watch, or one of these sources, has a run of it. */
  hasWorkflow(workflowId: string, sources?: readonly string[]): Promise<boolean>;
  /** Some of the workflows that are known, those of the configuration first. */
  someWorkflows(): Promise<string[]>;
  /**
   * Stops watching, or ends one subscription; a watch that has ended already does not change.
   * @param receiver the subscription, by an endpoint's name or a webhook's URL, masked or not
   */
  unwatch(name: WatchName, receiver?: string): Promise<'done' | 'not_found' | 'not_subscribed'>;
  /**
   * Stops watching, and erases the watch with its events and deliveries. False for an unknown watch.
   * Throws RunwatchError `purge_interrupted`.
   */
  purge(name: WatchName): Promise<boolean>;
  /** What happened around a run; null for an unknown watch. */
  timeline(name: WatchName): Promise<Timeline | null>;
  /**
   * Marks a run as taken in hand, whatever the state of its watch.
   * @returns `past` where it would expire at once
   */
  acknowledge(
    name: WatchName,
    request: AcknowledgeInput,
  ): Promise<WatchView | 'not_found' | 'past'>;
  /** Takes that back. @returns false for an unknown watch */
  withdraw(name: WatchName): Promise<boolean>;
  /** `closed`: why its source takes no requests before, where that is so. */
  pollNow(name: WatchName): Promise<{ closed: ClosedSource | null } | 'not_found' | 'not_active'>;
}

/** An event with its place in the log; the cursor grows with every event. */
export interface LoggedEvent {
  cursor: string;
  event: AnyEvent;
}

/** The store has lost data; a follower goes on from this cursor. */
export interface LogReset {
  cursor: string;
  event: null;
}

export interface EventFilter {
  runId?: string;
  /** Any of these; without them, those of runs. */
  type?: LoggedType[];
  /** Of any of these workflows. */
  workflowId?: string[];
  /** Of any of these sources. */
  sources?: readonly string[];
  /** A cursor, or the id of an event: only what comes after it in the order of the listing. */
  after?: string;
}

interface EventQuery extends EventFilter, WhenRange {
  limit: number;
  order?: 'oldest' | 'newest';
}

export interface EventService {
  /** Oldest first unless asked otherwise. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  list(query: EventQuery): Promise<Page<LoggedEvent>>;
  /** The cursor of the latest event: what a follower of everything new starts from. */
  position(): Promise<string>;
  /** What comes after `filter.after`; ends with the signal. */
  follow(
    filter: EventFilter & { after: string },
    signal: AbortSignal,
  ): AsyncIterable<LoggedEvent | LogReset>;
}

export interface DeliveryQuery extends WhenRange {
  /** Any of these. */
  state?: DeliveryState[];
  endpoint?: string;
  /** Of any of these sources; system events have none. */
  sources?: readonly string[];
  runId?: string;
  eventId?: string;
  limit: number;
  cursor?: string;
}

export interface DeliveryService {
  /** Newest first. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  list(query: DeliveryQuery): Promise<CountedPage<Delivery>>;
  get(id: string): Promise<{ delivery: Delivery; attempts: Attempt[] } | null>;
  /**
   * Delivers at once, with the same event id; one that waits is due now.
   * @param to another endpoint; the event gets a delivery of its own there
   * @returns the id of the delivery that goes out; null when there is none
   */
  redeliver(id: string, to?: string): Promise<string | null>;
  /** {@link redeliver} for all that match; they go out at a limited rate. @returns how many */
  redeliverMany(range: RedeliverRange): Promise<number>;
}

/**
 * Which deliveries go out again, by when they were created; without a state those that are dead or were
 * skipped.
 */
export interface RedeliverRange extends WhenRange {
  endpoint?: string;
  state?: DeliveryState[];
  /** Of any of these sources. */
  sources?: readonly string[];
  /** Another endpoint; then those are meant by default that wait, too. */
  to?: string;
}

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

export interface EndpointService {
  /**
   * @param sources count only their deliveries, and leave out webhooks of watches. Absent, everything
   *   counts
   */
  list(sources?: readonly string[]): Promise<EndpointView[]>;
  /** Sends `runwatch.test` at once, past breaker, pause and rate; null when there is no such endpoint. */
  test(name: string): Promise<EndpointTest | null>;
  /**
   * Keeps deliveries until `resume`. Null when there is no such endpoint.
   * This and the calls below throw RunwatchError `ambiguous_endpoint` where several webhooks share a name.
   */
  pause(name: string): Promise<EndpointView | null>;
  /** Ends a pause, a throttle and `disabled`; skipped deliveries are sent only by `redeliver`. */
  resume(name: string): Promise<EndpointView | null>;
  /** Makes all that waits due now. @returns how many deliveries that are; null for no such endpoint */
  retry(name: string): Promise<number | null>;
  /**
   * Makes a new secret that signs from now on, beside those that it replaces, each for as long as was
   * promised. Throws RunwatchError `not_signed` for kinds without a secret, `too_many_secrets`.
   */
  rotate(
    name: string,
    options: RotateOptions,
  ): Promise<{ secret: string; previousExpiresAt: number | null } | null>;
}

interface RotateOptions {
  /** How long the present secret signs too, 0 to 7 days. */
  overlapMs: number;
  /** Ends all others at once. */
  now: boolean;
}

export interface PollingQuery {
  workflowId?: string;
  /** One, unless a workflow is named; absent, all. */
  sources?: readonly string[];
  limit: number;
  cursor?: string;
}

/** A workflow as users may see it. */
export interface WorkflowView {
  source: string;
  workflowId: string;
  name: string | null;
  figures: RunFigures;
  /** Active watches by the status of their runs. */
  active: Record<string, number>;
}

export interface WorkflowService {
  /** Workflows of which runs are active, or have ended since a time; that of the answer is earlier. */
  list(query: {
    since?: When;
    sources?: readonly string[];
  }): Promise<{ since: number; workflows: WorkflowView[] }>;
}

export interface PollingService {
  /** The profile that expectations are for: that of watches which name none. */
  profile: Profile;
  /** The latest to become known first. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  list(query: PollingQuery): Promise<Page<WorkflowPolling>>;
}

/** What is known of Redis. Null for what it does not say. */
interface StoreView {
  server: {
    version: string;
    /** What it does when its memory is full; only `noeviction` keeps everything. */
    policy: string;
    persistence: 'append_only_file' | 'snapshots' | 'none';
  } | null;
  memory: MemoryFigures | null;
}

export interface StoreService {
  describe(): Promise<StoreView>;
}

export interface LookupService {
  /** An equal id alone; else those that begin so, the newest first. */
  find(asked: { kind: LookupKind; prefix: string; limit: number }): Promise<{
    found: { kind: LookupKind; id: string; source?: string }[];
    /** There are, or may be, others that begin so. */
    more: boolean;
  }>;
}

/** An answer that is given again, as it was sent. */
export interface KeptAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** A request with a key, compared with what came with that key before. */
export type RepeatedRequest =
  /** None has: its answer is to be kept, or the key given free again where nothing was decided. */
  | { kind: 'first'; keep(answer: KeptAnswer): Promise<void>; release(): Promise<void> }
  | { kind: 'repeat'; answer: KeptAnswer }
  | { kind: 'in_progress' | 'other_request' };

export interface RepeatService {
  /**
   * @param asked.scope within which the key is one
   * @param asked.request all by which one request differs from another
   */
  begin(asked: { scope: string[]; key: string; request: string }): Promise<RepeatedRequest>;
}

/** A source as users may see it: no key. Times are milliseconds since the epoch. */
export interface SourceView {
  name: string;
  /** Why nothing but probes is asked of it; null while it answers. */
  closed: ClosedSource | null;
  /** Since when it has given no valid answer; null while it does. */
  since: number | null;
  /** When it last gave a valid answer; null where that is not known. */
  answeredAt: number | null;
  limit: RateLimit;
  /** Requests that count against the limit now. */
  used: number;
  /** Its overdue polls; null where they keep up. */
  overdue: Overdue | null;
  /** Its event streams. */
  streams: StreamFigures;
}

export interface SourceService {
  list(): Promise<SourceView[]>;
  /** Lifts a pause; null when there is no such source. */
  resume(name: string): Promise<SourceView | null>;
}

/** `degraded` needs attention but serves; only `failed` makes the process unready. */
export interface HealthCheck {
  name: string;
  status: 'ok' | 'degraded' | 'failed';
  detail: string;
}

export interface HealthService {
  checks(): Promise<HealthCheck[]>;
}

export interface AttentionQuery {
  /** Also what a user has acknowledged. */
  withAcknowledged: boolean;
  /** Only what is of these sources. */
  sources?: readonly string[];
}

/** What needs a person. */
export interface Attention {
  /** The oldest 200, oldest first. */
  items: AttentionItem[];
  counts: Record<AttentionKind, number>;
  /** There are more than `counts` say. */
  isCapped: boolean;
}

export interface AttentionService {
  list(query: AttentionQuery): Promise<Attention>;
}

/** A daemon on this store. Times are milliseconds since the epoch. */
export interface ProcessView {
  id: string;
  name: string;
  version: string;
  startedAt: number;
  heartbeatAt: number;
  /** By how much the clock of its host is ahead of the store's, ms. */
  skewMs: number;
}

export interface ProcessService {
  list(): Promise<ProcessView[]>;
}

interface AlertQuery {
  state?: readonly AlertState[];
  rule?: string;
  limit: number;
  cursor?: string;
}

export interface AlertService {
  /** Newest first. Throws RunwatchError `invalid_cursor`. */
  list(query: AlertQuery): Promise<Page<Alert>>;
  get(id: string): Promise<Alert | null>;
  /** An alert in the shape that users see. */
  show(alert: Alert): ShownAlert;
  /** Alerts that fire and are not acknowledged, oldest first. */
  attention(limit: number): Promise<Alert[]>;
  /** @returns `over` where it has resolved, `past` where the acknowledgement would expire at once */
  acknowledge(id: string, request: AcknowledgeInput): Promise<Acknowledged | 'past'>;
  withdraw(id: string): Promise<Acknowledged>;
}

export interface SilenceView extends Silence {
  state: SilenceState;
}

/** Times are milliseconds since the epoch. */
interface SilenceInput {
  matchers: Matchers;
  until: Until;
  startsAt?: number;
  by: string;
  comment: string;
  key?: string;
  /** Those that its token is limited to; absent for all. Each such set has keys of its own. */
  sources?: readonly string[] | undefined;
}

export interface SilenceService {
  /** @returns `past` where it would end at once, `full` where there are too many */
  add(input: SilenceInput): Promise<{ silence: SilenceView; isNew: boolean } | 'past' | 'full'>;
  list(): Promise<SilenceView[]>;
  /** @returns false for an unknown silence */
  expire(id: string): Promise<boolean>;
  preview(matchers: Matchers): Promise<SilencePreview>;
}

export interface RuleService {
  /** Of the rules, in the order of the configuration. */
  names(): string[];
  rehearse(since: When): Promise<Rehearsal & { since: number; until: number }>;
}

/** Everything that the HTTP server serves from. */
export interface Services {
  watches: WatchService;
  events: EventService;
  deliveries: DeliveryService;
  alerts: AlertService;
  silences: SilenceService;
  rules: RuleService;
  endpoints: EndpointService;
  polling: PollingService;
  workflows: WorkflowService;
  lookup: LookupService;
  storage: StoreService;
  repeats: RepeatService;
  processes: ProcessService;
  sources: SourceService;
  attention: AttentionService;
  health: HealthService;
}
