import { Caller } from './caller.ts';
import type { SseMessage } from './sse.ts';
import { createTransport, type DaemonSettings, type Query } from './transport.ts';
import {
  batchSchema,
  deliveryDetailSchema,
  deliverySchema,
  endpointSchema,
  eventSchema,
  watchSchema,
  type BatchView,
  type DeliveryDetailView,
  type DeliveryView,
  type EndpointView,
  type EventView,
  type PageView,
  type WatchView,
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

/** Names a run; without a source it is looked for in the daemon's default one. */
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
  /** False when the run is not watched. */
  unwatch(run: RunRef): Promise<boolean>;
  pollNow(run: RunRef): Promise<void>;
  listWatches(query: Query): Promise<PageView<WatchView>>;
  listEvents(query: Query): Promise<PageView<EventView>>;
  /** One connection to the event stream, from after `lastId` on, or from now on. */
  openEvents(query: Query, lastId: string | null): Promise<AsyncIterable<SseMessage>>;
  listDeliveries(query: Query): Promise<PageView<DeliveryView>>;
  /** Null when there is no such delivery. */
  getDelivery(id: string): Promise<DeliveryDetailView | null>;
  listEndpoints(): Promise<PageView<EndpointView>>;
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
    unwatch: ({ runId, source }) => call.remove(watchPath(runId), { source }),
    pollNow: ({ runId, source }) => call.trigger(`${watchPath(runId)}/poll`, { source }),
    listWatches: (query) => call.page('/v1/watches', query, watchSchema),
    listEvents: (query) => call.page('/v1/events', query, eventSchema),
    openEvents: (query, lastId) => call.stream('/v1/events/stream', query, lastId),
    listDeliveries: (query) => call.page('/v1/deliveries', query, deliverySchema),
    getDelivery: (id) =>
      call.find(`/v1/deliveries/${encodeURIComponent(id)}`, deliveryDetailSchema, {}),
    listEndpoints: () => call.page('/v1/endpoints', {}, endpointSchema),
  };
}

function watchPath(runId: string): string {
  return `/v1/watches/${encodeURIComponent(runId)}`;
}
