import { z } from 'zod';
import type { SseMessage } from '../core/event/sse.ts';
import { routes, type Answer, type Routes } from '../http/schemas/routes.ts';
import { readinessSchema } from '../http/schemas/system.ts';
import { Caller } from './caller.ts';
import { followEvents, loggedEvent, type ConnectionState } from './event-stream.ts';
import { PAGE_SIZE } from './pages.ts';
import { waitForResults, type WaitOptions, type WaitResult } from './wait.ts';
import { createTransport, type DaemonSettings } from './transport.ts';
import type {
  AlertDetailView,
  AlertQuery,
  AttentionQuery,
  AuditQuery,
  AuditView,
  DeliveryQuery,
  EventQuery,
  EventStreamQuery,
  LookupQuery,
  PollingQuery,
  WatchQuery,
  WebhookQuery,
  WorkflowQuery,
  AcknowledgeBody,
  AcknowledgedView,
  AttentionView,
  AlertView,
  RehearsalView,
  RehearseBody,
  ResolveBody,
  SilenceBody,
  SilencePreviewBody,
  SilencePreviewView,
  SilenceView,
  BatchQuery,
  BatchView,
  OneBatchView,
  CountView,
  DeliveryDetailView,
  DeliveryView,
  EndpointTestView,
  EndpointView,
  AnyEventView,
  LookupView,
  PageView,
  ProcessesView,
  RangeBody,
  ReadinessView,
  RedeliveredView,
  RotateBody,
  EndpointSecretView,
  RotatedView,
  SourceView,
  StopView,
  StoreView,
  TimelineView,
  WatchBody,
  WatchView,
  WorkflowsView,
  WorkflowView,
  WebhooksView,
} from './types.ts';

export { RunwatchError } from '../core/errors.ts';
export { collectPages, paginate } from './pages.ts';
export { isRunEvent } from './types.ts';
export type * from './types.ts';
export type { WaitOptions, WaitResult } from './wait.ts';

/** Alerts, as far as ids are asked for. */
const alertReceipts = z.object({ data: z.array(z.looseObject({ id: z.string() })) });

/** Runs whose failures are meant: those of a workflow, or by null those of a source that have none. */
export interface FailedRuns {
  source: string;
  workflowId: string | null;
}

type AcknowledgedFailures = Answer<Routes['workflows']['acknowledge']>;
/** An alert as far as every token may see it. */
type AlertReceipt = Answer<Routes['alerts']['acknowledge']>;

/** What switches an endpoint to another state. */
export type EndpointSwitch = 'pause' | 'resume';

/** A receiver has up to 30 s to answer a test; ms. */
const TEST_TIMEOUT_MS = 60_000;

/** A source has up to 20 s to answer, after 5 s in which a permit is waited for; ms. */
const STOP_TIMEOUT_MS = 60_000;

/** Of what an id can be found by its beginning. */
export type LookupKind = LookupView['data'][number]['kind'];

/** Names a run; without a source, the one source that has it is meant. */
export interface RunRef {
  runId: string;
  source?: string | undefined;
}

interface UnwatchOptions {
  /** Only this subscription is ended. */
  endpoint?: string | undefined;
  /** Also erases the record, events and deliveries. */
  purge?: boolean | undefined;
}

/**
 * The daemon's API. Answers are checked and then given as they came. Every call throws RunwatchError:
 * `daemon_unreachable`, `not_a_daemon`, `unauthorized`, or the code of the daemon's problem document.
 */
