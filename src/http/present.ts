import { overdueText } from '../core/source/overdue.ts';
import type { z } from 'zod';
import type { AttentionItem } from '../core/attention.ts';
import type { Acknowledgement, Subscription, Watch, Profile } from '../core/watch/watch.ts';
import type { PollingPerRun, WorkflowPolling } from '../core/cadence/workflow-polling.ts';
import type { Attempt, Delivery } from '../core/delivery/delivery.ts';
import { shownReceiver } from '../core/delivery/receiver.ts';
import { formatDuration } from '../core/time.ts';
import { isoTime, DEFAULT_EVENTS } from '../core/event/event.ts';
import type { ClosedSource } from '../core/source/throttle.ts';
import type { Timeline } from '../core/watch/timeline.ts';
import type {
  attemptSchema,
  deliverySchema,
  deliveryWithAttempts,
  redelivered,
} from './schemas/delivery.ts';
import type { attentionPage } from './schemas/attention.ts';
import type { endpointSchema, endpointTest, rotatedSecret } from './schemas/endpoint.ts';
import type { workflowPollingSchema } from './schemas/workflow.ts';
import type { sourceSchema } from './schemas/source.ts';
import type { timelineSchema } from './schemas/timeline.ts';
import type { registration, watchOrReceipt, watchSchema, pollAnswer } from './schemas/watch.ts';
import type {
  Attention,
  CountedPage,
  Page,
  WatchResult,
  EndpointHealth,
  EndpointService,
  EndpointTest,
  EndpointView,
  SourceView,
  WatchView,
} from './services.ts';

type WatchJson = z.output<typeof watchSchema>;
type Registered = Exclude<WatchResult, { kind: 'invalid' }>;
type DeliveryJson = z.output<typeof deliverySchema>;

/** A watch as the API shows it. */
export function presentWatch(watch: WatchView): WatchJson {
  return {
    run_id: watch.runId,
    source: watch.source,
    state: watch.state,
    run: watch.run,
    workflow_name: watch.workflowName,
    run_url: watch.runUrl,
    changed_at: isoTime(watch.changedAt),
    acknowledged: presentAcknowledgement(watch.acknowledged),
    metadata: watch.metadata,
    subscriptions: watch.subscriptions.map(presentSubscription),
    sequence: watch.sequence,
    polls: watch.polls,
    registered_at: isoTime(watch.registeredAt),
    last_polled_at: timeOrNull(watch.lastPolledAt),
    next_poll_at: timeOrNull(watch.nextPollAt),
    timeout_at: isoTime(watch.timeoutAt),
    error: presentError(watch),
  };
}

function presentAcknowledgement(acknowledged: Acknowledgement | null): WatchJson['acknowledged'] {
  if (acknowledged === null) return null;
  const { by, comment, at, until } = acknowledged;
  return { by, comment, at: isoTime(at), until: timeOrNull(until) };
}

/** A watch as its registration is answered with; what others gave is left out where the token may not read. */
export function presentRegistered(
  { watch, webhookSecret }: Registered,
  { mayRead }: { mayRead: boolean },
): z.output<typeof registration> {
  return {
    ...presentReceipt(watch, { mayRead }),
    ...(webhookSecret !== null && { webhook_secret: webhookSecret }),
  };
}

/** A watch as a change of it is answered with. */
export function presentReceipt(
  watch: WatchView,
  { mayRead }: { mayRead: boolean },
): z.output<typeof watchOrReceipt> {
  return mayRead ? presentWatch(watch) : { run_id: watch.runId, source: watch.source };
}

/** A webhook's URL is masked, its secret and headers are left out; its patterns are those in force. */
function presentSubscription(subscription: Subscription): WatchJson['subscriptions'][number] {
  return subscription.kind === 'endpoint'
    ? { endpoint: subscription.endpoint }
    : {
        url: shownReceiver(subscription.receiver),
        events: patternsInForce(subscription.events),
      };
}

/** The event patterns in force: those that were given, or the default events. */
function patternsInForce(patterns: readonly string[] | null | undefined): string[] {
  return [...(patterns ?? DEFAULT_EVENTS)];
}

