import type { Config } from '../config/schema.ts';
import type { EndpointFilter } from '../core/delivery/delivery.ts';
import { matchesWatch, wantsEvent } from '../core/event/event.ts';
import type { EndpointLimits } from '../core/delivery/endpoint-state.ts';
import { isOrigin } from '../core/delivery/receiver.ts';

/** The default delays between attempts, ms. */
export const DEFAULT_RETRY_MS = [
  5, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400,
].map((seconds) => seconds * 1_000);

/** The deadline of per-watch webhooks, which have no options, ms. */
export const PER_WATCH_TIMEOUT_MS = 15_000;

/** The name of the endpoint that exists when none is configured. */
const FALLBACK = 'log';

/** The configured endpoints, and the default ones for watches that name none. */
export interface Endpoints {
  all: Config['endpoints'];
  names: string[];
  defaults: string[];
  /** Whether an endpoint gets an event, by its `events` and `when`. */
  wants: EndpointFilter;
  /** The limits of an endpoint, or of an origin of per-watch webhooks. */
  limitsOf: (pool: string) => EndpointLimits;
  /** True for configured endpoints and for origins. */
  knows: (pool: string) => boolean;
}

export function createEndpoints({ endpoints: configured, delivery }: Config): Endpoints {
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
    knows: (pool) => isOrigin(pool) || Object.hasOwn(all, pool),
    limitsOf(name) {
      const endpoint = all[name];
      const own = endpoint?.type === 'webhook' ? endpoint : undefined;
      return {
        most: own?.concurrency ?? delivery.per_endpoint,
        rate: own?.rate ?? null,
        deadlineMs: own?.timeout ?? PER_WATCH_TIMEOUT_MS,
      };
    },
  };
}
