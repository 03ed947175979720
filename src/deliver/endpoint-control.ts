import type { Attempt } from '../core/delivery.ts';
import { systemEventId, type NewMark } from '../core/event-id.ts';
import { isoTime, TEST_EVENT_TYPE } from '../core/event.ts';
import type { Gate } from '../core/gate.ts';
import type { Route } from './route.ts';
import type { GateStore } from './stores.ts';

/** Turns a gate by hand, whatever else turns it at the same time. */
export async function turnGate(
  gates: GateStore,
  name: string,
  turn: (gate: Gate) => Gate,
  now: number,
): Promise<void> {
  for (;;) {
    const before = await gates.get(name);
    if (await gates.write(before, turn(before.gate), now)) return;
  }
}

/**
 * Sends `runwatch.test` to an endpoint at once, past breaker, pause and rate: that is what a test is
 * for. It is no delivery, so it is in no ledger and not tried again.
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
