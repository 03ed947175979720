import { askedReceiver, shownReceiver } from '../core/delivery/receiver.ts';
import {
  formerWebhooks,
  subscriptionKey,
  type StoredWatch,
  type WatchKey,
} from '../core/watch/watch.ts';
import type { WatchChange } from '../core/watch/watch-change.ts';

interface WatchStore {
  get(key: WatchKey): Promise<StoredWatch | null>;
  commit(change: WatchChange): Promise<string[] | null>;
}

/**
 * The use case behind ending one subscription of a watch, which goes on. What was planned for the
 * receiver is still sent. Returns a function that takes the receiver as users name it.
 */
export function createEndSubscription(watches: WatchStore) {
  return async function endSubscription(
    key: WatchKey,
    asked: string,
  ): Promise<'done' | 'not_found' | 'not_subscribed'> {
    const receiver = askedReceiver(asked);
    for (;;) {
      const before = await watches.get(key);
      if (before === null) return 'not_found';
      if (before.watch.state !== 'active') return 'done';
      const subscriptions = before.watch.subscriptions.filter(
        (one) => shownReceiver(subscriptionKey(one)) !== receiver,
      );
      if (subscriptions.length === before.watch.subscriptions.length) return 'not_subscribed';
      const after = {
        ...before.watch,
        subscriptions,
        formerWebhooks: formerWebhooks(before.watch, subscriptions),
      };
      if (await watches.commit({ before, after, events: [], deliveries: [] })) return 'done';
    }
  };
}
