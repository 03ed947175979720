import type {
  AlertDetailView,
  AlertView,
  AuditView,
  AttentionView,
  DeliveryDetailView,
  EndpointView,
  OneBatchView,
  ProcessesView,
  SilenceBody,
  SilenceView,
  SourceView,
  TimelineView,
  WatchView,
  WorkflowsView,
} from '../../client/types.ts';

/* The answers of the API, by the names that the screens have for them. */

export type Watch = WatchView;

/** The user that has marked something as handled, and until when. */
export type Acknowledged = NonNullable<Watch['acknowledged']>;

/** One thing that needs a person; fields depend on its kind. */
export type Attention = AttentionView['data'][number];
export type AttentionKind = Attention['kind'];

/** Runs that are waited for together. */
export type Batch = OneBatchView;

export type Timeline = TimelineView;
export type TimelineState = TimelineView['states'][number];
export type TimelineEvent = TimelineView['events'][number];
export type TimelineDelivery = TimelineView['deliveries'][number];
export type Poll = TimelineView['polls'][number];

export type DeliveryDetail = DeliveryDetailView;
export type Attempt = DeliveryDetail['attempts'][number];

export type Endpoint = EndpointView;
export type Source = SourceView;
export type Process = ProcessesView['data'][number];
export type Workflow = WorkflowsView['data'][number];

/** Something that a user did. */
export type Audited = AuditView;

export type Alert = AlertView;
export type AlertDetail = AlertDetailView;
export type AlertRun = Alert['runs'][number];

export type Silence = SilenceView;
export type Matchers = Silence['matchers'];
export type NewSilence = Pick<SilenceBody, 'until' | 'by' | 'comment'> & { matchers: Matchers };

/** A query, of which an address may lack fields. */
export type Asked<Query> = { [Name in keyof Query]: Query[Name] | null };
