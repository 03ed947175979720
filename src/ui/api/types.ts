import type {
  DeliveryDetailView,
  DeliveryView,
  EndpointTestView,
  EndpointView,
  EventView,
  RotatedView,
  SourceView,
  TimelineView,
  WatchView,
} from '../../client/types.ts';

export type { DeliveryView, EndpointTestView, EventView, RotatedView };

export type Watch = WatchView;

/** The user that has marked something as handled, and until when. */
export type Acknowledged = NonNullable<Watch['acknowledged']>;

export type DeliveryDetail = DeliveryDetailView;

export type Endpoint = EndpointView;

export type Source = SourceView;

export interface Page<Item> {
  data: Item[];
  next_cursor: string | null;
  total?: number | null;
  total_capped?: boolean;
}

/** One thing that needs a person; fields depend on its kind. */
export interface Attention {
  kind: string;
  since: string;
  run_id?: string;
  source?: string;
  workflow_id?: string | null;
  workflow_name?: string | null;
  run_url?: string | null;
  endpoint?: string;
  alert?: Alert | string;
  message?: string | null;
  acknowledged?: Acknowledged | null;
  [field: string]: unknown;
}

export interface AttentionPage {
  data: Attention[];
  counts: Record<string, number>;
}

/** What is drawn of a run. */
export type Timeline = TimelineView;
export type TimelineState = TimelineView['states'][number];
export type TimelineEvent = TimelineView['events'][number];
export type TimelineDelivery = TimelineView['deliveries'][number];
export type Poll = TimelineView['polls'][number];

export interface Workflow {
  source: string;
  workflow_id: string;
  name?: string | null;
  [field: string]: unknown;
}

export interface AlertRun {
  run_id: string;
  source?: string;
  workflow_id: string | null;
  name: string | null;
  url: string | null;
  status: string | null;
  at: string;
}

export interface Alert {
  id: string;
  rule: string;
  labels: Record<string, string>;
  state: string;
  severity: string;
  owner: string | null;
  count: number;
  runs: AlertRun[];
  started_at: string;
  updated_at: string;
  resolved_at: string | null;
  acknowledged: Acknowledged | null;
  notified: { endpoint: string; at: string; event_id: string }[];
}

/** A text, or several of which one matches. */
type Values = string | readonly string[];

export interface Matchers {
  rule?: Values;
  workflow_id?: Values;
  source?: Values;
  event?: Values;
  metadata?: Record<string, Values>;
}

/** What a silence would keep back. */
export interface SilencePreview {
  now: { alerts: readonly Alert[] };
  last_24h: { events: number };
}

export interface Silence {
  id: string;
  matchers: Matchers;
  starts_at: string;
  until: string;
  by: string;
  comment: string;
  state?: string;
}

export interface Process {
  id: string;
  name: string;
  version: string;
  since: string;
  heartbeat: string;
  clock_skew_ms: number;
}

export interface Readiness {
  status: 'ready' | 'unready';
  checks: { name: string; status: 'ok' | 'degraded' | 'failed'; detail: string }[];
}
