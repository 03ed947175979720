import type {
  AcknowledgeBody,
  AlertPageView,
  AlertQuery,
  AuditQuery,
  BatchQuery,
  DeliveryQuery,
  EventQuery,
  LookupQuery,
  WatchQuery,
  WorkflowQuery,
  AttentionView,
  CountView,
  DeliveryView,
  EndpointTestView,
  EventView,
  LookupView,
  PageView,
  ProcessesView,
  RangeBody,
  ReadinessView,
  ResolveBody,
  RotatedView,
  RulesView,
  SilencePreviewView,
  StopView,
  WorkflowsView,
} from '../../client/types.ts';
import type { Query } from '../../client/query.ts';
import { request } from './request.ts';
import type {
  AlertDetail,
  Asked,
  Audited,
  Batch,
  DeliveryDetail,
  Endpoint,
  Matchers,
  NewSilence,
  Silence,
  Source,
  Timeline,
  Watch,
} from './types.ts';

/** Names a run; without its source, the one source that has it is meant. */
export interface RunRef {
  run_id: string;
  source?: string | undefined;
}

type Signal = AbortSignal | undefined;

const part = encodeURIComponent;
const watchPath = (run: RunRef, rest = '') => `/v1/watches/${part(run.run_id)}${rest}`;

const get = <Answer>(path: string, query: Query = {}, signal?: Signal) =>
  request<Answer>('GET', path, { query, signal });
const post = <Answer>(path: string, body?: unknown, query: Query = {}) =>
  request<Answer>('POST', path, { body, query });
const remove = (path: string, query: Query = {}) => request<undefined>('DELETE', path, { query });

/** The routes of the API that the dashboard calls. */
export const api = {
  watches: (query: Asked<WatchQuery>, signal?: Signal) =>
    get<PageView<Watch>>('/v1/watches', query, signal),
  watch: (run: RunRef, signal?: Signal) =>
    get<Watch>(watchPath(run), { source: run.source }, signal),
  timeline: (run: RunRef, signal?: Signal) =>
    get<Timeline>(watchPath(run, '/timeline'), { source: run.source }, signal),
  poll: (run: RunRef) =>
    post<{ message: string | null }>(watchPath(run, '/poll'), undefined, { source: run.source }),
  stop: (run: RunRef) => post<StopView>(watchPath(run, '/stop'), undefined, { source: run.source }),
  unwatch: (run: RunRef) => remove(watchPath(run), { source: run.source }),
  acknowledgeRun: (run: RunRef, body: AcknowledgeBody) =>
    post(watchPath(run, '/acknowledge'), body, { source: run.source }),
  unacknowledgeRun: (run: RunRef) => remove(watchPath(run, '/acknowledge'), { source: run.source }),

  batches: (query: Asked<BatchQuery>, signal?: Signal) =>
    get<PageView<Batch>>('/v1/batches', query, signal),
  batch: (name: string, signal?: Signal) => get<Batch>(`/v1/batches/${part(name)}`, {}, signal),
  closeBatch: (name: string) => post(`/v1/batches/${part(name)}/close`),
  forgetBatch: (name: string) => remove(`/v1/batches/${part(name)}`),

  audit: (query: Asked<AuditQuery>, signal?: Signal) =>
    get<PageView<Audited>>('/v1/audit', query, signal),
  acknowledgeFailures: (source: string, workflowId: string | null, body: AcknowledgeBody) =>
    post(
      workflowId === null
        ? `/v1/sources/${part(source)}/acknowledge`
        : `/v1/workflows/${part(source)}/${part(workflowId)}/acknowledge`,
      body,
    ),

  attention: (signal?: Signal) => get<AttentionView>('/v1/attention', {}, signal),
  workflows: (query: Asked<WorkflowQuery>, signal?: Signal) =>
    get<WorkflowsView>('/v1/workflows', query, signal),
  lookup: (query: Asked<LookupQuery>, signal?: Signal) =>
    get<LookupView>('/v1/lookup', query, signal),
  events: (query: Asked<EventQuery>, signal?: Signal) =>
    get<PageView<EventView>>('/v1/events', query, signal),

  deliveries: (query: Asked<DeliveryQuery>, signal?: Signal) =>
    get<PageView<DeliveryView>>('/v1/deliveries', query, signal),
  delivery: (id: string, signal?: Signal) =>
    get<DeliveryDetail>(`/v1/deliveries/${part(id)}`, {}, signal),
  redeliver: (id: string, endpoint?: string) =>
    post(`/v1/deliveries/${part(id)}/redeliver`, endpoint === undefined ? {} : { endpoint }),
  redeliverMatching: (range: RangeBody) => post<CountView>('/v1/deliveries/redeliver', range),

  endpoints: (signal?: Signal) => get<PageView<Endpoint>>('/v1/endpoints', {}, signal),
  testEndpoint: (name: string) => post<EndpointTestView>(`/v1/endpoints/${part(name)}/test`),
  switchEndpoint: (name: string, to: 'pause' | 'resume') =>
    post(`/v1/endpoints/${part(name)}/${to}`),
  retryEndpoint: (name: string) => post<CountView>(`/v1/endpoints/${part(name)}/retry`),
  rotateEndpoint: (name: string) => post<RotatedView>(`/v1/endpoints/${part(name)}/rotate`, {}),

  alerts: (query: Asked<AlertQuery>, signal?: Signal) =>
    get<AlertPageView>('/v1/alerts', query, signal),
  rules: (signal?: Signal) => get<RulesView>('/v1/rules', {}, signal),
  alert: (id: string, signal?: Signal) => get<AlertDetail>(`/v1/alerts/${part(id)}`, {}, signal),
  acknowledgeAlert: (id: string, body: AcknowledgeBody) =>
    post(`/v1/alerts/${part(id)}/acknowledge`, body),
  unacknowledgeAlert: (id: string) => remove(`/v1/alerts/${part(id)}/acknowledge`),
  resolveAlert: (id: string, body: ResolveBody) => post(`/v1/alerts/${part(id)}/resolve`, body),
  silences: (signal?: Signal) => get<PageView<Silence>>('/v1/silences', {}, signal),
  silence: (body: NewSilence) => post<Silence>('/v1/silences', body),
  previewSilence: (matchers: Matchers) =>
    post<SilencePreviewView>('/v1/silences/preview', { matchers }),
  endSilence: (id: string) => remove(`/v1/silences/${part(id)}`),

  sources: (signal?: Signal) => get<PageView<Source>>('/v1/sources', {}, signal),
  resumeSource: (name: string) => post(`/v1/sources/${part(name)}/resume`),
  processes: (signal?: Signal) => get<ProcessesView>('/v1/processes', {}, signal),
  /** The checks, also those of a daemon that is not ready. */
  readiness: (signal?: Signal) =>
    request<ReadinessView>('GET', '/readyz', {
      query: { format: 'json' },
      signal,
      alsoAnswer: 503,
    }),
  configuration: (signal?: Signal) => get<Record<string, unknown>>('/configuration', {}, signal),
};
