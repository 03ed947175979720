import type { AttemptError, AttemptOutcome } from '../../src/core/delivery/delivery.ts';
import type { Channel, Message } from '../../src/deliver/channels/channel.ts';
import { createEgressGuard } from '../../src/deliver/egress/egress-guard.ts';
import type { Resolve } from '../../src/names.ts';
import { HttpAttempts } from '../../src/deliver/http-attempt.ts';
import { createWebhookAgents } from '../../src/deliver/http-post.ts';
import { createWebhookChannel, type WebhookTarget } from '../../src/deliver/channels/webhook.ts';

export const A_MESSAGE: Message = {
  eventId: 'evt_1',
  eventType: 'run.completed',
  body: '{"id":"evt_1","type":"run.completed"}',
};

interface Options {
  /** The egress allow-list; by default loopback. */
  allow?: string[];
  resolve?: Resolve;
  proxy?: string;
  now?: () => number;
}

/** Webhook channels with their own agents. */
export function webhooks({
  allow = ['127.0.0.0/8'],
  resolve,
  proxy,
  now = Date.now,
}: Options = {}) {
  const isProxied = proxy !== undefined;
  const guard = createEgressGuard({
    allow,
    requireHttps: true,
    isProxied,
    ...(resolve && { resolve }),
  });
  const agents = createWebhookAgents(guard, { proxy });
  const http = new HttpAttempts(agents, { userAgent: 'runwatch/1.2.3', now });
  return {
    to: (url: string, target: Partial<WebhookTarget> = {}): Channel =>
      createWebhookChannel(
        { url, secrets: [], headers: {}, timeoutMs: 10_000, ...target },
        http,
        now,
      ),
    close: () => agents.close(),
  };
}

/** The error of a failed attempt; throws if it did not fail. */
export function failureOf(outcome: AttemptOutcome): AttemptError {
  const { error } = outcome.attempt;
  if (outcome.kind !== 'failed' || error === null) throw new Error(JSON.stringify(outcome));
  return error;
}
