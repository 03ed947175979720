import { systemAlertEvent } from '../core/alert/entry.ts';
import { workflowName, type WorkflowKey } from '../core/cadence/phase.ts';
import { newDelivery } from '../core/delivery/delivery.ts';
import type { PlannedEvent } from '../core/delivery/planned-event.ts';
import { isoTime } from '../core/event/event.ts';
import { systemEventId } from '../core/event/ids.ts';
import { faultLog } from '../fault-log.ts';
import type { Process, SystemEvent, WriteWithEvent } from '../process.ts';

/** Raises system events: in the log, and to the endpoints that name them. */
export class SystemEvents {
  private readonly onError: (error: unknown) => void;

  constructor(private readonly process: Process) {
    this.onError = faultLog(process.log, 'system_event');
  }

  /** Writes a line, and an event with deliveries to the endpoints that name it. Never throws. */
  async raise({ level, ...event }: SystemEvent): Promise<void> {
    const { log, stores } = this.process;
    log[level](event.data, event.type);
    const planned = this.plan(event);
    await stores.events.raise(planned).then((pools) => this.process.dispatch(pools), this.onError);
  }

  /** The same for an event that a write of the state behind it raises. */
  async raiseWith({ level, ...event }: SystemEvent, write: WriteWithEvent): Promise<void> {
    const pools = await write(this.plan(event));
    if (pools === null) return;
    this.process.log[level](event.data, event.type);
    this.process.dispatch(pools);
  }

  /** The event with its deliveries to the endpoints that name its type. */
  plan({ type, data, also = [] }: Omit<SystemEvent, 'level'>): PlannedEvent {
    const { endpoints, alertRules, newMark } = this.process;
    const named = endpoints.wantingSystemEvent(type, workflowOf(data));
    const receivers = [...new Set([...named, ...also])];
    const at = this.process.now();
    const id = systemEventId(newMark);
    const entry = alertRules.entryOf(systemAlertEvent({ id, type, at, data }));
    const about = { source: '', runId: '', subject: subjectOf(id, { type, data }) };
    return {
      id,
      body: JSON.stringify({ id, type, timestamp: isoTime(at), data }),
      deliveries: receivers.map((name) => newDelivery(about, { id, type }, name, at)),
      ...(entry !== null && { entries: [entry] }),
    };
  }
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