/** Why the state of the run is unknown: it is gone, or not found so far, or polls fail. */
function presentError({ gone, missing, trouble }: Watch): WatchJson['error'] {
  if (gone !== null) return { ...gone, since: isoTime(gone.since) };
  if (missing !== null) {
    const { code, message, since } = missing;
    return { code, message, since: isoTime(since) };
  }
  return trouble && { code: trouble.kind, message: trouble.message, since: isoTime(trouble.since) };
}

/** A delivery as the API shows it in listings. */
export function presentDelivery(delivery: Delivery): DeliveryJson {
  return {
    id: delivery.id,
    event_id: delivery.eventId,
    event_type: delivery.eventType,
    run_id: delivery.runId,
    endpoint: shownReceiver(delivery.endpoint),
    state: delivery.state,
    attempt_count: delivery.attemptCount,
    next_attempt_at: timeOrNull(delivery.nextAttemptAt),
    created_at: isoTime(delivery.createdAt),
    delivered_at: timeOrNull(delivery.deliveredAt),
    last: delivery.last && presentResult(delivery.last),
  };
}

/** A delivery that goes out again: what it takes to follow it. */
export function presentRedelivered(delivery: Delivery): z.output<typeof redelivered> {
  return { id: delivery.id, event_id: delivery.eventId, state: delivery.state };
}

/** A delivery shown alone, with everything that was tried. */
export function presentDeliveryWithAttempts(
  delivery: Delivery,
  attempts: readonly Attempt[],
): z.output<typeof deliveryWithAttempts> {
  return {
    ...presentDelivery(delivery),
    attempts: attempts.map(presentAttempt),
  };
}

/** An attempt with what was answered to it. */
function presentAttempt(attempt: Attempt): z.output<typeof attemptSchema> {
  return {
    at: isoTime(attempt.at),
    ...presentResult(attempt),
    response: attempt.response,
  };
}

function presentResult({ status, error, durationMs }: Attempt) {
  return { status, error, duration_ms: durationMs };
}

/** A page as the API shows it. */
export function presentPage<Item, Json>(page: Page<Item>, present: (item: Item) => Json) {
  return { data: page.items.map(present), next_cursor: page.nextCursor };
}

/** A page with its total as the API shows it. */
export function presentCountedPage<Item, Json>(
  page: CountedPage<Item>,
  present: (item: Item) => Json,
) {
  return { ...presentPage(page, present), total: page.total, total_capped: page.isCapped };
}

function timeOrNull(ms: number | null): string | null {
  return ms === null ? null : isoTime(ms);
}

type EndpointJson = z.output<typeof endpointSchema>;
type Rotation = NonNullable<Awaited<ReturnType<EndpointService['rotate']>>>;

/** An endpoint as the API shows it. */
export function presentEndpoint(endpoint: EndpointView): EndpointJson {
  return {
    name: endpoint.name,
    type: endpoint.type,
    url: endpoint.url,
    events: patternsInForce(endpoint.events),
    default: endpoint.default,
    counts: endpoint.counts,
    health: presentHealth(endpoint.health),
  };
}

function presentHealth(health: EndpointHealth): EndpointJson['health'] {
  return {
    state: health.state,
    reason: health.reason,
    failing_since: timeOrNull(health.failingSince),
    next_probe_at: timeOrNull(health.nextProbeAt),
    throttled_until: timeOrNull(health.throttledUntil),
  };
}

/** What the receiver made of a test. */
export function presentTest({ delivered, attempt }: EndpointTest): z.output<typeof endpointTest> {
  return { delivered, attempt: presentAttempt(attempt) };
}

/** A new secret, which is shown this once. */
export function presentRotation(rotation: Rotation): z.output<typeof rotatedSecret> {
  return {
    secret: rotation.secret,
    previous_expires_at: timeOrNull(rotation.previousExpiresAt),
  };
}

/** What is known of a workflow as the API shows it. */
export function presentPolling(
  { source, workflowId, runs, states, duration, measured, expected }: WorkflowPolling,
  profile: Profile,
): z.output<typeof workflowPollingSchema> {
  return {
    source,
    workflow_id: workflowId,
    runs,
    states,
    duration: duration && {
      median_ms: milliseconds(duration.median),
      p90_ms: milliseconds(duration.p90),
    },
    measured: measured && presentPerRun(measured),
    expected: expected && { ...presentPerRun(expected), profile },
  };
}

