import { isIPv6 } from 'node:net';
import type { Config, EndpointConfig, WebhookEndpointConfig } from '../config/schema.ts';
import { loadTlsFiles } from '../config/tls-files.ts';
import type { Delivery } from '../core/delivery/delivery.ts';
import {
  subscriptionKey,
  watchId,
  type Watch,
  type WebhookSubscription,
} from '../core/watch/watch.ts';
import { BODY_KINDS } from '../deliver/channels/bodies.ts';
import type { Channel, Route } from '../deliver/channels/channel.ts';
import type { EndpointSecrets } from '../deliver/secrets/endpoint-secrets.ts';
import { createLogChannel } from '../deliver/channels/log.ts';
import type { OwnerOf } from '../deliver/channels/notice/notice.ts';
import type { Sealer } from '../deliver/secrets/seal.ts';
import { deriveWebhookSecret } from '../deliver/secrets/sign.ts';
import type { WebhookAgents } from '../deliver/http-post.ts';
import type { AlertMessages } from '../deliver/ports.ts';
import { createWebhookChannel } from '../deliver/channels/webhook.ts';
import type { SealedParts } from '../poll/register-watches.ts';
import type { WatchStore } from '../redis/stores/watch-store.ts';
import type { EventLog } from '../telemetry/logger.ts';
import type { Endpoints } from './endpoints.ts';
import { isLoopback } from '../config/hosts.ts';
import { createDiscordChannel } from '../deliver/channels/discord.ts';
import { createEmailChannel } from '../deliver/channels/email.ts';
import { namingWorkflows, type WorkflowNameOf } from '../deliver/channels/name-workflows.ts';
import { createPagerDutyChannel } from '../deliver/channels/pagerduty.ts';
import { createSlackBot, createSlackWebhook } from '../deliver/channels/slack.ts';
import { createTeamsChannel } from '../deliver/channels/teams.ts';
import { createEndpointGuard } from '../deliver/egress/egress-guard.ts';
import type { HttpDeps } from '../deliver/http-attempt.ts';
import type { Names } from '../names.ts';

export interface RoutesDependencies {
  endpoints: Pick<Endpoints, 'all'>;
  watches: WatchStore;
  /** Connections for configured endpoints, and for webhooks that came with a watch. */
  agents: Record<'configured' | 'perWatch', WebhookAgents>;
  sealer: Sealer;
  secrets: Pick<EndpointSecrets, 'effective'>;
  alertMessages: AlertMessages;
  /** The owners of workflows. */
  ownerOf: OwnerOf;
  workflowNameOf: WorkflowNameOf;
  /** Where `log` endpoints write. */
  eventLog: EventLog;
  /** The secrets of per-watch webhooks without one are derived from it. */
  signingSecret: string;
  /** The options of per-watch webhooks, which have none of their own. */
  perWatch: { timeoutMs: number; retry: readonly number[] };
  userAgent: string;
  names: Names;
  now: () => number;
  timeOfDay: () => number;
}

/** Finds the route of a delivery; null for an unknown endpoint. */
export type Routes = (
  delivery: Pick<Delivery, 'endpoint' | 'source' | 'runId'>,
) => Promise<Route | null>;

/** The routes in force, and those of another configuration in their place. */
export interface RouteTable {
  routeOf: Routes;
  /**
   * Makes the routes of changed endpoints, also of those with changed certificate files alone.
   * Throws RunwatchError `tls_files_unusable`, and changes nothing then.
   * @returns puts them in force, and returns the names of endpoints that are reached in another way now
   */
  prepare: (endpoints: Config['endpoints']) => () => string[];
}

/**
 * Finds routes: the channel of a configured endpoint, made once, or one for the webhook that came with
 * the watch.
 * Throws RunwatchError `tls_files_unusable`.
 */
export function createRoutes(deps: RoutesDependencies): RouteTable {
  let configured = routesTo(deps.endpoints.all, deps);
  let ways = waysTo(deps.endpoints.all);
  return {
    async routeOf(delivery) {
      const route = configured.get(delivery.endpoint);
      if (route !== undefined) return route();
      const stored = await deps.watches.get(delivery);
      return stored === null ? null : perWatchRoute(stored.watch, delivery.endpoint, deps);
    },
    prepare(endpoints) {
      const next = routesTo(endpoints, deps);
      const nextWays = waysTo(endpoints);
      return () => {
        const changed = [...nextWays].filter(([name, way]) => (ways.get(name) ?? way) !== way);
        configured = next;
        ways = nextWays;
        return changed.map(([name]) => name);
      };
    },
  };
}

