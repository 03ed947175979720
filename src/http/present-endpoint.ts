import type { z } from 'zod';
import { patternsInForce, presentAttempt, timeOrNull } from './present.ts';
import type { endpointSchema, endpointTest, rotatedSecret } from './schemas/endpoint.ts';
import type { EndpointHealth, EndpointService, EndpointTest, EndpointView } from './services.ts';

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
