import { COMMON_KEYS } from '../config/endpoint-schema.ts';
import type { Config, EndpointConfig } from '../config/schema.ts';
import { loadTlsFiles } from '../config/tls-files.ts';
import { batchSealContext } from '../core/batch.ts';
import { isForPeople, type Delivery } from '../core/delivery/delivery.ts';
import { DEFAULT_RETRY_MS, DEFAULT_TIMEOUT_MS } from '../core/delivery/retry.ts';
import { workflowEntry } from '../core/run/workflow-entry.ts';
import {
  subscriptionKey,
  watchId,
  type SealedParts,
  type Subscription,
  type WebhookSubscription,
} from '../core/watch/watch.ts';
import type { Route } from './channels/channel.ts';
import { namingChannel } from './channels/naming.ts';
import { createWebhookChannel } from './channels/webhook.ts';
import type { Deliverer } from './deliverer.ts';
import { endpointKindOf } from './endpoint-kinds.ts';
import { HttpAttempts } from './http-attempt.ts';
import { deriveWebhookSecret } from './secrets/sign.ts';

type RouteFinder = () => Promise<Route>;

/**
 * Finds routes: the channel of a configured endpoint, made once, or one for the webhook that came with
 * the watch. A reload replaces those of configured endpoints.
 */
export class Routes {
  /** The retry schedule of per-watch webhooks, which have no options, and of unknown endpoints. */
  readonly defaultRetry: readonly number[] = DEFAULT_RETRY_MS;
  private readonly http: HttpAttempts;
  private readonly perWatchHttp: HttpAttempts;
  private configured: Map<string, RouteFinder>;
  private ways: Map<string, string>;

  /** Throws RunwatchError `tls_files_unusable`. */
  constructor(private readonly deliverer: Deliverer) {
    const { agents, process } = deliverer;
    this.http = new HttpAttempts(agents.configured, process);
    this.perWatchHttp = new HttpAttempts(agents.perWatch, process);
    const { all } = process.endpoints;
    this.configured = this.routesTo(all);
    this.ways = waysTo(all);
  }

  /** The route of a delivery; null for an unknown endpoint. */
  readonly routeOf = async (
    delivery: Pick<Delivery, 'endpoint' | 'source' | 'runId' | 'batchId'>,
  ): Promise<Route | null> => {
    const route = this.configured.get(delivery.endpoint);
    if (route !== undefined) return route();
    const { batches, watches } = this.deliverer.process.stores;
    if (delivery.batchId !== undefined) {
      const found = await batches.read(delivery.batchId);
      if (found === null) return null;
      const { subscriptions, inherited } = found.batch;
      const owned = [...(subscriptions ?? []), ...inherited];
      return this.webhookRoute(owned, delivery, batchSealContext(found.batch));
    }
    const stored = await watches.get(delivery);
    if (stored === null) return null;
    const { subscriptions, formerWebhooks } = stored.watch;
    return this.webhookRoute([...subscriptions, ...formerWebhooks], delivery, watchId(delivery));
  };

  /**
   * Makes the routes of changed endpoints, also of those with changed certificate files alone.
   * Throws RunwatchError `tls_files_unusable`, and changes nothing then.
   * @returns puts them in force, and returns the names of endpoints that are reached in another way now
   */
  prepare(endpoints: Config['endpoints']): () => string[] {
    const next = this.routesTo(endpoints);
    const nextWays = waysTo(endpoints);
    return () => {
      const changed = [...nextWays].filter(([name, way]) => (this.ways.get(name) ?? way) !== way);
      this.configured = next;
      this.ways = nextWays;
      return changed.map(([name]) => name);
    };
  }

  private routesTo(endpoints: Config['endpoints']): Map<string, RouteFinder> {
    return new Map(
      Object.entries(endpoints).map(([name, endpoint]) => [name, this.routeTo(name, endpoint)]),
    );
  }

  /** Throws RunwatchError `tls_files_unusable`. */
  private routeTo(name: string, endpoint: EndpointConfig): RouteFinder {
    const { http, deliverer } = this;
    const retry = 'retry' in endpoint ? endpoint.retry : [];
    const find = endpointKindOf(endpoint).openChannel(endpoint, {
      name,
      http,
      deliverer,
      wording: {
        ownerOf: (workflow) => workflowEntry(deliverer.process.config, workflow)?.owner ?? null,
        labelOf: (source) => deliverer.process.labelOf(source),
      },
    });
    if (!isForPeople(endpoint.type)) return async () => ({ channel: await find(), retry });
    return async () => ({ channel: namingChannel(await find(), deliverer.process), retry });
  }

  /** The route to a webhook among those of a watch or a batch. @param context what they are sealed for */
  private webhookRoute(
    subscriptions: readonly Subscription[],
    { endpoint, source }: Pick<Delivery, 'endpoint' | 'source'>,
    context: string,
  ): Route | null {
    const subscription = subscriptions.find(
      (one): one is WebhookSubscription =>
        one.kind === 'webhook' && subscriptionKey(one) === endpoint,
    );
    if (subscription === undefined) return null;
    const { clock, secrets } = this.deliverer.process;
    const { sealer, signingSecret } = secrets;
    const { url, secret, headers } = sealer.open(subscription.sealed, context) as SealedParts;
    const target = {
      url,
      isUrlSecret: true,
      isGuarded: true,
      secrets: [secret ?? deriveWebhookSecret(signingSecret, { source, url })],
      headers: headers ?? {},
      timeoutMs: DEFAULT_TIMEOUT_MS,
    };
    const channel = createWebhookChannel(target, this.perWatchHttp, clock.timeOfDay);
    return { channel, retry: this.defaultRetry };
  }
}

/**
 * How each endpoint is reached: the settings of its kind, which decide whether its receiver takes a
 * message, with the contents of its certificate files. Throws RunwatchError `tls_files_unusable`.
 */
function waysTo(endpoints: Config['endpoints']): Map<string, string> {
  return new Map(
    Object.entries(endpoints).map(([name, endpoint]) => {
      const own = Object.entries(endpoint).filter(([key]) => !COMMON_KEYS.has(key));
      const tls =
        'tls' in endpoint && endpoint.tls && loadTlsFiles(['endpoints', name], endpoint.tls);
      return [name, JSON.stringify([Object.fromEntries(own), tls])];
    }),
  );
}
