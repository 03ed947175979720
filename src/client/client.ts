import { z } from 'zod';
import { misfit, notADaemon, problemError } from './errors.ts';
import type { SseMessage } from '../core/event/sse.ts';
import {
  deliverySchema,
  deliveryWithAttempts,
  redelivered,
  redeliverCount,
} from '../http/schemas/delivery.ts';
import { endpointSchema, endpointTest, rotatedSecret } from '../http/schemas/endpoint.ts';
import { lookupAnswer } from '../http/schemas/lookup.ts';
import { eventOfAnyType } from '../http/schemas/event.ts';
import { workflowPollingSchema } from '../http/schemas/polling.ts';
import { sourceSchema } from '../http/schemas/source.ts';
import { timelineSchema } from '../http/schemas/timeline.ts';
import { batchResults, watchOrReceipt, watchSchema } from '../http/schemas/watch.ts';
import { readSse } from './event-stream.ts';
import { createTransport, type DaemonSettings, type Query, type Transport } from './transport.ts';
import type {
  AcknowledgeBody,
  AcknowledgedView,
  BatchView,
  CountView,
  DeliveryDetailView,
  DeliveryView,
  EndpointTestView,
  EndpointView,
  EventView,
  LookupView,
  PageView,
  RangeBody,
  RedeliveredView,
  RotateBody,
  RotatedView,
  SourceView,
  TimelineView,
  WatchBody,
  WatchView,
  WorkflowView,
} from './types.ts';

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

interface LookupQuery {
  kind: LookupKind;
  prefix: string;
  limit: number;
}

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
  /** Ids of the newest alerts; none for a token that may not read. */
  alertIds(): Promise<string[]>;
  listWatches(query: Query): Promise<PageView<WatchView>>;
  listEvents(query: Query): Promise<PageView<EventView>>;
  /** One connection to the event stream, from after `lastId` on, or from now on. */
  openEvents(query: Query, lastId: string | null): Promise<AsyncIterable<SseMessage>>;
  listDeliveries(query: Query): Promise<PageView<DeliveryView>>;
  /** Null when there is no such delivery. */
  getDelivery(id: string): Promise<DeliveryDetailView | null>;
  /** Null when there is no such delivery. */
  redeliver(id: string, to?: string): Promise<RedeliveredView | null>;
  redeliverRange(range: RangeBody): Promise<CountView>;
  listEndpoints(): Promise<PageView<EndpointView>>;
  testEndpoint(name: string): Promise<EndpointTestView>;
  switchEndpoint(name: string, to: EndpointSwitch): Promise<EndpointView>;
  retryEndpoint(name: string): Promise<CountView>;
  rotateEndpoint(name: string, body: RotateBody): Promise<RotatedView>;
  /** Ids that begin so, an equal one first; none from a daemon that cannot say. */
  lookup(query: LookupQuery): Promise<{ data: LookupView['data']; isMore: boolean }>;
  /** What needs a person, oldest first. */
  readAttention(): Promise<AttentionView>;
  addSilence(body: object): Promise<Record<string, unknown>>;
  listPolling(query: Query): Promise<PageView<WorkflowView>>;
  listSources(): Promise<PageView<SourceView>>;
  resumeSource(name: string): Promise<SourceView>;
}

function sourceCalls(call: Caller): Pick<DaemonClient, 'listSources' | 'resumeSource'> {
  return {
    listSources: () => call.page('/v1/sources', {}, sourceSchema),
    resumeSource: (name) =>
      call.post(`/v1/sources/${encodeURIComponent(name)}/resume`, undefined, sourceSchema),
  };
}

function attentionCalls(call: Caller): Pick<DaemonClient, 'readAttention' | 'addSilence'> {
  return {
    readAttention: () => call.get('/v1/attention', attentionView),
    addSilence: (body) => call.post('/v1/silences', body, z.looseObject({})),
  };
}

