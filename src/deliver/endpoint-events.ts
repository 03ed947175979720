import type { EndpointAlert, EndpointState } from '../core/delivery/endpoint-state.ts';
import { shownReceiver, type Receiver } from '../core/delivery/receiver.ts';
import type { AttemptError, Delivery } from '../core/delivery/delivery.ts';
import { isoTime } from '../core/event/event.ts';
import type { PlannedEvent } from './stores.ts';

/** An event about an endpoint: what operators hear when it changes. */
export interface EndpointEvent {
  type: EndpointAlert | 'delivery.exhausted';
  about: Receiver;
  /** As it is sent; snake_case, times as ISO 8601. */
  data: Record<string, unknown>;
}

interface EndpointEventsDeps {
  /** Makes the event and its deliveries to those that name its type; null where no endpoint does. */
  plan: (event: {
    type: EndpointEvent['type'];
    data: EndpointEvent['data'];
  }) => PlannedEvent | null;
  log: (event: EndpointEvent) => void;
}

/**
 * Plans events about endpoints, to be written with the result that gave rise to them; they are logged
 * once that is done. An event about an endpoint never goes to that endpoint.
 */
export function createEndpointEvents({ plan, log }: EndpointEventsDeps) {
  return {
    announce(events: readonly EndpointEvent[]): void {
      for (const event of events) log(event);
    },

    plan(events: readonly EndpointEvent[]): PlannedEvent[] {
      return events.flatMap(({ type, data, about }) => {
        const planned = plan({ type, data });
        if (planned === null) return [];
        const deliveries = planned.deliveries.filter(({ endpoint }) => endpoint !== about);
        return deliveries.length === 0 ? [] : [{ ...planned, deliveries }];
      });
    },
  };
}

export type EndpointEvents = ReturnType<typeof createEndpointEvents>;

interface Cause {
  delivery: Delivery;
  error: AttemptError | null;
}

const HELP: Record<EndpointEvent['type'], (name: string) => string> = {
  'endpoint.failing': (name) =>
    `Its deliveries wait and one at a time probes; when the receiver is mended, \`runwatch endpoints retry ${name}\` sends them at once.`,
  'endpoint.recovered': () => 'What waited goes out now.',
  'endpoint.disabled': (name) =>
    `Later deliveries are skipped until \`runwatch endpoints resume ${name}\`; then \`runwatch redeliver --endpoint ${name}\` sends what was skipped.`,
  'delivery.exhausted': (name) =>
    `\`runwatch deliveries --endpoint ${name} --state dead\` lists what was given up, \`runwatch redeliver --endpoint ${name}\` sends it again.`,
};

/** What a change of an endpoint is worth saying. */
export function endpointEvent(
  type: EndpointEvent['type'],
  { before, after }: { before: EndpointState; after: EndpointState },
  { delivery, error }: Cause,
): EndpointEvent {
  const endpoint = shownReceiver(delivery.endpoint);
  const since = after.failingSince ?? before.failingSince;
  const data = {
    endpoint,
    ...(after.disabled !== null && { reason: after.disabled.reason }),
    delivery_id: delivery.id,
    error,
    failing_since: since === null ? null : isoTime(since),
    failures: Math.max(after.failures, before.failures),
    help: HELP[type](endpoint),
  };
  return { type, about: delivery.endpoint, data };
}
