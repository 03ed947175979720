import { formerWebhooks, MAX_WEBHOOKS } from './former-webhooks.ts';
import {
  subscriptionKey,
  type Profile,
  type Subscription,
  type Watch,
  type WatchKey,
  type WatchState,
} from './watch.ts';

/** A request to watch a run as a user makes it, checked for form only. Durations in ms. */
export interface WatchRequest {
  runId: string;
  /** Undefined stands for the source named `default`, or the only one there is. */
  source?: string;
  /** Names of endpoints; together with an absent webhook, undefined stands for the default ones. */
  endpoints?: string[];
  webhook?: {
    url: string;
    secret?: string;
    events?: string[];
    headers?: Record<string, string>;
  };
  metadata?: Record<string, string>;
  timeoutMs?: number;
  profile?: Profile;
  maxDelayMs?: number;
}

/** A request to watch a run, with its subscriptions already resolved. Durations in ms. */
export interface Registration extends WatchKey {
  subscriptions: Subscription[];
  /** Replaces the metadata of a watch that exists; undefined leaves it. */
  metadata?: Record<string, string>;
  /** Counts from now, also for a watch that exists; undefined leaves that one's. */
  timeoutMs?: number;
  profile?: Profile;
  maxDelayMs?: number;
}

/** A watch after a registration. */
export interface Registered {
  watch: Watch;
  /** `renewed`: it had been cancelled, had expired or its run was gone, and begins anew. */
  kind: 'created' | 'renewed' | 'merged';
  /** Subscriptions that the watch did not have before. */
  added: Subscription[];
  /** The longest time from now to its next poll that it accepts, ms; infinite for one that is over. */
  dueWithinMs: number;
}

/** What a new watch has where its registration says nothing. Durations in ms. */
export interface RegisterDefaults {
  timeoutMs: number;
  minIntervalMs: number;
  profile: Profile;
}

/** States in which a watch asks nothing any more although its run may go on, or be there again. */
const RENEWED: ReadonlySet<WatchState> = new Set(['cancelled', 'expired', 'gone']);

interface RegisterContext {
  now: number;
  defaults: RegisterDefaults;
}

/** No one asked to stop the watch of a run that was gone: what it notified, it goes on to notify. */
function withEarlier(existing: Watch | null, request: Registration): Registration {
  if (existing?.state !== 'gone') return request;
  return {
    ...request,
    subscriptions: allSubscriptions(existing.subscriptions, request.subscriptions),
    metadata: request.metadata ?? existing.metadata,
  };
}

/** Subscriptions are one by endpoint name or URL: naming one again replaces it. */
function allSubscriptions(before: readonly Subscription[], more: readonly Subscription[]) {
  const all = [...before, ...more].map((one) => [subscriptionKey(one), one] as const);
  return [...new Map(all).values()];
}

/** What a watch that begins anew goes on with. */
type Past = Pick<Watch, 'sequence' | 'pastEnds' | 'subscriptions' | 'formerWebhooks'>;

const NO_PAST: Past = { sequence: 0, pastEnds: [], subscriptions: [], formerWebhooks: [] };

/** True where a registration would give the watch more webhooks than one may have. */
export function hasTooManyWebhooks({ subscriptions }: Watch): boolean {
  return subscriptions.filter(({ kind }) => kind === 'webhook').length > MAX_WEBHOOKS;
}

/** What a watch becomes by a registration. A watch that still stands takes the subscriptions in. */
export function register(
  existing: Watch | null,
  request: Registration,
  context: RegisterContext,
): Registered {
  const begins = existing === null || RENEWED.has(existing.state);
  return begins
    ? {
        watch: newWatch(withEarlier(existing, request), existing ?? NO_PAST, context),
        kind: existing === null ? 'created' : 'renewed',
        added: request.subscriptions,
        dueWithinMs: 0,
      }
    : { ...merge(existing, request, context.now), kind: 'merged' };
}

function newWatch(request: Registration, past: Past, { now, defaults }: RegisterContext): Watch {
  return {
    source: request.source,
    runId: request.runId,
    state: 'active',
    run: null,
    runAskedAt: null,
    metadata: request.metadata ?? {},
    subscriptions: request.subscriptions,
    formerWebhooks: formerWebhooks(past, request.subscriptions),
    sequence: past.sequence,
    pastEnds: past.pastEnds,
    polls: 0,
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
    notice: null,
    waiting: null,
    stay: null,
    stages: [],
    cadence: { intervalMs: defaults.minIntervalMs, failures: 0 },
  };
}

/** Subscriptions are one by endpoint name or URL: naming one again updates it and tells nothing twice. */
function merge(watch: Watch, request: Registration, now: number): Omit<Registered, 'kind'> {
  const known = new Set(watch.subscriptions.map(subscriptionKey));
  const added = request.subscriptions.filter((one) => !known.has(subscriptionKey(one)));
  const subscriptions = allSubscriptions(watch.subscriptions, request.subscriptions);
  const merged = {
    ...watch,
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