/** What is read of it here; the answer has more. */
const attentionView = z.looseObject({
  data: z.array(z.looseObject({ kind: z.string(), since: z.string(), message: z.string() })),
});

type AttentionView = z.output<typeof attentionView>;

export function createDaemonClient(settings: DaemonSettings, signal: AbortSignal): DaemonClient {
  const transport = createTransport(settings);
  const call = new Caller(transport, signal);
  return {
    url: transport.url,
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
    acknowledgeAlert: (id, body) =>
      call.act(acknowledgePath(alertPath(id)), alertReceipt, { body }),
    withdrawAlert: (id) => call.remove(acknowledgePath(alertPath(id)), {}),
    async alertIds() {
      const page = await call.findAllowed('/v1/alerts', alertReceipts, { limit: PAGE_SIZE });
      return page?.data.map(({ id }) => id) ?? [];
    },
    listWatches: (query) => call.page('/v1/watches', query, watchSchema),
    listEvents: (query) => call.page('/v1/events', query, eventOfAnyType),
    openEvents: (query, lastId) => call.stream('/v1/events/stream', query, lastId),
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
    listEndpoints: () => call.page('/v1/endpoints', {}, endpointSchema),
    testEndpoint: (name) =>
      call.post(endpointPath(name, 'test'), undefined, endpointTest, {
        timeoutMs: TEST_TIMEOUT_MS,
        once: true,
      }),
    switchEndpoint: (name, to) => call.post(endpointPath(name, to), undefined, endpointSchema),
    retryEndpoint: (name) => call.post(endpointPath(name, 'retry'), undefined, redeliverCount),
    rotateEndpoint: (name, body) =>
      call.post(endpointPath(name, 'rotate'), body, rotatedSecret, { once: true }),
    async lookup({ ...query }) {
      // A daemon of an older version, or a token that may not read, leaves ids as they were typed.
      const found = await call.findAllowed('/v1/lookup', lookupAnswer, query);
      return { data: found?.data ?? [], isMore: found?.more === true };
    },
    ...attentionCalls(call),
    listPolling: (query) => call.page('/v1/polling', query, workflowPollingSchema),
    ...sourceCalls(call),
  };
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

interface PostOptions {
  /** For answers that take longer than others. */
  timeoutMs?: number;
  /** True where doing it twice would do harm. */
  once?: boolean;
}

/**
 * The few shapes that calls of the API have. Bodies are checked by a schema and given as they came;
 * what is not a 2xx becomes an error.
 */
class Caller {
  readonly #transport: Transport;
  readonly #signal: AbortSignal;

  constructor(transport: Transport, signal: AbortSignal) {
    this.#transport = transport;
    this.#signal = signal;
  }

  async post<Schema extends z.ZodType>(
    path: string,
    body: unknown,
    schema: Schema,
    options: PostOptions = {},
  ) {
    return this.#checked(await this.#send('POST', path, { body, ...options }), schema);
  }

  /** Does something with what the path names; null when there is no such thing. */
  async act<Schema extends z.ZodType>(
    path: string,
    schema: Schema,
    given: { body?: unknown; query?: Query } = {},
  ) {
    const answer = await this.#send('POST', path, given, 404);
    return answer === MISSING ? null : this.#checked(answer, schema);
  }

  async get<Schema extends z.ZodType>(path: string, schema: Schema) {
    return this.#checked(await this.#send('GET', path, {}), schema);
  }

  async find<Schema extends z.ZodType>(path: string, schema: Schema, query: Query) {
    const found = await this.#send('GET', path, { query }, 404);
    return found === MISSING ? null : this.#checked(found, schema);
  }

  /** {@link find}, and null as well where the token may not read it. */
  async findAllowed<Schema extends z.ZodType>(path: string, schema: Schema, query: Query) {
    const found = await this.#send('GET', path, { query }, 404, 403);
    return found === MISSING ? null : this.#checked(found, schema);
  }

  async remove(path: string, query: Query): Promise<boolean> {
    const answer = await this.#send('DELETE', path, { query }, 404);
    if (answer !== MISSING) this.#empty(answer);
    return answer !== MISSING;
  }

  async trigger(path: string, query: Query): Promise<void> {
    await this.#send('POST', path, { query });
  }

  async page<Item>(path: string, query: Query, item: z.ZodType): Promise<PageView<Item>> {
    const body = await this.#send('GET', path, { query });
    const page = this.#checked(body, pageSchema);
    for (const one of page.data) this.#checked(one, item);
    return page as PageView<Item>;
  }

  async stream(path: string, query: Query, lastId: string | null) {
    const headers: Record<string, string> = lastId === null ? {} : { 'last-event-id': lastId };
    const call = { query, headers, signal: this.#signal };
    const { status, contentType, cursor, chunks } = await this.#transport.open(path, call);
    if (status !== 200) throw problemError(this.#transport.url, status, await bodyOf(chunks));
    if (contentType.startsWith('text/event-stream')) return messagesOf(cursor, chunks);
    throw notADaemon(this.#transport.url, `it answers ${contentType || 'nothing'}, not a stream`);
  }

  /** The body of a 2xx, or {@link MISSING} for a problem of a status that the caller expects. */
  async #send(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    { query, ...rest }: PostOptions & { query?: Query; body?: unknown },
    ...expected: number[]
  ): Promise<unknown> {
    const call = { signal: this.#signal, ...rest, ...(query !== undefined && { query }) };
    const answer = await this.#transport.request(method, path, call);
    if (answer.status >= 200 && answer.status < 300) return answer.body;
    const problem = problemError(this.#transport.url, answer.status, answer.body);
    if (expected.includes(answer.status) && problem.code !== 'not_a_daemon') return MISSING;
    throw problem;
  }

  #empty(body: unknown): void {
    if (body !== undefined) throw notADaemon(this.#transport.url, 'it answers more than was asked');
  }

  /** The body as it came, once it is known to fit, so that `--json` shows all of it. */
  #checked<Schema extends z.ZodType>(body: unknown, schema: Schema): z.output<Schema> {
    const wrong = misfit(body, schema);
    if (wrong !== null) throw notADaemon(this.#transport.url, wrong);
    return body as z.output<Schema>;
  }
}

const MISSING = Symbol('missing');

/** A page before its items are checked. */
const pageSchema = z.object({
  data: z.array(z.unknown()),
  next_cursor: z.string().nullish(),
});

/** The place where the stream begins, so that a first connection can be resumed too, and what follows. */
async function* messagesOf(
  cursor: string | null,
  chunks: AsyncIterable<Uint8Array>,
): AsyncIterable<SseMessage> {
  if (cursor !== null) yield { id: cursor, event: null, data: null };
  yield* readSse(chunks);
}

/** The start of an answer that should have been a stream: enough for a problem document. */
async function bodyOf(chunks: AsyncIterable<Uint8Array>): Promise<unknown> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of chunks) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > 65_536) break;
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Most that the API gives in one page. */
const PAGE_SIZE = 200;

/**
 * Follows the cursors of a listing until there is enough.
 * @param limit how many items at most; Infinity for all
 * @returns what the API would have answered, had its pages been that long
 */
export async function collectPages<Item>(
  fetchPage: (paging: { limit: number; cursor: string | undefined }) => Promise<PageView<Item>>,
  limit: number,
): Promise<PageView<Item>> {
  const data: Item[] = [];
  let cursor: string | undefined;
  for (;;) {
    const page = await fetchPage({ limit: Math.min(limit - data.length, PAGE_SIZE), cursor });
    data.push(...page.data);
    const next = page.next_cursor ?? null;
    if (next === null || data.length >= limit) return { ...page, data, next_cursor: next };
    cursor = next;
  }
}
