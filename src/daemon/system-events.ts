import { systemAlertEvent, type AlertEntry } from '../core/alert/entry.ts';
import type { AlertEvent } from '../core/alert/rule.ts';
import { workflowName, type WorkflowKey } from '../core/cadence/phase.ts';
import { newDelivery } from '../core/delivery/delivery.ts';
import type { PlannedEvent } from '../core/delivery/outbox.ts';
import { isoTime, type SystemEventType } from '../core/event/event.ts';
import { systemEventId, type NewMark } from '../core/event/ids.ts';
import type { EventStore } from '../redis/stores/event-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Endpoints } from './endpoints.ts';
import { faultLog } from './fault-log.ts';

/** An event about runwatch itself. */
interface SystemEvent {
  type: SystemEventType;
  /** Of the line in the log. */
  level: 'info' | 'warn' | 'error';
  /** What happened, since when, how many, and the remedy; snake_case, times as ISO 8601. */
  data: Record<string, unknown>;
}

interface SystemEventsDependencies {
  store: Pick<EventStore, 'raise'>;
  endpoints: Pick<Endpoints, 'wantingSystemEvent'>;
  newMark: NewMark;
  /** What alert rules have to judge of an event; null for nothing. */
  entryOf: (event: AlertEvent) => AlertEntry | null;
  /** Dispatches the pools with due deliveries. */
  dispatch: (pools: string[]) => void;
  now: () => number;
  log: Logger;
}

export interface SystemEvents {
  /** Writes a line, and an event with deliveries to the endpoints that name it. Never throws. */
  raise(event: SystemEvent): Promise<void>;
  /**
   * The same for an event that a write of the state behind it raises, so that neither is lost.
   * @param write returns the pools at which deliveries are due now; null where the event was raised before
   */
  raiseWith(
    event: SystemEvent,
    write: (planned: PlannedEvent | null) => Promise<string[] | null>,
  ): Promise<void>;
  /** The event with its deliveries to the endpoints that name its type. */
  plan(event: Pick<SystemEvent, 'type' | 'data'>): PlannedEvent;
}

/** Raises system events: in the logs, and to the endpoints that name them. */
export function createSystemEvents(deps: SystemEventsDependencies): SystemEvents {
  const { store, newMark, dispatch, now, log } = deps;
  const onError = faultLog(log, 'system_event');

  function plan({ type, data }: Pick<SystemEvent, 'type' | 'data'>): PlannedEvent {
    const receivers = deps.endpoints.wantingSystemEvent(type, workflowOf(data));
    const at = now();
    const id = systemEventId(newMark);
    const entry = deps.entryOf(systemAlertEvent({ id, type, at, data }));
    const about = { source: '', runId: '', subject: subjectOf(id, { type, data }) };
    return {
      id,
      body: JSON.stringify({ id, type, timestamp: isoTime(at), data }),
      deliveries: receivers.map((name) => newDelivery(about, { id, type }, name, at)),
      ...(entry !== null && { entries: [entry] }),
    };
  }

  return {
    plan,
    async raise({ type, level, data }) {
      log[level](data, type);
      await store.raise(plan({ type, data })).then(dispatch, onError);
    },
    async raiseWith({ type, level, data }, write) {
      const pools = await write(plan({ type, data }));
      if (pools === null) return;
      log[level](data, type);
      dispatch(pools);
    },
  };
}

/**
 * What an event is about: a source, a workflow or an endpoint, and what of it. A recovery follows the outage
 * that it ends. Whatever else happens does not wait behind an event that its receiver refuses.
 */
function subjectOf(id: string, { type, data }: Pick<SystemEvent, 'type' | 'data'>): string {
  const { source, endpoint } = data;
  const workflow = workflowOf(data);
  const name = workflow === null ? (source ?? endpoint) : workflowName(workflow);
  return typeof name === 'string' ? `${type.slice(0, type.indexOf('.'))} ${name}` : id;
}

function workflowOf({ source, workflow_id: workflowId }: SystemEvent['data']): WorkflowKey | null {
  return typeof source === 'string' && typeof workflowId === 'string'
    ? { source, workflowId }
    : null;
}
