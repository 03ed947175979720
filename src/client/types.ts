import type {
  alertDetail,
  alertQuery,
  alertPage,
  alertSchema,
  rulePage,
  rehearsal,
  rehearseRequest,
} from '../http/schemas/alert.ts';
import type {
  previewRequest,
  silencePreview,
  silenceRequest,
  silenceSchema,
} from '../http/schemas/silence.ts';
import type { QueryOf } from '../http/schemas/routes.ts';
import type { z } from 'zod';
import type {
  deliveryQuery,
  namedDelivery,
  deliveryWithAttempts,
  redelivered,
  redeliverCount,
  redeliverRange,
} from '../http/schemas/delivery.ts';
import type {
  endpointSchema,
  endpointSecret,
  endpointTest,
  rotatedSecret,
  rotateRequest,
} from '../http/schemas/endpoint.ts';
import type { webhookList, webhookQuery } from '../http/schemas/watch-webhook.ts';
import type { auditQuery, auditRecordSchema } from '../http/schemas/audit.ts';
import type { attentionPage, attentionQuery } from '../http/schemas/attention.ts';
import type {
  eventOfAnyType,
  eventQuery,
  ownEventOfAnyType,
  streamQuery,
} from '../http/schemas/event.ts';
import type { lookupAnswer, lookupQuery } from '../http/schemas/lookup.ts';
import type {
  pollingQuery,
  workflowPollingSchema,
  workflowList,
  workflowQuery,
} from '../http/schemas/workflow.ts';
import type { processList, readinessSchema, storeSchema } from '../http/schemas/system.ts';
import type { sourceSchema } from '../http/schemas/source.ts';
import type { timelineSchema } from '../http/schemas/timeline.ts';
import type { acknowledgeRequest, resolveRequest } from '../http/schemas/common.ts';
import type { batchQuery, batchSchema } from '../http/schemas/batch.ts';
import type {
  batchResults,
  stopAnswer,
  watchOrReceipt,
  watchQuery,
  watchRequest,
  watchSchema,
} from '../http/schemas/watch.ts';

/*
 * Requests and answers of the API. An answer of a newer daemon may hold more fields, and words that
 * are not among those of an enumeration.
 */

export type WatchBody = z.input<typeof watchRequest>;
export type WatchView = z.output<typeof watchSchema>;
export type TimelineView = z.output<typeof timelineSchema>;
export type AlertView = z.output<typeof alertSchema>;
export type AlertPageView = z.output<typeof alertPage>;
export type RulesView = z.output<typeof rulePage>;
/** One that is shown alone. */
export type AlertDetailView = z.output<typeof alertDetail>;
export type RehearsalView = z.output<typeof rehearsal>;
export type RehearseBody = z.input<typeof rehearseRequest>;
export type SilenceBody = z.input<typeof silenceRequest>;
export type SilenceView = z.output<typeof silenceSchema>;
export type SilencePreviewBody = z.input<typeof previewRequest>;
export type SilencePreviewView = z.output<typeof silencePreview>;
export type AcknowledgeBody = z.input<typeof acknowledgeRequest>;
export type ResolveBody = z.input<typeof resolveRequest>;
export type AcknowledgedView = z.output<typeof watchOrReceipt>;
export type AuditView = z.output<typeof auditRecordSchema>;
export type AttentionView = z.output<typeof attentionPage>;
export type BatchView = z.output<typeof batchResults>;
export type OneBatchView = z.output<typeof batchSchema>;
export type EventView = z.output<typeof eventOfAnyType>;
/** Of an alert, or about runwatch itself: listed where `type` names it. */
export type OwnEventView = z.output<typeof ownEventOfAnyType>;
export type AnyEventView = EventView | OwnEventView;
export type DeliveryView = z.output<typeof namedDelivery>;
export type DeliveryDetailView = z.output<typeof deliveryWithAttempts>;
export type RedeliveredView = z.output<typeof redelivered>;
export type RangeBody = z.input<typeof redeliverRange>;
export type CountView = z.output<typeof redeliverCount>;
export type EndpointView = z.output<typeof endpointSchema>;
export type EndpointTestView = z.output<typeof endpointTest>;
export type RotateBody = NonNullable<z.input<typeof rotateRequest>>;
export type EndpointSecretView = z.output<typeof endpointSecret>;
export type RotatedView = z.output<typeof rotatedSecret>;
export type WebhooksView = z.output<typeof webhookList>;
export type ProcessesView = z.output<typeof processList>;
export type ReadinessView = z.output<typeof readinessSchema>;
export type StoreView = z.output<typeof storeSchema>;
export type StopView = z.output<typeof stopAnswer>;
export type SourceView = z.output<typeof sourceSchema>;
export type LookupView = z.output<typeof lookupAnswer>;
export type WorkflowsView = z.output<typeof workflowList>;
export type WorkflowView = z.output<typeof workflowPollingSchema>;

export type WatchQuery = QueryOf<typeof watchQuery>;
/** `cursor` and `after` are the same. */
export type EventQuery = QueryOf<typeof eventQuery> & Pick<WatchQuery, 'cursor'>;
export type EventStreamQuery = QueryOf<typeof streamQuery>;
export type BatchQuery = QueryOf<typeof batchQuery>;
export type DeliveryQuery = QueryOf<typeof deliveryQuery>;
export type AlertQuery = QueryOf<typeof alertQuery>;
export type WorkflowQuery = QueryOf<typeof workflowQuery>;
export type PollingQuery = QueryOf<typeof pollingQuery>;
export type AuditQuery = QueryOf<typeof auditQuery>;
export type AttentionQuery = QueryOf<typeof attentionQuery>;
/** Which webhooks of watches are meant: those that a token registered, those of a source. */
export type WebhookQuery = QueryOf<typeof webhookQuery>;
export type LookupQuery = QueryOf<typeof lookupQuery>;

export type { RouteText, ScopeOf } from '../http/schemas/routes.ts';

/** Whether an event is about a run, so that its `data` is fully typed. */
export function isRunEvent(event: AnyEventView): event is EventView {
  return typeof event.data['run_id'] === 'string';
}

/** A page of a listing. */
export interface PageView<Item> {
  data: Item[];
  next_cursor: string | null;
  /** How many match, of listings that count them; up to 10,000. */
  total?: number;
  /** True where there are more than that. */
  total_capped?: boolean;
}
