import { newDelivery } from '../core/delivery.ts';
import { systemEventId, type NewMark } from '../core/event-id.ts';
import { isoTime, type OperatorEventType } from '../core/event.ts';
import type { Gate } from '../core/gate.ts';
import type { StoredGate } from '../core/gate.ts';
import type { PlannedAlert } from './stores.ts';

/** What operators are told: about delivery itself, never through the path that fails. */
export interface Alert {
  type: OperatorEventType;
  /** The gate: an endpoint's name, or the origin of per-watch webhooks. */
  endpoint: string;
  /** The delivery that gave rise to it. */
  deliveryId: string;
  error: { code: string; message: string } | null;
  failingSince: number | null;
}

interface AlertOptions {
  /** The configured endpoint that operators read; null where the log is all there is. */
  operatorEndpoint: string | null;
  log: (alert: Alert) => void;
  newMark: NewMark;
}

/**
 * Plans what is sent of an alert, to go out with the step that gave rise to it. The log is told by
 * `announce` once that step has been taken.
 */
export function createAlerts({ operatorEndpoint, log, newMark }: AlertOptions) {
  return {
    announce: (alerts: Alert[]) => {
      for (const alert of alerts) log(alert);
    },

    /** An alert about the operators' own endpoint is for the log only. */
    plan(alerts: Alert[], { name }: StoredGate, now: number): PlannedAlert[] {
      if (operatorEndpoint === null || operatorEndpoint === name) return [];
      const to = { endpoint: operatorEndpoint, now };
      return alerts.map((alert) => planAlert(alert, systemEventId(newMark), to));
    },
  };
}

export type Alerts = ReturnType<typeof createAlerts>;

/** It is written with the gate, and with its version: one turn of a gate has one alert. */
function planAlert(
  alert: Alert,
  id: string,
  { endpoint, now }: { endpoint: string; now: number },
): PlannedAlert {
  const body = JSON.stringify({
    id,
    type: alert.type,
    timestamp: isoTime(now),
    data: {
      endpoint: alert.endpoint,
      delivery_id: alert.deliveryId,
      error: alert.error,
      failing_since: alert.failingSince === null ? null : isoTime(alert.failingSince),
    },
  });
  const about = { source: '', runId: '' };
  return { id, body, delivery: newDelivery(about, { id, type: alert.type }, endpoint, now) };
}

/** The alert that a turn of a gate is worth. */
export function gateAlert(
  type: OperatorEventType,
  { name }: StoredGate,
  after: Gate,
  cause: Pick<Alert, 'deliveryId' | 'error'>,
): Alert {
  return { type, endpoint: name, failingSince: after.failingSince, ...cause };
}
