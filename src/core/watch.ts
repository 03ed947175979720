import type { Receiver } from './delivery/receiver.ts';
import type { EventType } from './event.ts';
import type { TroubleKind } from './outcome.ts';
import type { Waiting } from './reminder.ts';
import type { RunSnapshot } from './run.ts';
import type { Stay } from './stall.ts';
import type { Stage } from './stage.ts';

export const WATCH_STATES = ['active', 'finished', 'expired', 'gone', 'cancelled'] as const;

/**
 * `active`: polled. `finished`: a terminal status was seen. `expired`: not terminal by its timeout.
 * `gone`: the run is not there. `cancelled`: somebody stopped watching.
 */
export type WatchState = (typeof WATCH_STATES)[number];

export const PROFILES = ['urgent', 'normal', 'frugal'] as const;

/** How a watch trades requests against delay. */
export type Profile = (typeof PROFILES)[number];

/** Names one run of one source. */
export interface WatchKey {
  source: string;
  runId: string;
}

/** Somebody who is told: a configured endpoint by its name. */
interface EndpointSubscription {
  kind: 'endpoint';
  endpoint: string;
}

/** Somebody who is told: a webhook that came with the watch. */
export interface WebhookSubscription {
  kind: 'webhook';
  /** Its URL, masked and hashed; see `delivery/receiver.ts`. */
  receiver: Receiver;
  /** Event patterns; undefined stands for the default ones. */
  events?: string[];
  /** The URL, the signing secret and the headers, encrypted; see `deliver/seal.ts`. */
  sealed: string;
}

export type Subscription = EndpointSubscription | WebhookSubscription;

/** Since when, and why, Noxus has given no answer that says anything about the run. */
interface Trouble {
  kind: TroubleKind;
  message: string;
  since: number;
  /** How much of the time since then nobody asked although it was time to, ms; absent for none. */
  lateMs?: number;
}

/** Why, and since when, a run is not there. */
export interface Missing {
  code: 'not_found' | 'rejected';
  message: string;
  since: number;
}

/** Our interest in one run. Times are milliseconds since the epoch. */
export interface Watch extends WatchKey {
  state: WatchState;
  /** The last thing seen of the run; null before the first answer. */
  run: RunSnapshot | null;
  /** When the read began that found it so; null before the first answer. */
  runAskedAt: number | null;
  metadata: Record<string, string>;
  subscriptions: Subscription[];
  /** Webhooks that hear of nothing new; what was planned for them still goes to them. */
  formerWebhooks: WebhookSubscription[];
  /** Number of events so far. */
  sequence: number;
  /** The run's ends that it has had events of: a second one of a type gets another id. */
  pastEnds: EventType[];
  /** Number of reads of the run, whatever came of them. */
  polls: number;
  profile: Profile;
  /** Longest time between polls that this watch accepts, ms; null where the source's limits do. */
  maxDelayMs: number | null;
  registeredAt: number;
  lastPolledAt: number | null;
  /** When the next poll is due: kept by the schedule, which is asked where it matters; else null. */
  nextPollAt: number | null;
  timeoutAt: number;
  endedAt: number | null;
  trouble: Trouble | null;
  /** True once `watch.unreachable` was raised and until `watch.recovered`. */
  unreachable: boolean;
  /** Answers in a row by which the run is not there, unconfirmed as yet, and what the last said. */
  missing: (Missing & { count: number }) | null;
  /** Why and since when the run is not there; null unless the watch is `gone`. */
  gone: Missing | null;
  /** Statuses outside the known ones that have been reported. */
  unknownStatuses: string[];
  /** The event that tells of the present state, for those who subscribe late. */
  notice: { eventId: string; type: EventType } | null;
  /** Since when the run waits for a human, and what was told of it; null while it does not. */
  waiting: Waiting | null;
  /** How the run stays in its state; null where it can not stall. */
  stay: Stay | null;
  /** The states that the run was seen in since the last news, the present one last. */
  stages: Stage[];
  /** Where the cadence stands: the current interval and the failures in a row. */
  cadence: { intervalMs: number; failures: number };
}

/** A watch as read from the store, with the version that a write must find unchanged. */
export interface StoredWatch {
  watch: Watch;
  version: number;
  /** Its document as it stands in the store: a write that leaves it the same sends none. */
  doc?: string;
}

/** The name of a watch inside: in Redis, in log lines. Neither part can hold a slash. */
export function watchId({ source, runId }: WatchKey): string {
  return `${source}/${runId}`;
}

/** The reverse of {@link watchId}. */
export function parseWatchId(id: string): WatchKey {
  const slash = id.indexOf('/');
  return { source: id.slice(0, slash), runId: id.slice(slash + 1) };
}

/** What tells one subscription of a watch from another. */
export function subscriptionKey(subscription: Subscription): Receiver {
  return subscription.kind === 'endpoint' ? subscription.endpoint : subscription.receiver;
}
