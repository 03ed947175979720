import type { Alert, Digest, Notification } from '../core/alert/alert.ts';
import type { Suppressor } from '../core/alert/suppression.ts';
import { newDelivery } from '../core/delivery/delivery.ts';
import { formatDuration } from '../core/time.ts';
import { isoTime } from '../core/event/event.ts';
import type { PlannedEvent } from '../core/delivery/planned-event.ts';
import type { Process } from '../process.ts';

/**
 * An alert in the shape that users see.
 * @param suppressors what keeps its notifications back now; nothing in an event, which is one of them
 */
export function shownAlert(
  alert: Alert,
  url: string | null,
  suppressors: readonly Suppressor[] = [],
) {
  const { acknowledged } = alert;
  return {
    id: alert.id,
    rule: alert.rule,
    labels: alert.labels,
    state: alert.state,
    severity: alert.severity,
    owner: alert.owner,
    annotations: alert.annotations,
    count: alert.count,
    runs_total: alert.runsTotal,
    runs: alert.runs.map(({ runId, workflowId, name, url: runUrl, status, at }) => ({
      run_id: runId,
      workflow_id: workflowId,
      name,
      url: runUrl,
      status,
      at: isoTime(at),
    })),
    started_at: isoTime(alert.startedAt),
    updated_at: isoTime(alert.updatedAt),
    resolved_at: alert.resolvedAt === null ? null : isoTime(alert.resolvedAt),
    resolved_by: alert.resolvedBy ?? null,
    reason: alert.reason,
    acknowledged: acknowledged && {
      by: acknowledged.by,
      comment: acknowledged.comment,
      at: isoTime(acknowledged.at),
      until: acknowledged.until === null ? null : isoTime(acknowledged.until),
    },
    suppressed_by: suppressors.map(shownSuppressor),
    notified: alert.notified.map(({ endpoint, at, eventId }) => ({
      endpoint,
      at: isoTime(at),
      event_id: eventId,
    })),
    url,
  };
}

export function shownSuppressor({ kind, id, by, until }: Suppressor) {
  return { kind, id, by, until: until === null ? null : isoTime(until) };
}

export type ShownAlert = ReturnType<typeof shownAlert>;

function shownDigest({ reason, since, until, alerts, byType }: Digest) {
  return { reason, since: isoTime(since), until: isoTime(until), alerts, by_type: byType };
}

/** Where users see an alert; null where the address of the dashboard is not known. */
export function alertUrl(process: Process, { id }: Pick<Alert, 'id'>): string | null {
  const alerts = alertsUrl(process);
  return alerts && `${alerts}/${id}`;
}

function alertsUrl({ config }: Process): string | null {
  const { public_url: url } = config.server;
  return url === undefined ? null : `${url.replace(/\/$/, '')}/alerts`;
}

/** Where users see the alerts of a rule. */
function alertsOfRuleUrl(process: Process, rule: string): string | null {
  const alerts = alertsUrl(process);
  return alerts && `${alerts}?rule=${encodeURIComponent(rule)}`;
}

/** The event of a notification, with its deliveries. */
export function planAlertEvent(
  process: Process,
  notification: Notification,
  now: number,
): PlannedEvent {
  const { eventId: id, kind, alert, digest } = notification;
  // A digest of several has an id of its own, of which there is no page.
  const hasPage = digest === null || digest.alerts.some((one) => one.id === alert.id);
  const type = `alert.${kind}` as const;
  const about = { source: '', runId: '', alertId: alert.id };
  const url = hasPage ? alertUrl(process, alert) : alertsOfRuleUrl(process, alert.rule);
  return {
    id,
    body: JSON.stringify({
      id,
      type,
      timestamp: isoTime(now),
      data: alertData(notification, url),
    }),
    deliveries: process.endpoints
      .wantingAlertEvent(type, notification.notify)
      .map((endpoint) => newDelivery(about, { id, type }, endpoint, now)),
  };
}

function alertData({ alert, isRepeat, digest, escalation }: Notification, url: string | null) {
  return {
    alert: shownAlert(alert, url),
    repeat: isRepeat,
    digest: digest && shownDigest(digest),
    escalation: escalation && {
      step: escalation.step,
      after: formatDuration(escalation.afterMs),
    },
  };
}
