import { censoredSamples } from '../core/cadence/phase.ts';
import { askedReceiver, shownReceiver } from '../core/delivery/receiver.ts';
import { RunwatchError } from '../core/errors.ts';
import {
  acknowledgedBy,
  formerWebhooks,
  inForce,
  subscriptionKey,
  withChangedState,
  type AcknowledgeRequest,
  type Subscription,
  type Watch,
  type WatchKey,
} from '../core/watch/watch.ts';
import type { TraceChange, WatchStore } from './ports.ts';

interface AcknowledgeRunDependencies {
  watches: Pick<WatchStore, 'get' | 'commit'>;
  now: () => number;
}

/**
 * The use case behind acknowledging a run, in whatever state its watch is, and taking that back.
 * Returns a function that takes null to take it back, and resolves with null for an unknown watch.
 */
export function createAcknowledgeRun({ watches, now }: AcknowledgeRunDependencies) {
  return async function acknowledgeRun(
    key: WatchKey,
    request: AcknowledgeRequest | null,
  ): Promise<Watch | null> {
    for (;;) {
      const before = await watches.get(key);
      if (before === null) return null;
      const at = now();
      const acknowledged = acknowledgedBy(inForce(before.watch.acknowledged, at), request, at);
      if (acknowledged === before.watch.acknowledged) return before.watch;
      const after = { ...before.watch, acknowledged };
      if (await watches.commit({ before, after, events: [], deliveries: [] })) return after;
    }
  };
}

interface EndWatchDependencies {
  watches: Pick<WatchStore, 'get' | 'commit'>;
  trace: TraceChange;
  now: () => number;
}

/**
 * The use case behind unwatching: it cancels an active watch and removes it from the schedule. A
 * poll in flight finds the watch changed and yields no event.
 * Returns a function that resolves with false for an unknown watch.
 */
export function createEndWatch({ watches, trace, now }: EndWatchDependencies) {
  return async function endWatch(key: WatchKey): Promise<boolean> {
    for (;;) {
      const before = await watches.get(key);
      if (before === null) return false;
      if (before.watch.state !== 'active') return true;
      const endedAt = now();
      const ended = { ...before.watch, state: 'cancelled' as const, nextPollAt: null, endedAt };
      const after = withChangedState(before.watch, ended, endedAt);
      const samples = censoredSamples(before.watch);
      const schedule = { does: 'leave' as const };
      if (await watches.commit({ before, after, events: [], deliveries: [], samples, schedule })) {
        trace({ before: before.watch, after });
        return true;
      }
    }
  };
}

/**
 * The use case behind ending one subscription of a watch, which remains active. Planned deliveries
 * to the receiver are still sent. Returns a function that takes the receiver as users name it.
 */
export function createEndSubscription(watches: Pick<WatchStore, 'get' | 'commit'>) {
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

/**
 * The use case behind ending webhooks of a watch, which remains active: those that a token registered and
 * no other did, or all. Planned deliveries to them are still sent.
 * Returns a function that resolves with the changed watch and how many webhooks have ended; null for none.
 */
export function createEndWebhooks(watches: Pick<WatchStore, 'get' | 'commit'>) {
  return async function endWebhooks(
    key: WatchKey,
    token: string | undefined,
  ): Promise<{ watch: Watch; ended: number } | null> {
    for (;;) {
      const before = await watches.get(key);
      if (before?.watch.state !== 'active') return null;
      const { subscriptions: had } = before.watch;
      const subscriptions = had.flatMap((one) => withoutToken(one, token));
      if (
        subscriptions.every((one, at) => one === had[at]) &&
        subscriptions.length === had.length
      ) {
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
  };
}

/** What is left of a subscription once a token, or every token, wants its webhook no more. */
function withoutToken(one: Subscription, token: string | undefined): Subscription[] {
  if (one.kind === 'endpoint') return [one];
  if (token === undefined) return [];
  const { registeredBy = [] } = one;
  if (!registeredBy.includes(token)) return [one];
  const others = registeredBy.filter((name) => name !== token);
  return others.length === 0 ? [] : [{ ...one, registeredBy: others }];
}

/** Tries to purge a watch that other processes change meanwhile. */
const TRIES = 10;

interface PurgeWatchDependencies {
  /** @returns false for an unknown watch */
  endWatch: (key: WatchKey) => Promise<boolean>;
  skipOutstanding: (key: WatchKey) => Promise<void>;
  /** Takes the run out of its alerts. */
  leaveAlerts: (key: WatchKey) => Promise<void>;
  /** Forgets a watch that has ended, with its events and deliveries, unless one is outstanding. */
  forget: (key: WatchKey) => Promise<'forgotten' | 'kept' | 'unknown'>;
}

/**
 * The use case behind purging: it ends a watch, and erases its record, events and deliveries. The record
 * goes last, so that a purge which was interrupted finds the watch again.
 * Returns a function that resolves with false for an unknown watch, and throws RunwatchError
 * `purge_interrupted` where other processes change the watch all the time.
 */
export function createPurgeWatch({
  endWatch,
  skipOutstanding,
  leaveAlerts,
  forget,
}: PurgeWatchDependencies) {
  return async function purgeWatch(key: WatchKey): Promise<boolean> {
    for (let tries = 0; tries < TRIES; tries += 1) {
      if (!(await endWatch(key))) return tries > 0;
      await skipOutstanding(key);
      await leaveAlerts(key);
      if ((await forget(key)) !== 'kept') return true;
    }
    throw new RunwatchError('the watch changes all the time; purge it again', {
      code: 'purge_interrupted',
    });
  };
}
