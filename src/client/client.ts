import { z } from 'zod';
import type { SseMessage } from '../core/event/sse.ts';
import { alertSchema, rehearsal } from '../http/schemas/alert.ts';
import { attentionPage } from '../http/schemas/attention.ts';
import {
  deliverySchema,
  deliveryWithAttempts,
  redelivered,
  redeliverCount,
} from '../http/schemas/delivery.ts';
import {
  endpointSchema,
  endpointSecret,
  endpointTest,
  rotatedSecret,
} from '../http/schemas/endpoint.ts';
import { lookupAnswer } from '../http/schemas/lookup.ts';
import { silenceOrReceipt, silencePreview, silenceSchema } from '../http/schemas/silence.ts';
import { sourceSchema } from '../http/schemas/source.ts';
import { processList, readinessSchema, storeSchema } from '../http/schemas/system.ts';
import { timelineSchema } from '../http/schemas/timeline.ts';
import { endedWebhooks, webhookList } from '../http/schemas/watch-webhook.ts';
import { batchResults, watchOrReceipt, watchSchema } from '../http/schemas/watch.ts';
import { workflowPollingSchema, workflowList } from '../http/schemas/workflow.ts';
import { Caller } from './caller.ts';
import { followEvents, loggedEvent, type ConnectionState } from './event-stream.ts';
import { PAGE_SIZE } from './pages.ts';
import { createTransport, type DaemonSettings } from './transport.ts';
import type {
  AlertQuery,
  AttentionQuery,
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
  SilencePreviewBody,
  SilencePreviewView,
  SilenceView,
  BatchView,
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

/** An alert as far as every token may see it. */
const alertReceipt = z.looseObject({ id: z.string(), state: z.string() });
const alertReceipts = z.object({ data: z.array(alertReceipt) });
type AlertReceipt = z.output<typeof alertReceipt>;

/** What switches an endpoint to another state. */
export type EndpointSwitch = 'pause' | 'resume';

/** A receiver has up to 30 s to answer a test; ms. */
const TEST_TIMEOUT_MS = 60_000;

/** Of what an id can be found by its beginning. */
export type LookupKind = LookupView['data'][number]['kind'];

/** Names a run; without a source, the one source that has it is meant. */
export interface RunRef {
  runId: string;
  source: string | undefined;
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
  registerBatch(watches: readonly WatchBody[]): Promise<BatchView>;
  register(watch: WatchBody): Promise<WatchView>;
  /** Null when the run is not watched. */
  getWatch(run: RunRef): Promise<WatchView | null>;
  /** Null when the run is not watched. */
  getTimeline(run: RunRef): Promise<TimelineView | null>;
  /** False when the run is not watched, or there is no such subscription. */
  unwatch(run: RunRef, options?: UnwatchOptions): Promise<boolean>;
  pollNow(run: RunRef): Promise<void>;
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
  getAlert(id: string): Promise<AlertView | null>;
  addSilence(body: object): Promise<SilenceView>;
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
  /** Ids that begin so, an equal one first; none from a daemon that cannot say. */
  lookup(query: LookupQuery): Promise<{ data: LookupView['data']; isMore: boolean }>;
  /** What needs a person, oldest first. */
  readAttention(query?: AttentionQuery): Promise<AttentionView>;
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
}

/**
 * A client of the daemon's API: `import { createClient } from 'runwatchd/client'`. Without options it
 * expects a daemon on this machine that needs no token.
 */
export function createClient(options: ClientOptions = {}): RunwatchClient {
  const { signal = new AbortController().signal, ...settings } = options;
  const client = createDaemonClient({ ...DEFAULT_SETTINGS, ...settings }, signal);
  return { ...client, events: (asked = {}) => eventsOf(client, asked, signal) };
}

export function createDaemonClient(settings: DaemonSettings, signal: AbortSignal): DaemonClient {
  const transport = createTransport(settings);
  const call = new Caller(transport, signal);
  return {
    url: transport.url,
    ...watchCalls(call),
    ...alertCalls(call),
    ...deliveryCalls(call),
    ...endpointCalls(call),
    ...otherCalls(call),
  };
}

function watchCalls(call: Caller) {
  return {
    registerBatch: (watches) => call.post('/v1/watches/batch', { watches }, batchResults),
    register: (watch) => call.post('/v1/watches', watch, watchSchema),
    getWatch: ({ runId, source }) => call.find(watchPath(runId), watchSchema, { source }),
    getTimeline: ({ runId, source }) =>
      call.find(`${watchPath(runId)}/timeline`, timelineSchema, { source }),
    unwatch: ({ runId, source }, { endpoint, purge } = {}) =>
      call.remove(watchPath(runId), {
        source,
        endpoint,
        ...(purge === true && { purge: 'true' }),
      }),
    pollNow: ({ runId, source }) => call.trigger(`${watchPath(runId)}/poll`, { source }),
    acknowledge: ({ runId, source }, body) =>
      call.act(acknowledgePath(watchPath(runId)), watchOrReceipt, { body, query: { source } }),
    withdraw: ({ runId, source }) => call.remove(acknowledgePath(watchPath(runId)), { source }),
    listWatches: (query) => call.page('/v1/watches', query, watchSchema),
    listEvents: ({ cursor, ...query }) =>
      call.page(
        '/v1/events',
        { ...query, ...(cursor !== undefined && { after: cursor }) },
        loggedEvent,
      ),
    openEvents: (query, lastId) => call.stream('/v1/events/stream', query, lastId),
  } satisfies Partial<DaemonClient>;
}

function deliveryCalls(call: Caller) {
  return {
    listDeliveries: (query) => call.page('/v1/deliveries', query, deliverySchema),
    getDelivery: (id) => call.find(deliveryPath(id), deliveryWithAttempts, {}),
    redeliver: (id, to) =>
      call.act(
        `${deliveryPath(id)}/redeliver`,
        redelivered,
        to === undefined ? {} : { body: { endpoint: to } },
      ),
    redeliverRange: (range) =>
      call.post('/v1/deliveries/redeliver', range, redeliverCount, { once: true }),
  } satisfies Partial<DaemonClient>;
}

function endpointCalls(call: Caller) {
  return {
    listEndpoints: () => call.page('/v1/endpoints', {}, endpointSchema),
    listWebhooks: (query = {}) => call.get('/v1/webhooks', webhookList, query),
    endWebhooks: (query) => call.erase('/v1/webhooks', endedWebhooks, query),
    testEndpoint: (name) =>
      call.post(endpointPath(name, 'test'), undefined, endpointTest, {
        timeoutMs: TEST_TIMEOUT_MS,
        once: true,
      }),
    switchEndpoint: (name, to) => call.post(endpointPath(name, to), undefined, endpointSchema),
    retryEndpoint: (name) => call.post(endpointPath(name, 'retry'), undefined, redeliverCount),
    endpointSecret: (name) => call.get(endpointPath(name, 'secret'), endpointSecret),
    rotateEndpoint: (name, body) =>
      call.post(endpointPath(name, 'rotate'), body, rotatedSecret, { once: true }),
  } satisfies Partial<DaemonClient>;
}

function otherCalls(call: Caller) {
  return {
    async lookup(query) {
      // A daemon of an older version, or a token that may not read, leaves ids as they were typed.
      const found = await call.findAllowed('/v1/lookup', lookupAnswer, query);
      return { data: found?.data ?? [], isMore: found?.more === true };
    },
    readAttention: (query = {}) => call.get('/v1/attention', attentionPage, query),
    listWorkflows: (query = {}) => call.get('/v1/workflows', workflowList, query),
    listPolling: (query) => call.page('/v1/polling', query, workflowPollingSchema),
    listSources: () => call.page('/v1/sources', {}, sourceSchema),
    listProcesses: () => call.get('/v1/processes', processList),
    describeStore: () => call.find('/v1/store', storeSchema, {}),
    readiness: () => call.get('/readyz', readinessSchema, { format: 'json' }, 503),
    resumeSource: (name) =>
      call.post(`/v1/sources/${encodeURIComponent(name)}/resume`, undefined, sourceSchema),
  } satisfies Partial<DaemonClient>;
}

/** What the client does with alerts, silences and rules. */
function alertCalls(call: Caller) {
  return {
    acknowledgeAlert: (id, body) =>
      call.act(acknowledgePath(alertPath(id)), alertReceipt, { body }),
    withdrawAlert: (id) => call.remove(acknowledgePath(alertPath(id)), {}),
    resolveAlert: (id, body) => call.act(`${alertPath(id)}/resolve`, alertReceipt, { body }),
    async alertIds() {
      const page = await call.findAllowed('/v1/alerts', alertReceipts, { limit: PAGE_SIZE });
      return page?.data.map(({ id }) => id) ?? [];
    },
    listAlerts: (query) => call.page('/v1/alerts', query, alertSchema),
    getAlert: (id) => call.find(alertPath(id), alertSchema, {}),
    addSilence: (body) => call.post('/v1/silences', body, silenceOrReceipt) as Promise<SilenceView>,
    listSilences: () => call.page('/v1/silences', {}, silenceSchema),
    expireSilence: (id) => call.remove(`/v1/silences/${encodeURIComponent(id)}`, {}),
    previewSilence: (body) => call.post('/v1/silences/preview', body, silencePreview),
    testRules: (body) => call.post('/v1/rules/test', body, rehearsal),
  } satisfies Partial<DaemonClient>;
}

function deliveryPath(id: string): string {
  return `/v1/deliveries/${encodeURIComponent(id)}`;
}

function alertPath(id: string): string {
  return `/v1/alerts/${encodeURIComponent(id)}`;
}

function acknowledgePath(of: string): string {
  return `${of}/acknowledge`;
}

function endpointPath(name: string, action: string): string {
  return `/v1/endpoints/${encodeURIComponent(name)}/${action}`;
}

function watchPath(runId: string): string {
  return `/v1/watches/${encodeURIComponent(runId)}`;
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
