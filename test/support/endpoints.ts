import { configSchema } from '../../src/config/schema.ts';
import type { EndpointLimits } from '../../src/core/delivery/endpoint-state.ts';
import { Endpoints } from '../../src/deliver/endpoints.ts';

/** The endpoints of a configuration with these. */
export function endpointsOf(endpoints: object, more: object = {}): Endpoints {
  return new Endpoints(configSchema.parse({ data_dir: '/nowhere', endpoints, ...more }));
}

/** Endpoints with the limits of a test, whatever they are called. */
export function limitedTo(limitsOf: (pool: string) => EndpointLimits): Endpoints {
  return Object.assign(endpointsOf({}), { limitsOf });
}
