import type { EndpointState } from '../core/delivery/endpoint-state.ts';
import { PER_WATCH } from '../core/delivery/receiver.ts';
import type { EndpointHealth } from '../http/services.ts';
import type { DeliveryStore } from '../redis/stores/delivery-store.ts';
import type { EndpointStore } from '../redis/stores/endpoint-store.ts';
import type { EndpointFigures } from '../telemetry/endpoint-gauges.ts';
import type { Endpoints } from './endpoints.ts';

interface EndpointFiguresDependencies {
  endpoints: Endpoints;
  endpointStates: Pick<EndpointStore, 'getMany'>;
  deliveries: Pick<DeliveryStore, 'ledger' | 'oldestWaiting'>;
  now: () => number;
}

export function healthOf({ disabled, paused, breaker }: EndpointState): EndpointHealth['state'] {
  if (disabled !== null) return 'disabled';
  if (paused) return 'paused';
  return breaker === 'open' ? 'failing' : 'active';
}

/** How endpoints stand, for metrics: those configured, and those that deliveries wait for. */
export async function endpointFigures(
  deps: EndpointFiguresDependencies,
): Promise<EndpointFigures[]> {
  const { endpoints, endpointStates, deliveries, now } = deps;
  const [{ byEndpoint }, states] = await Promise.all([
    deliveries.ledger(),
    endpointStates.getMany(endpoints.names),
  ]);
  const waitingAt = (name: string) => {
    const counts = byEndpoint.get(name);
    return counts === undefined ? 0 : counts.pending + counts.parked;
  };
  const known = new Set([...endpoints.names, PER_WATCH]);
  const others = [...byEndpoint.keys()].filter((name) => !known.has(name) && waitingAt(name) > 0);
  return Promise.all(
    [...known, ...others].map(async (name, at): Promise<EndpointFigures> => {
      const state = states[at]?.state;
      const backlog = waitingAt(name);
      const createdAt = backlog > 0 ? await deliveries.oldestWaiting(name) : null;
      const oldestMs = createdAt === null ? null : Math.max(0, now() - createdAt);
      return {
        name,
        isUp: state === undefined ? null : healthOf(state) === 'active',
        backlog,
        oldestMs: backlog > 0 ? oldestMs : 0,
      };
    }),
  );
}

/** An endpoint whose deliveries do not go out, which no user asked for. */
export interface FailingEndpoint {
  name: string;
  health: 'failing' | 'disabled';
}

/** Configured endpoints that fail, or are disabled because they did. */
export async function failingEndpoints({
  endpoints,
  endpointStates,
}: Pick<EndpointFiguresDependencies, 'endpoints' | 'endpointStates'>): Promise<FailingEndpoint[]> {
  const states = await endpointStates.getMany(endpoints.names);
  return states.flatMap(({ receiver, state }) => {
    const health = healthOf(state);
    return health === 'failing' || health === 'disabled' ? [{ name: receiver, health }] : [];
  });
}
