import type { Config } from '../config/schema.ts';

/** The name of the endpoint that is there when none is configured. */
const FALLBACK = 'log';

/** The configured endpoints, and who is told when a watch names nobody. */
export interface Endpoints {
  all: Config['endpoints'];
  names: string[];
  defaults: string[];
  /** Event patterns of an endpoint; undefined stands for the types told by default. */
  filterOf: (name: string) => readonly string[] | undefined;
}

export function createEndpoints(configured: Config['endpoints']): Endpoints {
  const isEmpty = Object.keys(configured).length === 0;
  const all: Config['endpoints'] = isEmpty
    ? { [FALLBACK]: { type: 'log', level: 'info', default: true } }
    : configured;
  const names = Object.keys(all);
  const marked = names.filter((name) => all[name]?.default === true);
  return {
    all,
    names,
    defaults: marked.length > 0 ? marked : names,
    filterOf: (name) => all[name]?.events,
  };
}
