import type { Acknowledged } from '../alert/engine.ts';
import type { ShownAlert } from '../alert/event.ts';
import type { Finding } from '../config/problems.ts';
import type { RuleSections } from '../config/schema.ts';
import type { Rehearsal } from '../alert/rehearse.ts';
import type { SilencePreview } from '../alert/silences.ts';
import type { Alert, AlertQuery } from '../core/alert/alert.ts';
import type { Matchers, Silence, SilenceRefusal, SilenceState } from '../core/alert/silence.ts';
import type { InputIssue } from '../core/errors.ts';
import type { Page, CountedPage } from '../core/page.ts';
import type { ClosedSource } from '../core/source/throttle.ts';
import type { Until, When, WhenRange } from '../core/time.ts';
import type { WatchRequest } from '../core/watch/register.ts';
import type { Timeline } from '../core/watch/timeline.ts';
import type { Watch, WatchFilter } from '../core/watch/watch.ts';
import type { RepeatService } from './idempotency.ts';
import type { AttentionService } from './routes/attention.ts';
import type { DeliveryService } from './routes/deliveries.ts';
import type { EndpointService } from './routes/endpoints.ts';
import type { EventService } from './routes/events.ts';
import type { HealthService } from './routes/health.ts';
import type { LookupService } from './routes/lookup.ts';
import type { SourceService } from './routes/sources.ts';
import type { StoreService, ProcessService } from './routes/system.ts';
import type { WebhookService } from './routes/webhooks.ts';
import type { WorkflowService, PollingService } from './routes/workflows.ts';
import type { EndedSessions } from './session.ts';

/** A watch with the name of its workflow and the address of its run; `presentWatch` picks what is shown. */
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
  /** The token of the request has registered as many active watches as it may. */
  | { kind: 'too_many_watches' }
  /** The request names something that does not exist or may not be; nothing was changed by it. */
  | { kind: 'invalid'; issues: InputIssue[] };

/** The times are those of a watch's last change. */
export interface WatchQuery extends WatchFilter, WhenRange {
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

/** The token that registers watches. */
export interface Registrant {
  /** Its name; null where none was needed. */
  token: string | null;
  /** The sources that its requests may name; absent, all. */
  sources?: readonly string[];
  /** The most active watches that it may have registered; null for any number. */
  mostWatches: number | null;
}

/** A watch by its run. Of several sources, the one that has it is meant. */
export interface WatchName {
  /** The sources that may be meant; absent, all that are configured. */
  sources?: readonly string[];
  runId: string;
}

/** What the API does with watches. By name, it throws RunwatchError `several_sources`. */
export interface WatchService {
  /** One result per request, in order; a bad one spoils no other. */
  register(requests: WatchRequest[], by: Registrant): Promise<WatchResult[]>;
  get(name: WatchName): Promise<WatchView | null>;
  /** Newest first. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  list(query: WatchQuery): Promise<CountedPage<WatchView>>;
  /** Whether any watch, or one of these sources, has a run of this status. */
  hasStatus(status: string, sources?: readonly string[]): Promise<boolean>;
  /** Whether a workflow is configured, or any watch, or one of these sources, has a run of it. */
  hasWorkflow(workflowId: string, sources?: readonly string[]): Promise<boolean>;
  /** Whether a source is configured, or any watch has a run of it. */
  hasSource(source: string): Promise<boolean>;
  /** The sources that are configured. */
  sources: readonly string[];
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

export interface AlertService {
  /** Newest first. Throws RunwatchError `invalid_cursor`. */
  list(query: AlertQuery): Promise<Page<Alert>>;
  get(id: string): Promise<Alert | null>;
  /**
   * Alerts in the shape that users see.
   * @param sources those that the user is limited to; absent for all
   */
  showAll(alerts: readonly Alert[], sources?: readonly string[]): Promise<ShownAlert[]>;
  /** {@link showAll} of one. */
  show(alert: Alert, sources?: readonly string[]): Promise<ShownAlert>;
  /** @returns `over` where it has resolved, `past` where the acknowledgement would expire at once */
  acknowledge(id: string, request: AcknowledgeInput): Promise<Acknowledged | 'past'>;
  withdraw(id: string): Promise<Acknowledged>;
  /** Ends an alert by hand. @returns it as it has ended, now or before; null for an unknown one */
  resolve(id: string, request: Pick<AcknowledgeInput, 'by' | 'comment'>): Promise<Alert | null>;
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
  /** The name of its token; absent for none. */
  token?: string;
  /** Those that its token is limited to; absent for all. Each such set has keys of its own. */
  sources?: readonly string[] | undefined;
}

export interface SilenceService {
  /**
   * @returns `past` where it would end at once, `full` where there are too many, `share` where there are too
   *   many of its token
   */
  add(
    input: SilenceInput,
  ): Promise<{ silence: SilenceView; isNew: boolean } | 'past' | 'far' | SilenceRefusal>;
  list(): Promise<SilenceView[]>;
  /** @returns false for an unknown silence */
  expire(id: string): Promise<boolean>;
  preview(matchers: Matchers): Promise<SilencePreview>;
}

/** A rehearsal, with the names of the rules in their order. Times are milliseconds since the epoch. */
interface RehearsedRules extends Rehearsal {
  names: string[];
  since: number;
  until: number;
}

export interface RuleService {
  /**
   * What rules would have sent for stored events.
   * @param sections stand in for those of the configuration
   * @returns instead what of them does not go together
   */
  rehearse(
    since: When,
    sections: Partial<RuleSections>,
  ): Promise<RehearsedRules | { findings: readonly Finding[] }>;
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
  webhooks: WebhookService;
  polling: PollingService;
  workflows: WorkflowService;
  lookup: LookupService;
  storage: StoreService;
  repeats: RepeatService;
  endedSessions: EndedSessions;
  processes: ProcessService;
  sources: SourceService;
  attention: AttentionService;
  health: HealthService;
}