export interface DaemonClient {
  readonly url: string;
  /** With `batch`, all join that batch, which is closed then unless it is to stay `open`. */
  registerBatch(
    watches: readonly WatchBody[],
    joining?: { batch: string; open: boolean },
  ): Promise<BatchView>;
  /** Runs that are waited for together, newest first. */
  listBatches(query: BatchQuery): Promise<PageView<OneBatchView>>;
  /** By its name or id; null where there is none. */
  getBatch(name: string): Promise<OneBatchView | null>;
  /** For a token that may not read, the answer has `run_id` and `source` alone. */
  register(watch: WatchBody): Promise<WatchView>;
  /** Null when the run is not watched. */
  getWatch(run: RunRef): Promise<WatchView | null>;
  /** Null when the run is not watched. */
  getTimeline(run: RunRef): Promise<TimelineView | null>;
  /** False when the run is not watched, or there is no such subscription. */
  unwatch(run: RunRef, options?: UnwatchOptions): Promise<boolean>;
  pollNow(run: RunRef): Promise<void>;
  /** Has the source stop the run. Throws RunwatchError `watch_not_found`, too. */
  stop(run: RunRef): Promise<StopView>;
  /** Null when the run is not watched. */
  acknowledge(run: RunRef, body: AcknowledgeBody): Promise<AcknowledgedView | null>;
  /** False when the run is not watched. */
  withdraw(run: RunRef): Promise<boolean>;
  /** Null when there is no such alert. */
  acknowledgeAlert(id: string, body: AcknowledgeBody): Promise<AlertReceipt | null>;
  /** False when there is no such alert. */
  withdrawAlert(id: string): Promise<boolean>;
  /** Ends an alert by hand. Null when there is no such alert. */
  resolveAlert(id: string, body: ResolveBody): Promise<AlertReceipt | null>;
  /** Ids of the newest alerts; none for a token that may not read. */
  alertIds(): Promise<string[]>;
  listAlerts(query: AlertQuery): Promise<PageView<AlertView>>;
  /** Null when there is no such alert. */
  getAlert(id: string): Promise<AlertDetailView | null>;
  addSilence(body: SilenceBody): Promise<SilenceView>;
  listSilences(): Promise<PageView<SilenceView>>;
  /** False when there is no such silence. */
  expireSilence(id: string): Promise<boolean>;
  previewSilence(body: SilencePreviewBody): Promise<SilencePreviewView>;
  /** Other rules than those in force where the body has some. */
  testRules(body: RehearseBody): Promise<RehearsalView>;
  listWatches(query: WatchQuery): Promise<PageView<WatchView>>;
  /** `cursor` and `after` are the same. Those of runs, unless `type` names others; see `isRunEvent`. */
  listEvents(query: EventQuery): Promise<PageView<AnyEventView>>;
  /** One connection to the event stream, from after `lastId` on, or from now on. */
  openEvents(query: EventStreamQuery, lastId: string | null): Promise<AsyncIterable<SseMessage>>;
  listDeliveries(query: DeliveryQuery): Promise<PageView<DeliveryView>>;
  /** Null when there is no such delivery. */
  getDelivery(id: string): Promise<DeliveryDetailView | null>;
  /** Null when there is no such delivery. */
  redeliver(id: string, to?: string): Promise<RedeliveredView | null>;
  redeliverRange(range: RangeBody): Promise<CountView>;
  listEndpoints(): Promise<PageView<EndpointView>>;
  /** Webhooks of active watches; by `token`, those that it registered. */
  listWebhooks(query?: WebhookQuery): Promise<WebhooksView>;
  /** Ends those of a token or a source. */
  endWebhooks(query: WebhookQuery): Promise<CountView>;
  testEndpoint(name: string): Promise<EndpointTestView>;
  switchEndpoint(name: string, to: EndpointSwitch): Promise<EndpointView>;
  retryEndpoint(name: string): Promise<CountView>;
  /** Of an endpoint that has none of its own. */
  endpointSecret(name: string): Promise<EndpointSecretView>;
  rotateEndpoint(name: string, body: RotateBody): Promise<RotatedView>;
  /** Ids that begin so, an equal one first, or the run of a URL; none, and no `tried`, from a daemon that does not say. */
  lookup(
    query: LookupQuery,
  ): Promise<{ data: LookupView['data']; isMore: boolean; tried?: string[] | undefined }>;
  /** What needs a person, oldest first. */
  readAttention(query?: AttentionQuery): Promise<AttentionView>;
  /** What users did, newest first. */
  listAudit(query: AuditQuery): Promise<PageView<AuditView>>;
  /** Throws RunwatchError `nothing_failed`, too. */
  acknowledgeFailures(failed: FailedRuns, body: AcknowledgeBody): Promise<AcknowledgedFailures>;
  /** Throws RunwatchError `nothing_failed`, too. */
  withdrawFailures(failed: FailedRuns): Promise<void>;
  listWorkflows(query?: WorkflowQuery): Promise<WorkflowsView>;
  listPolling(query: PollingQuery): Promise<PageView<WorkflowView>>;
  listSources(): Promise<PageView<SourceView>>;
  resumeSource(name: string): Promise<SourceView>;
  listProcesses(): Promise<ProcessesView>;
  /** Null from a daemon of an older version. */
  describeStore(): Promise<StoreView | null>;
  /** The checks of readiness, also of a daemon that is not ready. */
  readiness(): Promise<ReadinessView>;
}

