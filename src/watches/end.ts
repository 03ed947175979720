import { censoredSamples } from '../core/cadence/phase.ts';
import { planNotice } from '../core/delivery/delivery.ts';
import { askedReceiver, shownReceiver } from '../core/delivery/receiver.ts';
import { releasedByEnd } from '../core/watch/attempt.ts';
import {
  formerWebhooks,
  subscriptionKey,
  withChangedState,
  withoutToken,
  type Watch,
  type WatchKey,
} from '../core/watch/watch.ts';
import type { Process } from '../process.ts';

/**
 * The use case behind unwatching: it cancels an active watch and removes it from the schedule. A
 * poll in flight finds the watch changed and yields no event. The watch of a run that has ended goes back to that end,
 * of which subscriptions that were held are notified.
 * @returns false for an unknown watch
 */
export async function endWatch(process: Process, key: WatchKey): Promise<boolean> {
  const { stores, endpoints, tracing, now } = process;
  const { watches } = stores;
  for (;;) {
    const before = await watches.get(key);
    if (before === null) return false;
    if (before.watch.state !== 'active') return true;
    const endedAt = now();
    const state = before.watch.isReopened ? ('finished' as const) : ('cancelled' as const);
    const over = { isReopened: false, held: [], nextPollAt: null, endedAt };
    const ended = { ...before.watch, ...over, state };
    const after = withChangedState(before.watch, ended, endedAt);
    const samples = censoredSamples(before.watch);
    const schedule = { does: 'leave' as const };
    const late = releasedByEnd(before.watch, after);
    const deliveries = planNotice(after, late, { wants: endpoints.wants, now: endedAt });
    const due = await watches.commit({ before, after, events: [], deliveries, samples, schedule });
    if (due !== null) {
      process.dispatch(due);
      tracing.trace({ before: before.watch, after });
      return true;
    }
  }
}

/**
 * The use case behind ending one subscription of a watch, which remains active. Planned deliveries
 * to the receiver are still sent.
 * @param asked the receiver as users name it
 */
export async function endSubscription(
  { stores: { watches } }: Process,
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
}

/**
 * The use case behind ending webhooks of a watch, which remains active: those that a token registered and
 * no other did, or all. Planned deliveries to them are still sent.
 * @returns the changed watch and how many webhooks have ended; null for none
 */
export async function endWebhooks(
  { stores: { watches } }: Process,
  key: WatchKey,
  token: string | undefined,
): Promise<{ watch: Watch; ended: number } | null> {
  for (;;) {
    const before = await watches.get(key);
    if (before?.watch.state !== 'active') return null;
    const { subscriptions: had } = before.watch;
    const subscriptions = had.flatMap((one) => withoutToken(one, token));
    if (subscriptions.every((one, at) => one === had[at]) && subscriptions.length === had.length) {
      return null;
    }
    const watch = {
      ...before.watch,
      subscriptions,
      formerWebhooks: formerWebhooks(before.watch, subscriptions),
    };
    const change = { before, after: watch, events: [], deliveries: [] };
    if (await watches.commit(change)) return { watch, ended: had.length - subscriptions.length };
  }
}
