import type { Acknowledgement } from './acknowledgement.ts';
import type { Receiver } from '../delivery/receiver.ts';
import type { EventType } from '../event/event.ts';
import type { RunSnapshot, TroubleKind } from '../run/snapshot.ts';
import type { PollHistory } from './poll-history.ts';

export const WATCH_STATES = ['active', 'finished', 'expired', 'gone', 'cancelled'] as const;

/**
 * `active`: polled. `finished`: a terminal status was seen. `expired`: not terminal by its timeout.
 * `gone`: the run does not exist. `cancelled`: a user stopped it.
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

/** A configured endpoint that receives the watch's events. */
interface EndpointSubscription {
  kind: 'endpoint';
  endpoint: string;
}

/** A webhook that came with the watch and receives its events. */
export interface WebhookSubscription {
  kind: 'webhook';
  /** Its URL, masked and hashed; see `delivery/receiver.ts`. */
  receiver: Receiver;
  /** Event patterns; undefined stands for the default ones. */
  events?: string[];
  /** Names of the tokens that registered it; absent for none. */
  registeredBy?: string[];
  /** Its {@link SealedParts}, encrypted; see `deliver/secrets/seal.ts`. */
  sealed: string;
}

/** The parts of a per-watch webhook that are encrypted at rest. */
export interface SealedParts {
  url: string;
  secret?: string;
  headers?: Record<string, string>;
}

export type Subscription = EndpointSubscription | WebhookSubscription;

/** Since when, and why, the source has given no answer that says anything about the run. */
interface Trouble {
  kind: TroubleKind;
  message: string;
  since: number;
  /** How much of the time since then a poll was due but not made, ms; absent for none. */
  lateMs?: number;
}

/** Why, and since when, a run is missing. */
export interface Missing {
  code: 'not_found' | 'rejected';
  message: string;
  since: number;
}

/** Where a run stands: what shows that it has moved on. */
export interface Place {
  progress: number | null;
  startedAt: number | null;
  /** Nodes done, by its event stream; null where none has said so. */
  executed: number | null;
}

/**
 * A run that waits for a human, and its reminders so far. Times are milliseconds since the epoch.
 */
export interface Waiting {
  /** When a poll first saw it wait: no source gives the time at which a pause began. */
  since: number;
  /** The number of the last reminder; 0 before the first. */
  reminders: number;
  /** The event of that reminder. */
  reminderId: string | null;
}

/** The last entries of a run into waits at one place. Times are milliseconds since the epoch. */
export interface Waits {
  place: Place;
  /** When they were notified, the oldest first. */
  notifiedAt: number[];
  /** An entry that is not notified yet; null for none. */
  pending: {
    since: number;
    /** Whether the wait before it, which was notified, may never have ended. */
    isAgain: boolean;
  } | null;
}

/** Reads that take something back, none of which counts yet. Times are milliseconds since the epoch. */
export interface Doubt {
  /** When the first was. */
  since: number;
  /** When the last of those that count as agreeing was. */
  at: number;
  /** How many of these there are; 0 where the last read shows a wait, and the one before did not. */
  reads: number;
}

/** The state in which a run dwells, as far as stalls depend on it. */
export interface DwellState {
  /** When the state began, milliseconds since the epoch. */
  since: number;
  /** True once `run.stalled` was raised for it. */
  stalled: boolean;
  /** Present where the notice of its workflow's backlog stands for its event at endpoints. */
  isInNotice?: true;
}

/**
 * A phase in which a run was seen, and when it began. Its statistics are the time from its
 * beginning to the next major transition, whatever phases lie between: polls may miss those. Times
 * are milliseconds since the epoch.
 */
export interface Phase {
  /**
   * `queued`, `running/0` to `running/90` by progress, `awaiting_human_feedback`, `resumed` after
   * that, or a status that runwatch does not know.
   */
  state: string;
  /** When it began, as closely as is known. */
  since: number;
  /** When it was first seen; null where that was too late to know its beginning. */
  seenAt: number | null;
  /**
   * How long a second of the phase's clock lasts, ms. With progress it follows the pace of the run:
   * the end is expected at 100 s. So slow and fast runs of a workflow share statistics.
   */
  secondMs: number;
}

