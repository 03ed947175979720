import type { Process } from '../process.ts';
import { createEndpointGuard, type EgressGuard } from './egress/egress-guard.ts';
import { createWebhookAgents, type WebhookAgents } from './http-post.ts';

/** Connections for configured endpoints, and for webhooks that came with a watch, each with its egress guard. */
export class Agents {
  readonly configured: WebhookAgents;
  readonly perWatch: WebhookAgents;

  constructor({ config, log, names }: Process, perWatchGuard: EgressGuard) {
    const { proxy } = config.egress;
    const guard = createEndpointGuard({ resolve: names.ofReceiver });
    this.configured = createWebhookAgents(guard, { proxy, names });
    this.perWatch = createWebhookAgents(perWatchGuard, { proxy, names });
    if (proxy === undefined) return;
    const what =
      'webhooks go through a proxy, which resolves their names: the egress guard judges names and literal addresses, so limit at the proxy which addresses it may reach';
    log.info({ proxy: new URL(proxy).host }, what);
  }

  close(): void {
    this.configured.close();
    this.perWatch.close();
  }
}
