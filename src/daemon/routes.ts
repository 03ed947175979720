import type { Config, EndpointConfig } from '../config/schema.ts';
import type { Delivery } from '../core/delivery.ts';
import { subscriptionKey, watchId, type Watch, type WebhookSubscription } from '../core/watch.ts';
import type { Channel } from '../deliver/channel.ts';
import type { Route } from '../deliver/route.ts';
import { createLogChannel, type EventLogger } from '../deliver/log-channel.ts';
import type { Sealer } from '../deliver/seal.ts';
import type { WebhookAgents } from '../deliver/webhook-agents.ts';
import { createWebhookChannel } from '../deliver/webhook-channel.ts';
import type { SealedParts } from '../poll/resolve-request.ts';
import type { WatchStore } from '../redis/watch-store.ts';

export interface RoutesDependencies {
  endpoints: Config['endpoints'];
  watches: WatchStore;
  agents: WebhookAgents;
  sealer: Sealer;
  /** Where `log` endpoints write. */
  eventLog: EventLogger;
  /** Signs webhooks that have no secret of their own. */
  signingSecret: string;
  /** What a per-watch webhook gets, since it has no options of its own. */
  perWatch: { timeoutMs: number; retry: readonly number[] };
  userAgent: string;
  now: () => number;
}

/** Finds the way of a delivery; null when its endpoint is known no more. */
export type Routes = (
  delivery: Pick<Delivery, 'endpoint' | 'source' | 'runId'>,
) => Promise<Route | null>;

/**
 * Finds the way of a delivery: the channel of a configured endpoint, made once, or one for the
 * webhook that came with the watch. Null when the delivery's endpoint is known no more.
 */
export function createRoutes(deps: RoutesDependencies): Routes {
  const configured = new Map(
    Object.entries(deps.endpoints).map(([name, endpoint]) => [name, routeTo(endpoint, deps)]),
  );
  return async function routeOf(delivery) {
    const route = configured.get(delivery.endpoint);
    if (route !== undefined) return route;
    const stored = await deps.watches.get(delivery);
    return stored === null ? null : perWatchRoute(stored.watch, delivery.endpoint, deps);
  };
}

/** A new kind of endpoint is a file in `deliver/` and a line here. */
function routeTo(endpoint: EndpointConfig, deps: RoutesDependencies): Route {
  const { signingSecret, eventLog, now } = deps;
  switch (endpoint.type) {
    case 'log':
      return {
        channel: createLogChannel({ logger: eventLog, level: endpoint.level, now }),
        retry: [],
      };
    case 'webhook':
      return {
        channel: webhook(deps, {
          url: endpoint.url,
          secrets: [endpoint.secret ?? signingSecret],
          headers: endpoint.headers,
          timeoutMs: endpoint.timeout,
        }),
        retry: endpoint.retry,
      };
  }
}

function perWatchRoute(watch: Watch, endpoint: string, deps: RoutesDependencies): Route | null {
  const subscription = watch.subscriptions.find(
    (one): one is WebhookSubscription =>
      one.kind === 'webhook' && subscriptionKey(one) === endpoint,
  );
  if (subscription === undefined) return null;
  const { url, headers = {}, sealed } = subscription;
  const parts =
    sealed === undefined ? {} : (deps.sealer.open(sealed, watchId(watch)) as SealedParts);
  return {
    channel: webhook(deps, {
      url,
      secrets: [parts.secret ?? deps.signingSecret],
      headers: { ...headers, ...parts.headers },
      timeoutMs: deps.perWatch.timeoutMs,
    }),
    retry: deps.perWatch.retry,
  };
}

function webhook(
  { agents, userAgent, now }: RoutesDependencies,
  target: Parameters<typeof createWebhookChannel>[0],
): Channel {
  return createWebhookChannel(target, { agents, userAgent, now });
}