function presentPerRun({ requests, delayS }: PollingPerRun) {
  return { requests: Math.round(requests * 100) / 100, delay_ms: milliseconds(delayS) };
}

function milliseconds(seconds: number): number {
  return Math.round(seconds * 1_000);
}

const STATES = {
  rate_limited: 'paused',
  unauthorized: 'unauthorized',
  unreachable: 'unreachable',
} as const;

/** What asking for a poll came to: while its source is closed, when that is tried next. */
export function presentPoll({
  closed,
}: {
  closed: ClosedSource | null;
}): z.output<typeof pollAnswer> {
  return {
    paused_until: closed === null ? null : isoTime(closed.probeAt),
    message: closed?.message ?? null,
  };
}

/** A source as the API shows it. */
export function presentSource(source: SourceView): z.output<typeof sourceSchema> {
  const { name, closed, since, answeredAt, limit, used, overdue, streams } = source;
  return {
    name,
    state: closed === null ? 'answering' : STATES[closed.reason],
    since: closed === null ? null : timeOrNull(since),
    message: closed?.message ?? null,
    paused_until: closed === null ? null : isoTime(closed.probeAt),
    last_answer_at: timeOrNull(answeredAt),
    rate_limit: { requests: limit.requests, per: formatDuration(limit.perMs), used },
    overdue: overdue && {
      polls: overdue.polls,
      oldest_ms: Math.round(overdue.oldestMs),
      rate_limit_that_would_do: {
        requests: overdue.wantedRequests,
        per: formatDuration(limit.perMs),
      },
      message: overdueText(overdue),
    },
    streams: {
      open: streams.open,
      wanted: streams.wanted,
      allowed: streams.allowed,
      refused_until: timeOrNull(streams.refusedUntil),
      doubted: streams.doubted,
      known_first: streams.known,
    },
  };
}

/** What needs a person as the API shows it. */
export function presentAttention({
  items,
  counts,
  isCapped,
}: Attention): z.output<typeof attentionPage> {
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  return { data: items.map(presentItem), counts, total, total_capped: isCapped };
}

type AttentionJson = z.output<typeof attentionPage>['data'][number];

function presentItem(item: AttentionItem): AttentionJson {
  const { kind, since, message, source, endpoint, count, rule, severity } = item;
  const given = {
    kind,
    since: isoTime(since),
    message,
    run_id: item.runId,
    source,
    workflow_id: item.workflowId,
    workflow_name: item.workflowName,
    run_url: item.runUrl,
    endpoint,
    count,
    alert_id: item.alertId,
    rule,
    severity,
    acknowledged: item.acknowledged && presentAcknowledgement(item.acknowledged),
  };
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as AttentionJson;
}

type TimelineJson = z.output<typeof timelineSchema>;

/** A timeline as the API shows it. */
export function presentTimeline(timeline: Timeline): TimelineJson {
  return {
    states: timeline.states.map(({ at, until, status, progress }) => ({
      at: isoTime(at),
      until: until === null ? null : isoTime(until),
      status,
      progress,
    })),
    polls: timeline.polls.map(({ at, mode, outcome, durationMs, lagMs }) => ({
      at: isoTime(at),
      kind: mode,
      outcome,
      duration_ms: durationMs,
      lag_ms: lagMs,
    })),
    events: timeline.events.map(presentTimedEvent),
    deliveries: timeline.deliveries.map(({ delivery, attempts, split }) => ({
      ...presentDelivery(delivery),
      relay_ms: split.relayMs,
      receiver_ms: split.receiverMs,
      attempts: attempts.map((one) => ({ at: isoTime(one.at), ...presentResult(one) })),
    })),
    truncated: timeline.isCut,
  };
}

function presentTimedEvent({ event, split }: Timeline['events'][number]) {
  const { detected_at: at } = event.data;
  return { ...event, at, waiting_ms: split.waitingMs, poll_ms: split.pollMs };
}
