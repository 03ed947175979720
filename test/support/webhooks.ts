import type { AttemptError, AttemptOutcome } from '../../src/core/delivery.ts';
import type { Channel, Message } from '../../src/deliver/channel.ts';
import { createEgressGuard, type Resolve } from '../../src/deliver/egress-guard.ts';
import { createWebhookAgents } from '../../src/deliver/webhook-agents.ts';
import { createWebhookChannel, type WebhookTarget } from '../../src/deliver/webhook-channel.ts';

export const A_MESSAGE: Message = {
  eventId: 'evt_1',
  eventType: 'run.completed',
  body: '{"id":"evt_1","type":"run.completed"}',
};

interface Options {
  /** Loopback, unless a test is about the guard. */
  allow?: string[];
  resolve?: Resolve;
  now?: () => number;
}

/** Webhook channels over agents of their own. */
export function webhooks({ allow = ['127.0.0.0/8'], resolve, now = Date.now }: Options = {}) {
  const guard = createEgressGuard({ allow, requireHttps: true, ...(resolve && { resolve }) });
  const agents = createWebhookAgents(guard);
  return {
    to: (url: string, target: Partial<WebhookTarget> = {}): Channel =>
      createWebhookChannel(
        { url, secrets: [], headers: {}, timeoutMs: 10_000, ...target },
        { agents, userAgent: 'runwatch/1.2.3', now },
      ),
    close: () => agents.close(),
  };
}

/** The error of an attempt that failed; throws where it did not. */
export function failureOf(outcome: AttemptOutcome): AttemptError {
  const { error } = outcome.attempt;
  if (outcome.kind !== 'failed' || error === null) throw new Error(JSON.stringify(outcome));
  return error;
}
