import type { Config } from '../config/schema.ts';
import type { WorkflowKey } from '../core/cadence/phase.ts';
import type { EndpointFilter } from '../core/delivery/delivery.ts';
import { notifiedByRules } from '../core/alert/rule.ts';
import { ALERT_EVENT_TYPES } from '../core/event/event.ts';
import {
  isAmong,
  matchesWatch,
  namesAlertEvent,
  namesSystemEvent,
  wantsEvent,
  type WatchMatch,
} from '../core/event/patterns.ts';
import type { EndpointLimits } from '../core/delivery/endpoint-state.ts';
import { FOLD_MOST } from '../core/delivery/fold.ts';
import { isOrigin } from '../core/delivery/receiver.ts';

/** The default delays between attempts, ms. */
export const DEFAULT_RETRY_MS = [
  5, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400,
].map((seconds) => seconds * 1_000);

/** The deadline of per-watch webhooks, which have no options, ms. */
export const PER_WATCH_TIMEOUT_MS = 15_000;

/** The name of the endpoint that exists when none is configured. */
const FALLBACK = 'log';

/**
 * The configured endpoints, and the default ones for watches that name none. A reload replaces them:
 * read them where they are used, and keep none.
 */
export interface Endpoints {
  readonly all: Config['endpoints'];
  readonly names: string[];
  readonly defaults: string[];
  /** Whether any endpoint goes by the metadata of watches. */
  readonly matchMetadata: boolean;
  /** Whether an endpoint gets an event, by its `events` and `when`. */
  wants: EndpointFilter;
  /** The endpoints that get a system event; one about a workflow reaches those whose `when` admits its runs. */
  wantingSystemEvent: (type: string, workflow?: WorkflowKey | null) => string[];
  /**
   * The endpoints that get an event of an alert: those that its rule names, and those that name the type
   * and are named by no rule.
   */
  wantingAlertEvent: (type: string, named: readonly string[]) => string[];
  /** The limits of an endpoint, or of an origin of per-watch webhooks. */
  limitsOf: (pool: string) => EndpointLimits;
  /** True for configured endpoints and for origins. */
  knows: (pool: string) => boolean;
  /** Whether it writes to the log of the process. */
  isLog: (name: string) => boolean;
  /** Takes those of another configuration in their place. */
  replace: (config: Config) => void;
}

export function createEndpoints(config: Config): Endpoints {
  let current = resolveEndpoints(config);
  return {
    get all() {
      return current.all;
    },
    get names() {
      return current.names;
    },
    get defaults() {
      return current.defaults;
    },
    get matchMetadata() {
      return Object.values(current.all).some(({ when }) => when?.metadata !== undefined);
    },
    wants: (name, type, watch) => {
      const { events, when } = current.all[name] ?? {};
      return wantsEvent(events, type) && matchesWatch(when, watch);
    },
    wantingSystemEvent: (type, workflow = null) =>
      current.names.filter((name) => {
        const { events, when, default: isDefault } = current.all[name] ?? {};
        if (workflow !== null && !mayWatch(when, workflow)) return false;
        // An endpoint that only rules notify hears of what it names.
        const isOfRules = events === undefined && isDefault !== true && current.byRules.has(name);
        return !isOfRules && namesSystemEvent(events, type);
      }),
    wantingAlertEvent: (type, named) =>
      current.names.filter((name) => {
        const { events } = current.all[name] ?? {};
        const isChoosy = ALERT_EVENT_TYPES.some((one) => namesAlertEvent(events, one));
        if (isChoosy && !namesAlertEvent(events, type)) return false;
        return named.includes(name) || (isChoosy && !current.byRules.has(name));
      }),
    knows: (pool) => isOrigin(pool) || Object.hasOwn(current.all, pool),
    isLog: (name) => current.all[name]?.type === 'log',
    limitsOf(name) {
      const endpoint = current.all[name];
      const own = endpoint === undefined || endpoint.type === 'log' ? undefined : endpoint;
      return {
        most: own?.concurrency ?? current.perEndpoint,
        rate: own?.rate ?? null,
        deadlineMs: own?.timeout ?? PER_WATCH_TIMEOUT_MS,
        ...(own !== undefined && 'fold' in own && own.fold && { foldMost: FOLD_MOST }),
      };
    },
    replace: (next) => void (current = resolveEndpoints(next)),
  };
}

/** Whether runs of a workflow may meet conditions: they have metadata of their own. */
function mayWatch(
  { source: sources, workflow_id: workflows }: WatchMatch = {},
  { source, workflowId }: WorkflowKey,
): boolean {
  return isAmong(sources, source) && isAmong(workflows, workflowId);
}

/** The configured endpoints, else one that writes to the log. */
export function allEndpoints({ endpoints }: Config): Config['endpoints'] {
  return Object.keys(endpoints).length > 0
    ? endpoints
    : { [FALLBACK]: { type: 'log', level: 'info', default: true } };
}

function resolveEndpoints(config: Config) {
  const all = allEndpoints(config);
  const names = Object.keys(all);
  const marked = names.filter((name) => all[name]?.default === true);
  const byRules = notifiedByRules(config.rules);
  const unruled = names.filter((name) => !byRules.has(name));
  const defaults = marked.length > 0 ? marked : unruled;
  return { all, names, defaults, byRules, perEndpoint: config.delivery.per_endpoint };
}
