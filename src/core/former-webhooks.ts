import {
  subscriptionKey,
  type Subscription,
  type Watch,
  type WebhookSubscription,
} from './watch.ts';

/** Most webhooks per watch, and most former ones that it keeps (the newest). */
export const MAX_WEBHOOKS = 50;

/** The webhooks that a watch loses when it gets these subscriptions, the newest last. */
export function formerWebhooks(
  before: Pick<Watch, 'subscriptions' | 'formerWebhooks'>,
  subscriptions: readonly Subscription[],
): WebhookSubscription[] {
  const present = new Set(subscriptions.map(subscriptionKey));
  const earlier = [...before.formerWebhooks, ...before.subscriptions].filter(
    (one): one is WebhookSubscription =>
      one.kind === 'webhook' && !present.has(subscriptionKey(one)),
  );
  const byKey = new Map(earlier.map((one) => [subscriptionKey(one), one]));
  return [...byKey.values()].slice(-MAX_WEBHOOKS);
}
