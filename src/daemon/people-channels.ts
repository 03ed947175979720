import { isIPv6 } from 'node:net';
import { isLoopback } from '../config/hosts.ts';
import type { EndpointConfig } from '../config/schema.ts';
import { loadTlsFiles } from '../config/tls-files.ts';
import type { Channel } from '../deliver/channels/channel.ts';
import { createDiscordChannel } from '../deliver/channels/discord.ts';
import { createEmailChannel } from '../deliver/channels/email.ts';
import { createPagerDutyChannel } from '../deliver/channels/pagerduty.ts';
import { createSlackBot } from '../deliver/channels/slack-bot.ts';
import { createSlackWebhook } from '../deliver/channels/slack.ts';
import { createTeamsChannel } from '../deliver/channels/teams.ts';
import { createEndpointGuard } from '../deliver/egress/guard.ts';
import type { OwnerOf } from '../deliver/channels/notice/notice.ts';
import type { HttpDeps } from '../deliver/http-attempt.ts';
import type { AlertMessages } from '../deliver/ports.ts';

/** Endpoints with messages for people. */
type PeopleEndpoint = Exclude<EndpointConfig, { type: 'webhook' | 'log' }>;

/** The channel of an endpoint with messages for people. */
export function createPeopleChannel(
  name: string,
  endpoint: PeopleEndpoint,
  deps: HttpDeps & { alertMessages: AlertMessages; ownerOf: OwnerOf },
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
        { ...smtpServer(endpoint), tls, from, to, mentions, ownerOf, timeoutMs },
        { now: deps.now, guard: createEndpointGuard() },
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
