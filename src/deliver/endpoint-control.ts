import type { Attempt } from '../core/delivery/delivery.ts';
import { systemEventId, type NewMark, isoTime, TEST_EVENT_TYPE } from '../core/event/event.ts';
import {
  retryNow,
  type EndpointLimits,
  type EndpointState,
} from '../core/delivery/endpoint-state.ts';
import type { Receiver } from '../core/delivery/receiver.ts';
import type { Route } from './channels/channel.ts';
import type { EndpointStore } from './ports.ts';

/** Changes the state of a receiver for a user; retries when another write comes in between. */
export async function changeEndpoint(
  { endpoints, limits, now }: ControlDependencies,
  receiver: Receiver,
  change: (state: EndpointState) => EndpointState,
): Promise<EndpointState> {
  for (;;) {
    const before = await endpoints.get(receiver);
    const after = change(before.state);
    if (await endpoints.write(before, after, { limits, now })) return after;
  }
}

/**
 * Makes all waiting deliveries of a receiver due now. An open breaker probes at once, and parked
 * deliveries follow when the probe succeeds.
 * @returns how many deliveries wait; 0 while the receiver is paused or disabled
 */
export async function retryEndpoint(
  deps: ControlDependencies,
  receiver: Receiver,
): Promise<number> {
  const state = await changeEndpoint(deps, receiver, (before) => retryNow(before, deps.now));
  if (state.paused || state.disabled !== null) return 0;
  const parked = await deps.endpoints.countParked(receiver);
  return parked + (await deps.endpoints.retry(receiver, deps.limits));
}

interface ControlDependencies {
  endpoints: EndpointStore;
  limits: EndpointLimits;
  now: number;
}

/**
 * Sends `runwatch.test` to an endpoint at once, past breaker, pause and rate. It is not a delivery: no
 * counter has it, and it is not retried.
 */
export async function testEndpoint(
  { channel }: Route,
  { endpoint, now, newMark }: { endpoint: string; now: number; newMark: NewMark },
): Promise<{ delivered: boolean; attempt: Attempt }> {
  const eventId = systemEventId(newMark);
  const body = JSON.stringify({
    id: eventId,
    type: TEST_EVENT_TYPE,
    timestamp: isoTime(now),
    data: { endpoint },
  });
  const { kind, attempt } = await channel.send({ eventId, eventType: TEST_EVENT_TYPE, body });
  return { delivered: kind === 'delivered', attempt };
}
