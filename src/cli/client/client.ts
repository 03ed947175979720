import { Caller } from './caller.ts';
import type { SseMessage } from './sse.ts';
import { createTransport, type DaemonSettings, type Query } from './transport.ts';
import {
  batchSchema,
  countSchema,
  deliveryDetailSchema,
  deliverySchema,
  endpointSchema,
  endpointTestSchema,
  eventSchema,
  redeliveredSchema,
  rotatedSchema,
  watchSchema,
  sourceSchema,
  workflowSchema,
  type BatchView,
  type DeliveryDetailView,
  type DeliveryView,
  type EndpointTestView,
  type EndpointView,
  type EventView,
  type PageView,
  type RedeliveredView,
  type RotatedView,
  type WatchView,
  type SourceView,
  type WorkflowView,
} from './wire.ts';

/** A request to watch one run, as the API takes it. */
export interface WatchBody {
  run_id: string;
  source?: string;
  endpoints?: string[];
  webhook?: { url: string; events?: string[] };
  metadata?: Record<string, string>;
  timeout?: string;
  profile?: string;
  max_delay?: string;
}

/** Which deliveries go out again, as the API takes it; times are ISO 8601. */
export interface RangeBody {
  endpoint?: string;
  state?: string;
  since?: string;
  until?: string;
  /** Another endpoint that they go to. */
  to?: string;
}

/** How a secret is replaced, as the API takes it. */
interface RotateBody {
  overlap?: string;
  now?: boolean;
}

/** What switches an endpoint to another state. */
export type EndpointSwitch = 'pause' | 'resume';

/** A receiver has up to 30 s to answer a test; ms. */
const TEST_TIMEOUT_MS = 60_000;

/** Names a run; without a source, the one source that has it is meant. */
export interface RunRef {
  runId: string;
  source: string | undefined;
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
  /**
   * False when the run is not watched.
   * @param endpoint only this subscription is ended; false when there is no such one
   */
  unwatch(run: RunRef, endpoint?: string): Promise<boolean>;
  pollNow(run: RunRef): Promise<void>;
  listWatches(query: Query): Promise<PageView<WatchView>>;
  listEvents(query: Query): Promise<PageView<EventView>>;
  /** One connection to the event stream, from after `lastId` on, or from now on. */
  openEvents(query: Query, lastId: string | null): Promise<AsyncIterable<SseMessage>>;
  listDeliveries(query: Query): Promise<PageView<DeliveryView>>;
  /** Null when there is no such delivery. */
  getDelivery(id: string): Promise<DeliveryDetailView | null>;
  /** Null when there is no such delivery. */
  redeliver(id: string, to?: string): Promise<RedeliveredView | null>;
  redeliverRange(range: RangeBody): Promise<{ count: number }>;
  listEndpoints(): Promise<PageView<EndpointView>>;
  testEndpoint(name: string): Promise<EndpointTestView>;
  switchEndpoint(name: string, to: EndpointSwitch): Promise<EndpointView>;
  retryEndpoint(name: string): Promise<{ count: number }>;
  rotateEndpoint(name: string, body: RotateBody): Promise<RotatedView>;
  listPolling(query: Query): Promise<PageView<WorkflowView>>;
  listSources(): Promise<PageView<SourceView>>;
  resumeSource(name: string): Promise<SourceView>;
}

export function createDaemonClient(settings: DaemonSettings, signal: AbortSignal): DaemonClient {
  const transport = createTransport(settings);
  const call = new Caller(transport, signal);
  return {
    url: transport.url,
    registerBatch: (watches) => call.post('/v1/watches/batch', { watches }, batchSchema),
    register: (watch) => call.post('/v1/watches', watch, watchSchema) as Promise<WatchView>,
    getWatch: ({ runId, source }) =>
      call.find(watchPath(runId), watchSchema, { source }) as Promise<WatchView | null>,
    unwatch: ({ runId, source }, endpoint) => call.remove(watchPath(runId), { source, endpoint }),
    pollNow: ({ runId, source }) => call.trigger(`${watchPath(runId)}/poll`, { source }),
    listWatches: (query) => call.page('/v1/watches', query, watchSchema),
    listEvents: (query) => call.page('/v1/events', query, eventSchema),
    openEvents: (query, lastId) => call.stream('/v1/events/stream', query, lastId),
    listDeliveries: (query) => call.page('/v1/deliveries', query, deliverySchema),
    getDelivery: (id) => call.find(deliveryPath(id), deliveryDetailSchema, {}),
    redeliver: (id, to) =>
      call.act(
        `${deliveryPath(id)}/redeliver`,
        redeliveredSchema,
        to === undefined ? undefined : { endpoint: to },
      ),
    redeliverRange: (range) =>
      call.post('/v1/deliveries/redeliver', range, countSchema, { once: true }),
    listEndpoints: () => call.page('/v1/endpoints', {}, endpointSchema),
    testEndpoint: (name) =>
      call.post(endpointPath(name, 'test'), undefined, endpointTestSchema, {
        timeoutMs: TEST_TIMEOUT_MS,
        once: true,
      }),
    switchEndpoint: (name, to) => call.post(endpointPath(name, to), undefined, endpointSchema),
    retryEndpoint: (name) => call.post(endpointPath(name, 'retry'), undefined, countSchema),
    rotateEndpoint: (name, body) =>
      call.post(endpointPath(name, 'rotate'), body, rotatedSchema, { once: true }),
    listPolling: (query) => call.page('/v1/polling', query, workflowSchema),
    listSources: () => call.page('/v1/sources', {}, sourceSchema),
    resumeSource: (name) =>
      call.post(`/v1/sources/${encodeURIComponent(name)}/resume`, undefined, sourceSchema),
  };
}

function deliveryPath(id: string): string {
  return `/v1/deliveries/${encodeURIComponent(id)}`;
}

function endpointPath(name: string, action: string): string {
  return `/v1/endpoints/${encodeURIComponent(name)}/${action}`;
}

function watchPath(runId: string): string {
  return `/v1/watches/${encodeURIComponent(runId)}`;
}
