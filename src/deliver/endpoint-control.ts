import type { AuditRecord } from '../core/audit.ts';
import type { Attempt } from '../core/delivery/delivery.ts';
import { isoTime, TEST_EVENT_TYPE } from '../core/event/event.ts';
import { systemEventId, type NewMark } from '../core/event/ids.ts';
import { retryNow, type EndpointState } from '../core/delivery/endpoint-state.ts';
import { poolOf, type Receiver } from '../core/delivery/receiver.ts';
import { isWithoutResult, type Route } from './channels/channel.ts';
import type { Process } from '../process.ts';

/**
 * Changes the state of a receiver; retries when another write comes in between.
 * @param audit what the audit log has of it, in the same step; null where no user asked for it
 */
export async function changeEndpoint(
  process: Process,
  receiver: Receiver,
  change: (state: EndpointState) => EndpointState,
  audit: AuditRecord | null = null,
): Promise<EndpointState> {
  const { endpoints, stores } = process;
  const limits = endpoints.limitsOf(poolOf(receiver));
  const now = process.now();
  for (;;) {
    const before = await stores.endpointStates.get(receiver);
    const after = change(before.state);
    if (await stores.endpointStates.write(before, after, { limits, now, audit })) return after;
  }
}

/**
 * Makes all waiting deliveries of a receiver due now. An open breaker probes at once, and parked
 * deliveries follow when the probe succeeds.
 * @returns how many deliveries wait; 0 while the receiver is paused or disabled
 */
export async function retryEndpoint(
  process: Process,
  receiver: Receiver,
  audit: AuditRecord | null = null,
): Promise<number> {
  const { outbox } = process.stores;
  const now = process.now();
  const limits = process.endpoints.limitsOf(poolOf(receiver));
  const state = await changeEndpoint(process, receiver, (one) => retryNow(one, now), audit);
  if (state.paused || state.disabled !== null) return 0;
  const parked = await outbox.countParked(receiver);
  return parked + (await outbox.retry(receiver, limits));
}

/** The endpoint to test, and what its message is made of. */
interface EndpointTest {
  endpoint: string;
  /** Its messages are for people: the test also shows an alert. */
  isForPeople: boolean;
  now: number;
  newMark: NewMark;
}

/**
 * Sends `runwatch.test` to an endpoint at once, past breaker, pause and rate. It is not a delivery: no
 * counter has it, and it is not retried.
 */
export async function testEndpoint(
  { channel }: Route,
  { endpoint, isForPeople, now, newMark }: EndpointTest,
): Promise<{ delivered: boolean; attempt: Attempt }> {
  const eventId = systemEventId(newMark);
  const sample = isForPeople ? { test: true, alert: sampleAlert(eventId, now) } : {};
  const body = JSON.stringify({
    id: eventId,
    type: TEST_EVENT_TYPE,
    timestamp: isoTime(now),
    data: { endpoint, ...sample },
  });
  try {
    const { kind, attempt } = await channel.send({ eventId, eventType: TEST_EVENT_TYPE, body });
    return { delivered: kind === 'delivered', attempt };
  } catch (error) {
    if (!isWithoutResult(error)) throw error;
    const { code, message } = error;
    const failed = { at: now, status: null, error: { code, message }, durationMs: 0 };
    return { delivered: false, attempt: { ...failed, response: null } };
  }
}

/** An alert as a rule about failed runs would send it. */
function sampleAlert(id: string, now: number) {
  const runs = [1, 2, 3].map((number) => ({
    run_id: `sample-run-${number}`,
    workflow_id: 'sample-workflow',
    name: 'invoices',
    url: null,
    status: 'failed',
    at: isoTime(now - number * 10_000),
  }));
  return {
    id,
    rule: 'failed-runs',
    labels: { source: 'default', workflow_id: 'sample-workflow' },
    state: 'firing',
    severity: 'error',
    owner: null,
    count: runs.length,
    runs,
    started_at: isoTime(now - 30_000),
    updated_at: isoTime(now),
    resolved_at: null,
    acknowledged: null,
    notified: [],
    annotations: { summary: 'This is what an alert of runwatch looks like; nothing has failed.' },
    url: null,
  };
}
