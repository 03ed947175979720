import type { AttemptError, Delivery } from './delivery.ts';
import type { EndpointState } from './endpoint-state.ts';
import { shownReceiver, type Receiver } from './receiver.ts';
import type { ReceiverAlert } from './retry.ts';
import { isoTime } from '../event/event.ts';

/** A system event about an endpoint. */
export interface EndpointEvent {
  type: ReceiverAlert;
  about: Receiver;
  /** As sent: snake_case, times as ISO 8601. */
  data: Record<string, unknown>;
}

interface Cause {
  delivery: Delivery;
  error: AttemptError | null;
}

const HELP: Record<ReceiverAlert, (name: string) => string> = {
  'endpoint.failing': (name) =>
    `Its deliveries wait and one at a time probes; when the receiver is mended, \`runwatch endpoints retry ${name}\` sends them at once.`,
  'endpoint.recovered': () => 'Waiting deliveries are sent now.',
  'endpoint.disabled': (name) =>
    `Later deliveries are skipped until \`runwatch endpoints resume ${name}\`; then \`runwatch redeliver --endpoint ${name}\` sends what was skipped.`,
  'delivery.exhausted': (name) =>
    `\`runwatch deliveries --endpoint ${name} --state dead\` lists what was given up, \`runwatch redeliver --endpoint ${name}\` sends it again.`,
};

/** The event for a change of an endpoint's state. */
export function endpointEvent(
  type: ReceiverAlert,
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