/** Our interest in one run. Times are milliseconds since the epoch. */
export interface Watch extends WatchKey {
  /** Names of the tokens that registered it since it began, the first one first. */
  registeredBy: string[];
  state: WatchState;
  /** The last snapshot; null before the first answer. */
  run: RunSnapshot | null;
  /**
   * When the status of the run, or the state of the watch, last changed: by its source's account where it
   * gives that, else when it was seen.
   */
  changedAt: number;
  /** The user that has taken the run in hand; null for none. */
  acknowledged: Acknowledgement | null;
  /** When the poll of that snapshot began; null before the first answer. */
  runAskedAt: number | null;
  metadata: Record<string, string>;
  subscriptions: Subscription[];
  /** Webhooks that get no new events; planned deliveries to them still go out. */
  formerWebhooks: WebhookSubscription[];
  /** The ids of the batches that it is in. */
  batches: string[];
  /** Number of events so far. */
  sequence: number;
  /** The highest attempt of the run that a poll has shown; null where its source counts none. */
  attempt: number | null;
  /** When a poll first showed that attempt; null where the watch has seen no earlier one. */
  restartedAt: number | null;
  /** Terminal event types that this attempt has already had: a second one of a type gets another id. */
  pastEnds: EventType[];
  /** True while the watch of a run that has ended is active, to find another attempt of it. */
  isReopened: boolean;
  /**
   * Subscriptions that came meanwhile, by their keys. They get the event of the end where no other attempt is found:
   * one that waits for the attempt that runs must not take the end of an earlier one for its own.
   */
  held: Receiver[];
  /** Number of polls, whatever their results. */
  polls: number;
  /** The last of them. */
  pollHistory: PollHistory;
  profile: Profile;
  /** Longest time between polls that this watch accepts, ms; null for the source's limits. */
  maxDelayMs: number | null;
  registeredAt: number;
  lastPolledAt: number | null;
  /** When the next poll is due. The schedule keeps it; null unless a caller asked the schedule. */
  nextPollAt: number | null;
  timeoutAt: number;
  endedAt: number | null;
  trouble: Trouble | null;
  /** True once `watch.unreachable` was raised and until `watch.recovered`. */
  unreachable: boolean;
  /** Answers in a row that the run is missing, not confirmed yet, and the last one's message. */
  missing: (Missing & { count: number }) | null;
  /** Why and since when the run is missing; null unless the watch is `gone`. */
  gone: Missing | null;
  /** Unknown statuses already reported. */
  unknownStatuses: string[];
  /** When the last of them were, milliseconds since the epoch. */
  unknownAt: number[];
  /** The event of the present state, for late subscribers. */
  notice: { eventId: string; type: EventType } | null;
  /** Since when the run waits for a human, and its last reminder; null while it does not wait. */
  waiting: Waiting | null;
  /** Its last entries into waits, by which repeated notices are damped; null before the first. */
  waits: Waits | null;
  /**
   * True while the run is in a wait in which the first pass of discovery found it, until a notice has named it: that
   * stands for the event of the wait.
   */
  foundWaiting: boolean;
  /** Polls that take back what the snapshot shows, and do not count yet; null for none. */
  doubt: Doubt | null;
  /** The state in which the run dwells; null where it cannot stall. */
  dwell: DwellState | null;
  /** The phases of the run since the last major transition, the present one last. */
  phases: Phase[];
  /** The cadence's present interval and number of failures in a row. */
  cadence: { intervalMs: number; failures: number };
}

/** A change of a watch. */
export interface ChangedWatch {
  /** Null for a watch that is new. */
  before: { watch: Watch } | null;
  after: Watch;
}

/** Which watches are meant: all that is given must hold; of several values, any. */
export interface WatchFilter {
  state?: readonly WatchState[] | undefined;
  status?: readonly string[] | undefined;
  /** Any of these: those that a token is for, or the one that is asked for. */
  sources?: readonly string[] | undefined;
  workflowId?: readonly string[] | undefined;
  /** The id of a batch that it is in. */
  batch?: string | undefined;
  /** Values by key: a watch has all of them. */
  metadata?: Readonly<Record<string, string>> | undefined;
}

/** Which webhooks of watches are meant. */
export interface WebhookFilter {
  /** The name of a token that registered them. */
  token?: string | undefined;
  /** Of watches of these sources; absent for all. */
  sources?: readonly string[] | undefined;
}

/** The internal name of a watch, in Redis and in log lines. Neither part can hold a slash. */
export function watchId({ source, runId }: WatchKey): string {
  return `${source}/${runId}`;
}

/** The reverse of {@link watchId}. */
export function parseWatchId(id: string): WatchKey {
  const slash = id.indexOf('/');
  return { source: id.slice(0, slash), runId: id.slice(slash + 1) };
}

/** The key that identifies a subscription within its watch. */
export function subscriptionKey(subscription: Subscription): Receiver {
  return subscription.kind === 'endpoint' ? subscription.endpoint : subscription.receiver;
}

