import type { BatchName } from '../batch.ts';
import { reopened } from './attempt.ts';
import { NO_POLLS } from './poll-history.ts';
import {
  formerWebhooks,
  MAX_WEBHOOKS,
  registrants,
  subscriptionKey,
  withChanges,
  type Profile,
  type Subscription,
  type Watch,
  type WatchKey,
  type WatchState,
} from './watch.ts';

/** A user's request to watch a run, validated for form only. Durations in ms. */
export interface WatchRequest {
  runId: string;
  /** Undefined stands for the only source that can have the id; of several, the one named `default`. */
  source?: string;
  /** Names of endpoints; undefined, without a webhook, stands for the default ones. */
  endpoints?: string[];
  webhook?: {
    url: string;
    secret?: string;
    events?: string[];
    headers?: Record<string, string>;
  };
  metadata?: Record<string, string>;
  /** The name of the batch that it joins. */
  batch?: string;
  /** None joins that batch after the list that this is of. */
  closesBatch?: boolean;
  timeoutMs?: number;
  profile?: Profile;
  maxDelayMs?: number;
}

/** A request to watch a run, with its subscriptions already resolved. Durations in ms. */
export interface Registration extends WatchKey {
  /** The tokens that register it; absent for none. */
  registeredBy?: string[];
  subscriptions: Subscription[];
  /** Replaces the metadata of an existing watch; undefined keeps it. */
  metadata?: Record<string, string>;
  /** The batch that it joins. */
  batch?: BatchName;
  /** None joins that batch after the list that this is of. */
  closesBatch?: boolean;
  /** Counts from now, also for an existing watch; undefined keeps that watch's timeout. */
  timeoutMs?: number;
  profile?: Profile;
  maxDelayMs?: number;
}

/** A watch after a registration. */
export interface Registered {
  watch: Watch;
  /**
   * `renewed`: the watch was cancelled, expired or gone, and starts again. `reopened`: its run has ended, and
   * is polled for another attempt.
   */
  kind: 'created' | 'renewed' | 'reopened' | 'merged';
  /** Subscriptions that the watch did not have before. */
  added: Subscription[];
  /** The longest accepted time from now to its next poll, ms; infinite for an ended watch. */
  dueWithinMs: number;
}

/** Why a run may not join a batch. */
export const BATCH_REFUSALS = [
  /** It takes no more runs, and has not completed. */
  'batch_closed',
  /** It has as many runs as one may have. */
  'batch_full',
  /** The watch is in as many batches as it may be in, or there are as many batches as may be. */
  'too_many_batches',
] as const;

export type BatchRefusal = (typeof BATCH_REFUSALS)[number];

/** What a registration came to: `too_many_watches` where its token may have registered no more. */
export type RegisterResult =
  | Registered
  | { kind: 'too_many_webhooks' | 'too_many_watches' | BatchRefusal };

/** Defaults for a new watch. Durations in ms. */
export interface RegisterDefaults {
  timeoutMs: number;
  minIntervalMs: number;
  profile: Profile;
}

/** States of a watch without polls although its run may still be running, or return. */
const RENEWED: ReadonlySet<WatchState> = new Set(['cancelled', 'expired', 'gone']);

interface RegisterContext {
  now: number;
  defaults: RegisterDefaults;
  /** Whether a run of the source may live again after its end, since the source counts attempts. @default false */
  hasAttempts?: boolean;
}

/** No user stopped the watch of a run that was gone, so its subscriptions continue. */
function withEarlier(existing: Watch | null, request: Registration): Registration {
  if (existing?.state !== 'gone') return request;
  return {
    ...request,
    registeredBy: registrants(existing.registeredBy, request.registeredBy ?? []),
    subscriptions: allSubscriptions(existing.subscriptions, request.subscriptions),
    metadata: request.metadata ?? existing.metadata,
  };
}

/** Endpoint name or URL identifies a subscription: naming one again replaces all but its tokens. */
function allSubscriptions(before: readonly Subscription[], more: readonly Subscription[]) {
  const all = new Map<string, Subscription>();
  for (const one of [...before, ...more]) {
    const key = subscriptionKey(one);
    all.set(key, withTokensOf(all.get(key), one));
  }
  return [...all.values()];
}

function withTokensOf(before: Subscription | undefined, after: Subscription): Subscription {
  if (before?.kind !== 'webhook' || after.kind !== 'webhook') return after;
  const registeredBy = registrants(before.registeredBy ?? [], after.registeredBy ?? []);
  return registeredBy.length === 0 ? after : { ...after, registeredBy };
}

