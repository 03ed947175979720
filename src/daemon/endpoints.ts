import type { Config } from '../config/schema.ts';
import type { EndpointFilter } from '../core/delivery.ts';
import { matchesWatch, wantsEvent } from '../core/filter.ts';

/** The name of the endpoint that is there when none is configured. */
const FALLBACK = 'log';

/** The configured endpoints, and who is told when a watch names nobody. */
export interface Endpoints {
  all: Config['endpoints'];
  names: string[];
  defaults: string[];
  /** By the endpoint's `events` and `when`. */
  wants: EndpointFilter;
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
    wants: (name, type, watch) => {
      const { events, when } = all[name] ?? {};
      return wantsEvent(events, type) && matchesWatch(when, watch);
    },
  };
}
