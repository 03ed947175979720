import type { Config } from '../config/schema.ts';
import type { EndpointFilter } from '../core/delivery/delivery.ts';
import { matchesWatch, wantsEvent } from '../core/event/event.ts';
import type { EndpointLimits } from '../core/delivery/endpoint-state.ts';
import { isOrigin } from '../core/delivery/receiver.ts';

/** The delays of the delivery policy, for deliveries whose endpoint names none, ms. */
export const DEFAULT_RETRY_MS = [
  5, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400,
].map((seconds) => seconds * 1_000);

/** What a per-watch webhook has, since it has no options of its own, ms. */
export const PER_WATCH_TIMEOUT_MS = 15_000;

/** The name of the endpoint that is there when none is configured. */
const FALLBACK = 'log';

/** The configured endpoints, and who is told when a watch names nobody. */
export interface Endpoints {
  all: Config['endpoints'];
  names: string[];
  defaults: string[];
  /** By the endpoint's `events` and `when`. */
  wants: EndpointFilter;
  /** How an endpoint, or an origin of webhooks of watches, may be used. */
  limitsOf: (pool: string) => EndpointLimits;
  /** Whether it is configured here, or an origin. */
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