/**
 * A copy of a watch with changes. The fields are written out because every poll copies, and V8
 * takes ten times as long to spread an object this large.
 */
export function withChanges(watch: Watch, changes: Partial<Watch>): Watch {
  const copy: Watch = {
    source: watch.source,
    runId: watch.runId,
    registeredBy: watch.registeredBy,
    state: watch.state,
    run: watch.run,
    changedAt: watch.changedAt,
    acknowledged: watch.acknowledged,
    runAskedAt: watch.runAskedAt,
    metadata: watch.metadata,
    subscriptions: watch.subscriptions,
    formerWebhooks: watch.formerWebhooks,
    batches: watch.batches,
    sequence: watch.sequence,
    attempt: watch.attempt,
    restartedAt: watch.restartedAt,
    pastEnds: watch.pastEnds,
    isReopened: watch.isReopened,
    held: watch.held,
    polls: watch.polls,
    pollHistory: watch.pollHistory,
    profile: watch.profile,
    maxDelayMs: watch.maxDelayMs,
    registeredAt: watch.registeredAt,
    lastPolledAt: watch.lastPolledAt,
    nextPollAt: watch.nextPollAt,
    timeoutAt: watch.timeoutAt,
    endedAt: watch.endedAt,
    trouble: watch.trouble,
    unreachable: watch.unreachable,
    missing: watch.missing,
    gone: watch.gone,
    unknownStatuses: watch.unknownStatuses,
    unknownAt: watch.unknownAt,
    notice: watch.notice,
    waiting: watch.waiting,
    waits: watch.waits,
    foundWaiting: watch.foundWaiting,
    doubt: watch.doubt,
    dwell: watch.dwell,
    phases: watch.phases,
    cadence: watch.cadence,
  };
  return Object.assign(copy, changes);
}

/**
 * The watch with what follows from a change of its state or of its run's status: the time, and with its
 * state the end of an acknowledgement.
 */
export function withChangedState(before: Watch, after: Watch, now: number): Watch {
  const isSameStatus =
    before.run?.status === after.run?.status && before.restartedAt === after.restartedAt;
  if (isSameStatus && before.state === after.state) return after;
  // A list has shown the end before.
  if (isSameStatus && after.state === 'finished') {
    return withChanges(after, { changedAt: finishedAt(after) ?? before.changedAt });
  }
  const changedAt = finishedAt(after) ?? now;
  const isSameState = before.state === after.state;
  return withChanges(after, { changedAt, ...(!isSameState && { acknowledged: null }) });
}

/** When the run ended, by its source's account; null where it gives no such time. */
export function finishedAt({ state, run }: Pick<Watch, 'state' | 'run'>): number | null {
  if (state !== 'finished' || !run?.finished_at) return null;
  return Date.parse(run.finished_at);
}

/** Most tokens that a watch or a subscription names: the newest. */
const MAX_REGISTRANTS = 50;

/** The tokens that registered something, with those that register it again. */
export function registrants(before: readonly string[], more: readonly string[]): string[] {
  return [...new Set([...before, ...more])].slice(-MAX_REGISTRANTS);
}

/** The tokens for which a watch counts as one of their active watches. */
export function countedTokens(watch: Pick<Watch, 'state' | 'registeredBy'>): readonly string[] {
  return watch.state === 'active' ? watch.registeredBy : [];
}

/** Most webhooks per watch, and most former ones that it keeps (the newest). */
export const MAX_WEBHOOKS = 50;

/** The webhooks that a watch or a batch loses when it gets these subscriptions, the newest last. */
export function formerWebhooks(
  before: Pick<Watch, 'subscriptions' | 'formerWebhooks'>,
  subscriptions: readonly Subscription[],
  most = MAX_WEBHOOKS,
): WebhookSubscription[] {
  const present = new Set(subscriptions.map(subscriptionKey));
  const earlier = [...before.formerWebhooks, ...before.subscriptions].filter(
    (one): one is WebhookSubscription =>
      one.kind === 'webhook' && !present.has(subscriptionKey(one)),
  );
  const byKey = new Map(earlier.map((one) => [subscriptionKey(one), one]));
  return [...byKey.values()].slice(-most);
}

/** What is left of a subscription once a token, or every token, wants its webhook no more. */
export function withoutToken(one: Subscription, token: string | undefined): Subscription[] {
  if (one.kind === 'endpoint') return [one];
  if (token === undefined) return [];
  const { registeredBy = [] } = one;
  if (!registeredBy.includes(token)) return [one];
  const others = registeredBy.filter((name) => name !== token);
  return others.length === 0 ? [] : [{ ...one, registeredBy: others }];
}