/** How to reach a daemon; see {@link createClient}. */
export interface ClientOptions extends Partial<DaemonSettings> {
  /** Ends everything that the client does. */
  signal?: AbortSignal;
}

const DEFAULT_SETTINGS: DaemonSettings = {
  url: 'http://127.0.0.1:8787',
  token: undefined,
  userAgent: 'runwatch-client',
  timeoutMs: 30_000,
  startupMs: 0,
};

/** A {@link DaemonClient} with what programs like to have besides. */
export interface RunwatchClient extends DaemonClient {
  /** Events as they happen, across lost connections and restarts of the daemon; see `followEvents`. */
  events(options?: EventsOptions): AsyncGenerator<AnyEventView>;
  /**
   * Waits until there is a result for each run, as `runwatch wait` does, across restarts of the daemon; a run
   * that is not watched is registered without receivers.
   */
  wait(
    runs: string | RunRef | readonly (string | RunRef)[],
    options?: WaitOptions,
  ): Promise<WaitResult[]>;
}

/**
 * A client of the daemon's API: `import { createClient } from 'runwatchd/client'`. Without options it
 * expects a daemon on this machine that needs no token.
 */
export function createClient(options: ClientOptions = {}): RunwatchClient {
  const { signal = new AbortController().signal, ...settings } = options;
  const connect = (ends: AbortSignal) =>
    createDaemonClient({ ...DEFAULT_SETTINGS, ...settings }, ends);
  const client = connect(signal);
  return {
    ...client,
    events: (asked = {}) => eventsOf(client, asked, signal),
    wait: (runs, asked = {}) => waitForResults(connect, runs, asked, signal),
  };
}

export function createDaemonClient(settings: DaemonSettings, signal: AbortSignal): DaemonClient {
  const transport = createTransport(settings);
  const api = new Caller(transport, signal);
  return {
    url: transport.url,
    ...watchCalls(api),
    ...alertCalls(api),
    ...deliveryCalls(api),
    ...endpointCalls(api),
    ...otherCalls(api),
  };
}

function watchCalls(api: Caller) {
  const { watches, batches, stops, events } = routes;
  return {
    registerBatch: (all, joining) =>
      api.call(watches.registerBatch, { body: { watches: [...all], ...joining } }),
    listBatches: (query) => api.list(batches.list, { query }),
    getBatch: (name) => api.find(batches.get, { params: { name } }),
    register: (body) => api.call(watches.register, { body }) as Promise<WatchView>,
    getWatch: (run) => api.find(watches.get, runNamed(run)),
    getTimeline: (run) => api.find(watches.timeline, runNamed(run)),
    unwatch: ({ runId, source }, { endpoint, purge } = {}) =>
      api.end(watches.unwatch, {
        params: { run_id: runId },
        query: { source, endpoint, purge: purge === true ? 'true' : undefined },
      }),
    pollNow: (run) => api.trigger(watches.poll, runNamed(run)),
    stop: (run) => api.call(stops.stop, runNamed(run), { timeoutMs: STOP_TIMEOUT_MS, once: true }),
    acknowledge: (run, body) => api.find(watches.acknowledge, { ...runNamed(run), body }),
    withdraw: (run) => api.end(watches.withdraw, runNamed(run)),
    listWatches: (query) => api.list(watches.list, { query }),
    listEvents: ({ cursor, ...query }) =>
      api.list(
        events.list,
        { query: { ...query, ...(cursor !== undefined && { after: cursor }) } },
        loggedEvent,
      ),
    openEvents: (query, lastId) => api.stream(events.stream, query, lastId),
  } satisfies Partial<DaemonClient>;
}

function runNamed({ runId, source }: RunRef) {
  return { params: { run_id: runId }, query: { source } };
}

function deliveryCalls(api: Caller) {
  const { deliveries } = routes;
  return {
    listDeliveries: (query) => api.list(deliveries.list, { query }),
    getDelivery: (id) => api.find(deliveries.get, { params: { id } }),
    redeliver: (id, to) =>
      api.find(deliveries.redeliver, {
        params: { id },
        body: to === undefined ? undefined : { endpoint: to },
      }),
    redeliverRange: (body) => api.call(deliveries.redeliverRange, { body }, { once: true }),
  } satisfies Partial<DaemonClient>;
}

