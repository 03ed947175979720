import type { Config } from '../config/schema.ts';
import type { WorkflowKey } from '../core/cadence/phase.ts';
import { isForPeople, type EndpointFilter } from '../core/delivery/delivery.ts';
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
import { DEFAULT_TIMEOUT_MS } from '../core/delivery/retry.ts';

/** The name of the endpoint that exists when none is configured. */
const FALLBACK = 'log';

/**
 * The configured endpoints, and the default ones for watches that name none. A reload replaces them:
 * read them where they are used, and keep none.
 */
export class Endpoints {
  private current: ReturnType<typeof resolveEndpoints>;

  constructor(config: Config) {
    this.current = resolveEndpoints(config);
  }

  get all(): Config['endpoints'] {
    return this.current.all;
  }

  get names(): string[] {
    return this.current.names;
  }

  get defaults(): string[] {
    return this.current.defaults;
  }

  /** Whether any endpoint goes by the metadata of watches. */
  get matchMetadata(): boolean {
    return Object.values(this.all).some(({ when }) => when?.metadata !== undefined);
  }

  /** Whether an endpoint gets an event, by its `events` and `when`. */
  readonly wants: EndpointFilter = (name, type, watch) => {
    const { events, when } = this.all[name] ?? {};
    return wantsEvent(events, type) && matchesWatch(when, watch);
  };

  /** The endpoints that get a system event; one about a workflow reaches those whose `when` admits its runs. */
  readonly wantingSystemEvent = (type: string, workflow: WorkflowKey | null = null): string[] => {
    const { byRules } = this.current;
    return this.names.filter((name) => {
      const { events, when, default: isDefault } = this.all[name] ?? {};
      if (workflow !== null && !mayWatch(when, workflow)) return false;
      // An endpoint that only rules notify hears of what it names.
      const isOfRules = events === undefined && isDefault !== true && byRules.has(name);
      return !isOfRules && namesSystemEvent(events, type);
    });
  };

  /**
   * The endpoints that get an event of an alert: those that its rule names, and those that name the type
   * and are named by no rule.
   */
  readonly wantingAlertEvent = (type: string, named: readonly string[]): string[] => {
    const { byRules } = this.current;
    return this.names.filter((name) => {
      const { events } = this.all[name] ?? {};
      const isChoosy = ALERT_EVENT_TYPES.some((one) => namesAlertEvent(events, one));
      if (isChoosy && !namesAlertEvent(events, type)) return false;
      return named.includes(name) || (isChoosy && !byRules.has(name));
    });
  };

  /** True for configured endpoints and for origins. */
  readonly knows = (pool: string): boolean => isOrigin(pool) || Object.hasOwn(this.all, pool);

  /** Whether it writes to the log of the process. */
  readonly isLog = (name: string): boolean => this.all[name]?.type === 'log';

  /** Whether it gets messages, rather than events as they are. */
  readonly isForPeople = (name: string): boolean => isForPeople(this.all[name]?.type);

  /** The limits of an endpoint, or of an origin of per-watch webhooks. */
  readonly limitsOf = (pool: string): EndpointLimits => {
    const endpoint = this.all[pool];
    const own = endpoint === undefined || endpoint.type === 'log' ? undefined : endpoint;
    return {
      most: own?.concurrency ?? this.current.perEndpoint,
      rate: own?.rate ?? null,
      deadlineMs: own?.timeout ?? DEFAULT_TIMEOUT_MS,
      ...(own !== undefined && 'fold' in own && own.fold && { foldMost: FOLD_MOST }),
    };
  };

  /** Takes those of another configuration in their place. */
  replace(config: Config): void {
    this.current = resolveEndpoints(config);
  }
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
