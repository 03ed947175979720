import type {
  Alert,
  AttentionPage,
  DeliveryDetail,
  DeliveryView,
  Endpoint,
  EndpointTestView,
  EventView,
  Matchers,
  Page,
  Process,
  Readiness,
  RotatedView,
  Silence,
  SilencePreview,
  Source,
  Timeline,
  Watch,
  Workflow,
} from './types.ts';
import { request, type Query } from './request.ts';

/** Names a run. */
export interface RunRef {
  run_id: string;
  source: string;
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
  watches: (query: Query, signal?: Signal) => get<Page<Watch>>('/v1/watches', query, signal),
  watch: (run: RunRef, signal?: Signal) =>
    get<Watch>(watchPath(run), { source: run.source }, signal),
  timeline: (run: RunRef, signal?: Signal) =>
    get<Timeline>(watchPath(run, '/timeline'), { source: run.source }, signal),
  poll: (run: RunRef) =>
    post<{ message: string | null }>(watchPath(run, '/poll'), undefined, { source: run.source }),
  unwatch: (run: RunRef) => remove(watchPath(run), { source: run.source }),
  acknowledgeRun: (run: RunRef, body: Acknowledgement) =>
    post(watchPath(run, '/acknowledge'), body, { source: run.source }),
  unacknowledgeRun: (run: RunRef) => remove(watchPath(run, '/acknowledge'), { source: run.source }),

  attention: (signal?: Signal) => get<AttentionPage>('/v1/attention', {}, signal),
  workflows: (query: Query, signal?: Signal) =>
    get<{ data: Workflow[] }>('/v1/workflows', query, signal),
  polling: (signal?: Signal) => get<Page<Workflow>>('/v1/polling', { limit: 200 }, signal),
  events: (query: Query, signal?: Signal) => get<Page<EventView>>('/v1/events', query, signal),

  deliveries: (query: Query, signal?: Signal) =>
    get<Page<DeliveryView>>('/v1/deliveries', query, signal),
  delivery: (id: string, signal?: Signal) =>
    get<DeliveryDetail>(`/v1/deliveries/${part(id)}`, {}, signal),
  redeliver: (id: string, endpoint?: string) =>
    post(`/v1/deliveries/${part(id)}/redeliver`, endpoint === undefined ? {} : { endpoint }),
  redeliverMatching: (range: Record<string, string>) =>
    post<{ count: number }>('/v1/deliveries/redeliver', range),

  endpoints: (signal?: Signal) => get<{ data: Endpoint[] }>('/v1/endpoints', {}, signal),
  testEndpoint: (name: string) => post<EndpointTestView>(`/v1/endpoints/${part(name)}/test`),
  switchEndpoint: (name: string, to: 'pause' | 'resume') =>
    post(`/v1/endpoints/${part(name)}/${to}`),
  retryEndpoint: (name: string) => post<{ count: number }>(`/v1/endpoints/${part(name)}/retry`),
  rotateEndpoint: (name: string) => post<RotatedView>(`/v1/endpoints/${part(name)}/rotate`, {}),

  alerts: (query: Query, signal?: Signal) => get<Page<Alert>>('/v1/alerts', query, signal),
  alert: (id: string, signal?: Signal) => get<Alert>(`/v1/alerts/${part(id)}`, {}, signal),
  acknowledgeAlert: (id: string, body: Acknowledgement) =>
    post(`/v1/alerts/${part(id)}/acknowledge`, body),
  unacknowledgeAlert: (id: string) => remove(`/v1/alerts/${part(id)}/acknowledge`),
  silences: (signal?: Signal) => get<Page<Silence>>('/v1/silences', {}, signal),
  silence: (body: { matchers: Matchers; until: string; by: string; comment: string }) =>
    post<Silence>('/v1/silences', body),
  previewSilence: (matchers: Matchers) =>
    post<SilencePreview>('/v1/silences/preview', { matchers }),
  endSilence: (id: string) => remove(`/v1/silences/${part(id)}`),

  sources: (signal?: Signal) => get<{ data: Source[] }>('/v1/sources', {}, signal),
  resumeSource: (name: string) => post(`/v1/sources/${part(name)}/resume`),
  processes: (signal?: Signal) => get<{ data: Process[] }>('/v1/processes', {}, signal),
  readiness: (signal?: Signal) => get<Readiness>('/readyz', { format: 'json' }, signal),
};

export interface Acknowledgement {
  by: string;
  comment?: string;
  until?: string;
}