function endpointCalls(api: Caller) {
  const { endpoints, webhooks } = routes;
  return {
    listEndpoints: () => api.list(endpoints.list, {}),
    listWebhooks: (query = {}) => api.call(webhooks.list, { query }),
    endWebhooks: (query) => api.call(webhooks.end, { query }),
    testEndpoint: (name) =>
      api.call(endpoints.test, endpointNamed(name), { timeoutMs: TEST_TIMEOUT_MS, once: true }),
    switchEndpoint: (name, to) => api.call(endpoints[to], endpointNamed(name)),
    retryEndpoint: (name) => api.call(endpoints.retry, endpointNamed(name)),
    endpointSecret: (name) => api.call(endpoints.secret, endpointNamed(name)),
    rotateEndpoint: (name, body) =>
      api.call(endpoints.rotate, { ...endpointNamed(name), body }, { once: true }),
  } satisfies Partial<DaemonClient>;
}

function endpointNamed(name: string) {
  return { params: { name } };
}

function otherCalls(api: Caller) {
  return {
    async lookup(query) {
      // A daemon of an older version, or a token that may not read, leaves ids as they were typed.
      const found = await api.find(routes.lookup.find, { query }, [403, 404]);
      return { data: found?.data ?? [], isMore: found?.more === true, tried: found?.tried };
    },
    readAttention: (query = {}) => api.call(routes.attention.list, { query }),
    listAudit: (query) => api.list(routes.audit.list, { query }),
    acknowledgeFailures: ({ source, workflowId }, body) =>
      workflowId === null
        ? api.call(routes.sources.acknowledge, { params: { name: source }, body })
        : api.call(routes.workflows.acknowledge, {
            params: { source, workflow_id: workflowId },
            body,
          }),
    async withdrawFailures({ source, workflowId }) {
      await (workflowId === null
        ? api.call(routes.sources.withdraw, { params: { name: source } })
        : api.call(routes.workflows.withdraw, { params: { source, workflow_id: workflowId } }));
    },
    listWorkflows: (query = {}) => api.call(routes.workflows.list, { query }),
    listPolling: (query) => api.list(routes.polling.list, { query }),
    listSources: () => api.list(routes.sources.list, {}),
    listProcesses: () => api.call(routes.processes.list, {}),
    describeStore: () => api.find(routes.storage.describe, {}),
    readiness: () => api.get('/readyz', readinessSchema, { format: 'json' }, 503),
    resumeSource: (name) => api.call(routes.sources.resume, { params: { name } }),
  } satisfies Partial<DaemonClient>;
}

/** What the client does with alerts, silences and rules. */
function alertCalls(api: Caller) {
  const { alerts, silences, rules } = routes;
  return {
    acknowledgeAlert: (id, body) => api.find(alerts.acknowledge, { params: { id }, body }),
    withdrawAlert: (id) => api.end(alerts.withdraw, { params: { id } }),
    resolveAlert: (id, body) => api.find(alerts.resolve, { params: { id }, body }),
    async alertIds() {
      const query = { limit: PAGE_SIZE };
      const page = await api.find(alerts.list, { query }, [403, 404], alertReceipts);
      return page?.data.map(({ id }) => id) ?? [];
    },
    listAlerts: (query) => api.list(alerts.list, { query }),
    getAlert: (id) => api.find(alerts.get, { params: { id } }),
    addSilence: (body) => api.call(silences.add, { body }) as Promise<SilenceView>,
    listSilences: () => api.list(silences.list, {}),
    expireSilence: (id) => api.end(silences.expire, { params: { id } }),
    previewSilence: (body) => api.call(silences.preview, { body }),
    testRules: (body) => api.call(rules.test, { body }),
  } satisfies Partial<DaemonClient>;
}

/** Which events to follow. */
export interface EventsOptions {
  /** Filters of `GET /v1/events/stream`, such as `type: 'run.failed'`. */
  query?: EventStreamQuery;
  /** The id of an event, or a cursor: only what comes after it. */
  after?: string;
  signal?: AbortSignal;
  onConnection?: (state: ConnectionState) => void;
}

function eventsOf(
  client: DaemonClient,
  { query = {}, after, signal, onConnection = () => undefined }: EventsOptions,
  ends: AbortSignal,
): AsyncGenerator<AnyEventView> {
  return followEvents({
    client,
    query,
    after: after ?? null,
    signal: signal === undefined ? ends : AbortSignal.any([ends, signal]),
    random: Math.random,
    onConnection,
  });
}