function routesTo(
  endpoints: Config['endpoints'],
  deps: RoutesDependencies,
): Map<string, RouteFinder> {
  return new Map(
    Object.entries(endpoints).map(([name, endpoint]) => [name, routeTo(name, endpoint, deps)]),
  );
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

type RouteFinder = () => Promise<Route>;

/**
 * A new kind of endpoint is a file in `deliver/channels/` and a case here.
 * Throws RunwatchError `tls_files_unusable`.
 */
function routeTo(name: string, endpoint: EndpointConfig, deps: RoutesDependencies): RouteFinder {
  switch (endpoint.type) {
    case 'log': {
      const { eventLog: log, now } = deps;
      const channel = createLogChannel({ log, level: endpoint.level, now });
      return () => Promise.resolve({ channel, retry: [] });
    }
    case 'webhook':
      return configuredWebhook(name, endpoint, deps);
    case 'slack':
    case 'teams':
    case 'discord':
    case 'email':
    case 'pagerduty': {
      const made = createPeopleChannel(name, endpoint, peopleDeps(deps));
      const channel = namingWorkflows(made, deps.workflowNameOf);
      return () => Promise.resolve({ channel, retry: endpoint.retry });
    }
  }
}

function peopleDeps({ agents, ...rest }: RoutesDependencies) {
  const { userAgent, names, now, alertMessages, ownerOf } = rest;
  return { agents: agents.configured, userAgent, names, now, alertMessages, ownerOf };
}

/** The channel is made anew when the signing secrets change: by a rotation, or when one expires. */
function configuredWebhook(
  name: string,
  endpoint: WebhookEndpointConfig,
  deps: RoutesDependencies,
): RouteFinder {
  const { url, headers, timeout: timeoutMs, retry, auth } = endpoint;
  const target = {
    url,
    headers,
    timeoutMs,
    body: BODY_KINDS[endpoint.body],
    ...(auth && { auth }),
    ...(endpoint.tls && { tls: loadTlsFiles(['endpoints', name], endpoint.tls) }),
  };
  let made: { signedBy: string; route: Route } | null = null;
  return async () => {
    const secrets = await deps.secrets.effective(name);
    const signedBy = secrets.join(' ');
    if (made?.signedBy !== signedBy) {
      made = {
        signedBy,
        route: { channel: webhook(deps, 'configured', { ...target, secrets }), retry },
      };
    }
    return made.route;
  };
}

function perWatchRoute(watch: Watch, endpoint: string, deps: RoutesDependencies): Route | null {
  const subscription = [...watch.subscriptions, ...watch.formerWebhooks].find(
    (one): one is WebhookSubscription =>
      one.kind === 'webhook' && subscriptionKey(one) === endpoint,
  );
  if (subscription === undefined) return null;
  const { url, secret, headers } = deps.sealer.open(
    subscription.sealed,
    watchId(watch),
  ) as SealedParts;
  return {
    channel: webhook(deps, 'perWatch', {
      url,
      isUrlSecret: true,
      isGuarded: true,
      secrets: [secret ?? deriveWebhookSecret(deps.signingSecret, { source: watch.source, url })],
      headers: headers ?? {},
      timeoutMs: deps.perWatch.timeoutMs,
    }),
    retry: deps.perWatch.retry,
  };
}

function webhook(
  { agents, userAgent, now, timeOfDay }: RoutesDependencies,
  given: keyof RoutesDependencies['agents'],
  target: Parameters<typeof createWebhookChannel>[0],
): Channel {
  return createWebhookChannel(target, { agents: agents[given], userAgent, now, timeOfDay });
}

/** Endpoints with messages for people. */
type PeopleEndpoint = Exclude<EndpointConfig, { type: 'webhook' | 'log' }>;

/** The channel of an endpoint with messages for people. */
function createPeopleChannel(
  name: string,
  endpoint: PeopleEndpoint,
  deps: HttpDeps & { alertMessages: AlertMessages; ownerOf: OwnerOf; names: Names },
): Channel {
  const { timeout: timeoutMs } = endpoint;
  const { ownerOf } = deps;
  switch (endpoint.type) {
    case 'slack': {
      const { url, bot_token: token, channel = '', api_url: apiUrl, mentions } = endpoint;
      if (url !== undefined) return createSlackWebhook({ url, mentions, ownerOf, timeoutMs }, deps);
      const bot = { endpoint: name, token: token ?? '', channel, apiUrl, mentions };
      return createSlackBot({ ...bot, ownerOf, timeoutMs }, deps);
    }
    case 'discord':
      return createDiscordChannel({ ...endpoint, ownerOf, timeoutMs }, deps);
    case 'teams':
      return createTeamsChannel({ ...endpoint, ownerOf, timeoutMs }, deps);
    case 'email': {
      const { from, to, mentions } = endpoint;
      const tls = endpoint.tls ? loadTlsFiles(['endpoints', name], endpoint.tls) : {};
      return createEmailChannel(
        { endpoint: name, ...smtpServer(endpoint), tls, from, to, mentions, ownerOf, timeoutMs },
        {
          now: deps.now,
          guard: createEndpointGuard({ resolve: deps.names.ofReceiver }),
          alertMessages: deps.alertMessages,
        },
      );
    }
    case 'pagerduty': {
      const { routing_key: routingKey, api_url: apiUrl } = endpoint;
      return createPagerDutyChannel({ routingKey, apiUrl, ownerOf, timeoutMs }, deps);
    }
  }
}

/** The usual ports of SMTP: with TLS from the first byte, and for submission (RFC 8314, RFC 6409). */
const SECURE_PORT = 465;
const SUBMISSION_PORT = 587;

/** A host as a URL has it: an address of IPv6 in brackets. */
function inUrl(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}

/** Where mails are handed in. A password goes over TLS alone, unless the server is this machine. */
export function smtpServer(endpoint: Extract<PeopleEndpoint, { type: 'email' }>) {
  const { url = `smtp://${inUrl(endpoint.host ?? '')}`, username, password } = endpoint;
  const { protocol, hostname, port, username: user, password: pass } = new URL(url);
  const isSecure = protocol === 'smtps:' || endpoint.port === SECURE_PORT;
  const given =
    user === '' ? null : { user: decodeURIComponent(user), pass: decodeURIComponent(pass) };
  const auth = username === undefined ? given : { user: username, pass: password ?? '' };
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return {
    host,
    port: endpoint.port ?? (Number(port) || (isSecure ? SECURE_PORT : SUBMISSION_PORT)),
    isSecure,
    requiresTls: !isSecure && auth !== null && !isLoopback(host),
    auth,
  };
}