/** What a renewed watch keeps of its past. */
type Past = Pick<
  Watch,
  'sequence' | 'attempt' | 'pastEnds' | 'subscriptions' | 'formerWebhooks' | 'batches'
>;

const NO_PAST: Past = {
  sequence: 0,
  attempt: null,
  pastEnds: [],
  subscriptions: [],
  formerWebhooks: [],
  batches: [],
};

/** True where a registration would exceed the number of webhooks of a watch. */
export function hasTooManyWebhooks({ subscriptions }: Watch): boolean {
  return subscriptions.filter(({ kind }) => kind === 'webhook').length > MAX_WEBHOOKS;
}

/**
 * The watch after a registration. An active watch takes in the new subscriptions, and so does that of an ended
 * run. It is polled again where the run may have another attempt by now.
 */
export function register(
  existing: Watch | null,
  request: Registration,
  context: RegisterContext,
): Registered {
  if (existing === null || RENEWED.has(existing.state)) {
    return {
      watch: newWatch(withEarlier(existing, request), existing ?? NO_PAST, context),
      kind: existing === null ? 'created' : 'renewed',
      added: request.subscriptions,
      dueWithinMs: 0,
    };
  }
  const merged = merge(existing, request, context.now);
  if (existing.state !== 'finished' || context.hasAttempts !== true) {
    return { ...merged, watch: holding(merged.watch, merged.added), kind: 'merged' };
  }
  const timeoutMs = request.timeoutMs ?? context.defaults.timeoutMs;
  const watch = holding(reopened(merged.watch, { ...context, timeoutMs }), merged.added);
  return { ...merged, watch, kind: 'reopened', dueWithinMs: 0 };
}

/** Only a poll shows whether the end of a reopened watch is still that of its run. */
function holding(watch: Watch, added: readonly Subscription[]): Watch {
  if (!watch.isReopened || added.length === 0) return watch;
  return withChanges(watch, { held: [...watch.held, ...added.map(subscriptionKey)] });
}

function newWatch(request: Registration, past: Past, { now, defaults }: RegisterContext): Watch {
  return {
    source: request.source,
    runId: request.runId,
    registeredBy: request.registeredBy ?? [],
    state: 'active',
    run: null,
    changedAt: now,
    acknowledged: null,
    runAskedAt: null,
    metadata: request.metadata ?? {},
    subscriptions: request.subscriptions,
    formerWebhooks: formerWebhooks(past, request.subscriptions),
    batches: past.batches,
    sequence: past.sequence,
    attempt: past.attempt,
    restartedAt: null,
    pastEnds: past.pastEnds,
    isReopened: false,
    held: [],
    polls: 0,
    pollHistory: NO_POLLS,
    profile: request.profile ?? defaults.profile,
    maxDelayMs: request.maxDelayMs ?? null,
    registeredAt: now,
    lastPolledAt: null,
    nextPollAt: now,
    timeoutAt: now + (request.timeoutMs ?? defaults.timeoutMs),
    endedAt: null,
    trouble: null,
    unreachable: false,
    missing: null,
    gone: null,
    unknownStatuses: [],
    unknownAt: [],
    notice: null,
    waiting: null,
    waits: null,
    foundWaiting: false,
    doubt: null,
    dwell: null,
    phases: [],
    cadence: { intervalMs: defaults.minIntervalMs, failures: 0 },
  };
}

/**
 * Endpoint name or URL identifies a subscription: naming one again updates it and sends nothing
 * twice.
 */
function merge(watch: Watch, request: Registration, now: number): Omit<Registered, 'kind'> {
  const known = new Set(watch.subscriptions.map(subscriptionKey));
  const added = request.subscriptions.filter((one) => !known.has(subscriptionKey(one)));
  const subscriptions = allSubscriptions(watch.subscriptions, request.subscriptions);
  const merged = {
    ...watch,
    registeredBy: registrants(watch.registeredBy, request.registeredBy ?? []),
    subscriptions,
    formerWebhooks: formerWebhooks(watch, subscriptions),
    metadata: request.metadata ?? watch.metadata,
    timeoutAt: request.timeoutMs === undefined ? watch.timeoutAt : now + request.timeoutMs,
    profile: request.profile ?? watch.profile,
    maxDelayMs: request.maxDelayMs ?? watch.maxDelayMs,
  };
  const { state, timeoutAt, maxDelayMs } = merged;
  const longestMs = Math.min(timeoutAt - now, maxDelayMs ?? Infinity);
  return {
    watch: merged,
    added,
    dueWithinMs: state === 'active' ? Math.max(0, longestMs) : Infinity,
  };
}
