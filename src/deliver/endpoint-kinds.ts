import type { EndpointConfig } from '../config/schema.ts';
import { loadTlsFiles } from '../config/tls-files.ts';
import type { EndpointType } from '../core/delivery/delivery.ts';
import { maskedUrl } from '../core/delivery/receiver.ts';
import { BODY_KINDS } from './channels/bodies.ts';
import type { Channel } from './channels/channel.ts';
import { createDiscordChannel } from './channels/discord.ts';
import { createEmailChannel, smtpServer } from './channels/email.ts';
import { createLogChannel } from './channels/log.ts';
import type { Wording } from './channels/notice/notice.ts';
import { createPagerDutyChannel } from './channels/pagerduty.ts';
import { createSlackChannel } from './channels/slack.ts';
import { createTeamsChannel } from './channels/teams.ts';
import { createWebhookChannel } from './channels/webhook.ts';
import type { Deliverer } from './deliverer.ts';
import { createEndpointGuard } from './egress/egress-guard.ts';
import type { HttpAttempts } from './http-attempt.ts';

/** What channels are made with, besides the settings of their endpoint. */
interface ChannelMeans {
  /** The name of the endpoint. */
  name: string;
  http: HttpAttempts;
  deliverer: Deliverer;
  wording: Wording;
}

type ChannelFinder = () => Promise<Channel>;

/** What is particular to a kind of endpoints. */
interface EndpointKind<Settings extends EndpointConfig> {
  /** Throws RunwatchError `tls_files_unusable`. @returns gives the channel of an attempt */
  openChannel(settings: Settings, means: ChannelMeans): ChannelFinder;
  /** The URL without what may be a credential; null for kinds that have none. */
  shownUrl(settings: Settings): string | null;
}

type Kinds = {
  readonly [Type in EndpointType]: EndpointKind<Extract<EndpointConfig, { type: Type }>>;
};

/** A new kind is a file in `deliver/channels/` and a row here; the compiler names its other places. */
const KINDS: Kinds = {
  webhook: {
    openChannel: openWebhook,
    shownUrl(settings) {
      const url = new URL(settings.url);
      if (url.search !== '') url.search = '?…';
      return url.href;
    },
  },
  log: {
    openChannel({ level }, { deliverer }) {
      const { eventLog, now } = deliverer.process;
      return always(createLogChannel(eventLog, level, now));
    },
    shownUrl: () => null,
  },
  slack: {
    openChannel(settings, { name, http, deliverer, wording }) {
      const slack = { ...settings, endpoint: name, wording, timeoutMs: settings.timeout };
      return always(createSlackChannel(slack, http, deliverer.process.stores.alertMessages));
    },
    shownUrl: ({ url, api_url: apiUrl }) => (url === undefined ? apiUrl : maskedUrl(url)),
  },
  pagerduty: {
    openChannel(
      { routing_key: routingKey, api_url: apiUrl, timeout: timeoutMs },
      { http, wording },
    ) {
      return always(createPagerDutyChannel({ routingKey, apiUrl, wording, timeoutMs }, http));
    },
    shownUrl: ({ api_url: apiUrl }) => apiUrl,
  },
  email: {
    openChannel(settings, { name, deliverer, wording }) {
      const { from, to, mentions, timeout: timeoutMs } = settings;
      const { names, now, stores } = deliverer.process;
      const tls = settings.tls ? loadTlsFiles(['endpoints', name], settings.tls) : {};
      const mailbox = { endpoint: name, ...smtpServer(settings), tls, from, to, mentions };
      const guard = createEndpointGuard({ resolve: names.ofReceiver });
      return always(
        createEmailChannel({ ...mailbox, wording, timeoutMs }, stores.alertMessages, guard, now),
      );
    },
    shownUrl: (settings) => `smtp://${smtpServer(settings).host}`,
  },
  teams: {
    openChannel: (settings, { http, wording }) =>
      always(createTeamsChannel({ ...settings, wording, timeoutMs: settings.timeout }, http)),
    shownUrl: ({ url }) => maskedUrl(url),
  },
  discord: {
    openChannel: (settings, { http, wording }) =>
      always(createDiscordChannel({ ...settings, wording, timeoutMs: settings.timeout }, http)),
    shownUrl: ({ url }) => maskedUrl(url),
  },
};

function always(channel: Channel): ChannelFinder {
  return () => Promise.resolve(channel);
}

/** The channel is made anew when the signing secrets change: by a rotation, or when one expires. */
function openWebhook(
  endpoint: Extract<EndpointConfig, { type: 'webhook' }>,
  { name, http, deliverer }: ChannelMeans,
): ChannelFinder {
  const { url, headers, timeout: timeoutMs, auth } = endpoint;
  const target = {
    url,
    headers,
    timeoutMs,
    body: BODY_KINDS[endpoint.body],
    ...(auth && { auth }),
    ...(endpoint.tls && { tls: loadTlsFiles(['endpoints', name], endpoint.tls) }),
  };
  const { timeOfDay } = deliverer.process.clock;
  let made: { signedBy: string; channel: Channel } | null = null;
  return async () => {
    const secrets = await deliverer.secrets.effective(name);
    const signedBy = secrets.join(' ');
    if (made?.signedBy !== signedBy) {
      made = { signedBy, channel: createWebhookChannel({ ...target, secrets }, http, timeOfDay) };
    }
    return made.channel;
  };
}

/** The kind of an endpoint. */
export function endpointKindOf({ type }: EndpointConfig): EndpointKind<EndpointConfig> {
  return KINDS[type];
}
