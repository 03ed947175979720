import type { Config, EndpointConfig, WebhookEndpointConfig } from '../config/schema.ts';
import { loadTlsFiles } from '../config/tls-files.ts';
import type { WorkflowKey } from '../core/cadence/phase.ts';
import type { Delivery } from '../core/delivery/delivery.ts';
import { DEFAULT_RETRY_MS } from '../core/delivery/retry.ts';
import {
  subscriptionKey,
  watchId,
  type SealedParts,
  type Watch,
  type WebhookSubscription,
} from '../core/watch/watch.ts';
import { BODY_KINDS } from './channels/bodies.ts';
import type { Channel, Route } from './channels/channel.ts';
import { createDiscordChannel } from './channels/discord.ts';
import { createEmailChannel, smtpServer } from './channels/email.ts';
import { createLogChannel } from './channels/log.ts';
import { namingWorkflows } from './channels/name-workflows.ts';
import { createPagerDutyChannel } from './channels/pagerduty.ts';
import { createSlackChannel } from './channels/slack.ts';
import { createTeamsChannel } from './channels/teams.ts';
import { createWebhookChannel } from './channels/webhook.ts';
import type { Deliverer } from './deliverer.ts';
import { createEndpointGuard } from './egress/egress-guard.ts';
import { HttpAttempts } from './http-attempt.ts';
import { PER_WATCH_TIMEOUT_MS } from './endpoints.ts';
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
    delivery: Pick<Delivery, 'endpoint' | 'source' | 'runId'>,
  ): Promise<Route | null> => {
    const route = this.configured.get(delivery.endpoint);
    if (route !== undefined) return route();
    const stored = await this.deliverer.process.stores.watches.get(delivery);
    return stored === null ? null : this.perWatchRoute(stored.watch, delivery.endpoint);
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

  /**
   * A new kind of endpoint is a file in `deliver/channels/` and a case here.
   * Throws RunwatchError `tls_files_unusable`.
   */
  private routeTo(name: string, endpoint: EndpointConfig): RouteFinder {
    switch (endpoint.type) {
      case 'log': {
        const { eventLog: log, now } = this.deliverer.process;
        const channel = createLogChannel(log, endpoint.level, now);
        return () => Promise.resolve({ channel, retry: [] });
      }
      case 'webhook':
        return this.configuredWebhook(name, endpoint);
      case 'slack':
      case 'teams':
      case 'discord':
      case 'email':
      case 'pagerduty': {
        const made = this.peopleChannel(name, endpoint);
        const channel = namingWorkflows(made, (workflow) => this.workflowNameOf(workflow));
        return () => Promise.resolve({ channel, retry: endpoint.retry });
      }
    }
  }

  /** The channel is made anew when the signing secrets change: by a rotation, or when one expires. */
  private configuredWebhook(name: string, endpoint: WebhookEndpointConfig): RouteFinder {
    const { url, headers, timeout: timeoutMs, retry, auth } = endpoint;
    const target = {
      url,
      headers,
      timeoutMs,
      body: BODY_KINDS[endpoint.body],
      ...(auth && { auth }),
      ...(endpoint.tls && { tls: loadTlsFiles(['endpoints', name], endpoint.tls) }),
    };
    const { timeOfDay } = this.deliverer.process.clock;
    let made: { signedBy: string; route: Route } | null = null;
    return async () => {
      const secrets = await this.deliverer.secrets.effective(name);
      const signedBy = secrets.join(' ');
      if (made?.signedBy !== signedBy) {
        made = {
          signedBy,
          route: {
            channel: createWebhookChannel({ ...target, secrets }, this.http, timeOfDay),
            retry,
          },
        };
      }
      return made.route;
    };
  }

  private perWatchRoute(watch: Watch, endpoint: string): Route | null {
    const subscription = [...watch.subscriptions, ...watch.formerWebhooks].find(
      (one): one is WebhookSubscription =>
        one.kind === 'webhook' && subscriptionKey(one) === endpoint,
    );
    if (subscription === undefined) return null;
    const { clock, secrets } = this.deliverer.process;
    const { sealer, signingSecret } = secrets;
    const { url, secret, headers } = sealer.open(
      subscription.sealed,
      watchId(watch),
    ) as SealedParts;
    const target = {
      url,
      isUrlSecret: true,
      isGuarded: true,
      secrets: [secret ?? deriveWebhookSecret(signingSecret, { source: watch.source, url })],
      headers: headers ?? {},
      timeoutMs: PER_WATCH_TIMEOUT_MS,
    };
    const channel = createWebhookChannel(target, this.perWatchHttp, clock.timeOfDay);
    return { channel, retry: this.defaultRetry };
  }

  /** The channel of an endpoint with messages for people. */
  private peopleChannel(name: string, endpoint: PeopleEndpoint): Channel {
    const { http } = this;
    const { config, names, now, stores } = this.deliverer.process;
    const { alertMessages } = stores;
    const { timeout: timeoutMs } = endpoint;
    const ownerOf = (workflowId: string | null) =>
      config.workflows[workflowId ?? '']?.owner ?? null;
    switch (endpoint.type) {
      case 'slack':
        return createSlackChannel(
          { ...endpoint, endpoint: name, ownerOf, timeoutMs },
          http,
          alertMessages,
        );
      case 'discord':
        return createDiscordChannel({ ...endpoint, ownerOf, timeoutMs }, http);
      case 'teams':
        return createTeamsChannel({ ...endpoint, ownerOf, timeoutMs }, http);
      case 'email': {
        const { from, to, mentions } = endpoint;
        const tls = endpoint.tls ? loadTlsFiles(['endpoints', name], endpoint.tls) : {};
        const guard = createEndpointGuard({ resolve: names.ofReceiver });
        return createEmailChannel(
          { endpoint: name, ...smtpServer(endpoint), tls, from, to, mentions, ownerOf, timeoutMs },
          alertMessages,
          guard,
          now,
        );
      }
      case 'pagerduty': {
        const { routing_key: routingKey, api_url: apiUrl } = endpoint;
        return createPagerDutyChannel({ routingKey, apiUrl, ownerOf, timeoutMs }, http);
      }
    }
  }

  private workflowNameOf({ source, workflowId }: WorkflowKey): string | null {
    const run = { id: '', workflow_id: workflowId, group_id: null };
    return this.deliverer.process.linksOf({ source, runId: '', run }).workflowName;
  }
}

/** The settings that decide whether a receiver takes a message. */
const WAY = [
  'type',
  'url',
  'headers',
  'auth',
  'secret',
  'host',
  'port',
  'username',
  'password',
  'from',
  'to',
  'bot_token',
  'channel',
  'api_url',
  'routing_key',
] as const;

/**
 * How each endpoint is reached, with the contents of its certificate files.
 * Throws RunwatchError `tls_files_unusable`.
 */
function waysTo(endpoints: Config['endpoints']): Map<string, string> {
  return new Map(
    Object.entries(endpoints).map(([name, endpoint]) => {
      const settings = endpoint as Partial<Record<(typeof WAY)[number], unknown>>;
      const tls =
        'tls' in endpoint && endpoint.tls && loadTlsFiles(['endpoints', name], endpoint.tls);
      return [name, JSON.stringify([...WAY.map((key) => settings[key]), tls])];
    }),
  );
}

/** Endpoints with messages for people. */
type PeopleEndpoint = Exclude<EndpointConfig, { type: 'webhook' | 'log' }>;
