import type { Config, EndpointConfig } from '../config/schema.ts';

/** The name of the endpoint that is there when none is configured. */
const FALLBACK = 'log';

/** The configured endpoints, and who is told when a watch names nobody. */
export interface Endpoints {
  names: string[];
  defaults: string[];
  get(name: string): EndpointConfig | undefined;
  /** Event patterns of an endpoint; undefined stands for the types told by default. */
  filterOf(name: string): readonly string[] | undefined;
}

export function createEndpoints(configured: Config['endpoints']): Endpoints {
  const all = new Map(Object.entries(configured));
  if (all.size === 0) {
    all.set(FALLBACK, { type: 'log', level: 'info', default: true });
  }
  const names = [...all.keys()];
  const marked = names.filter((name) => all.get(name)?.default === true);
  return {
    names,
    defaults: marked.length > 0 ? marked : names,
    get: (name) => all.get(name),
    filterOf: (name) => all.get(name)?.events,
  };
}
