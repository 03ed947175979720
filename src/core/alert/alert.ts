import { createHash } from 'node:crypto';
import type { Acknowledgement } from '../watch/acknowledgement.ts';
import type { Moment } from './moment.ts';
import { groupKey, type AlertedRun, type Severity } from './rule.ts';
import type { SilencedEvent } from './silence.ts';

/** States of an alert that goes on. */
export const OPEN_STATES = ['pending', 'firing', 'acknowledged'] as const;

export const ALERT_STATES = [...OPEN_STATES, 'resolved'] as const;

export type AlertState = (typeof ALERT_STATES)[number];

/** A run of an alert, with the time of its event, milliseconds since the epoch. */
export interface AlertRun extends AlertedRun {
  at: number;
}

/** The user that ended an alert by hand. */
export interface ResolvedBy {
  by: string;
  comment: string | null;
}

/**
 * Why an alert has ended, where no event of its group says so. `rule_changed`: its rule makes it no more.
 * `quiet`: nothing has matched for long.
 */
export const END_REASONS = ['rule_changed', 'quiet'] as const;

export type EndReason = (typeof END_REASONS)[number];

/** Distinct runs that an alert counts; more are "500 or more". */
export const MOST_RUNS = 500;

/** A notification that was sent, by endpoint: the newest. */
interface Notified {
  endpoint: string;
  at: number;
  eventId: string;
}

/** An alert as users see it. Times are milliseconds since the epoch. */
export interface Alert {
  id: string;
  rule: string;
  labels: Readonly<Record<string, string>>;
  state: AlertState;
  severity: Severity;
  owner: string | null;
  annotations: Readonly<Record<string, string>>;
  /** Matching events. */
  count: number;
  /** Distinct runs of these, {@link MOST_RUNS} at the most. */
  runsTotal: number;
  /** The newest runs, newest first, as many as the rule shows. */
  runs: readonly AlertRun[];
  startedAt: number;
  updatedAt: number;
  resolvedAt: number | null;
  /** Null while it goes on, and where an event of its group has ended it. */
  reason: EndReason | null;
  /** Absent unless a user ended it. */
  resolvedBy?: ResolvedBy;
  acknowledged: Acknowledgement | null;
  notified: readonly Notified[];
  /** What has happened to it, oldest first. Absent before anything has, and in older records. */
  history?: readonly Moment[];
  /** What silences saw of its last event. Absent while it goes on, and in older records. */
  facts?: SilencedEvent;
}

/** Why matching events cause no notification of their own. */
export const SUPPRESSIONS = ['grouped', 'muted', 'silenced', 'inhibited', 'acknowledged'] as const;

export type Suppression = (typeof SUPPRESSIONS)[number];

/**
 * What became of matching events: `observed` is always the sum of all others. `waiting` are those of a
 * notification that is due later.
 */
export type AlertCounts = Record<'observed' | 'notified' | 'waiting' | Suppression, number>;

export function noCounts(): AlertCounts {
  return {
    observed: 0,
    notified: 0,
    waiting: 0,
    grouped: 0,
    muted: 0,
    silenced: 0,
    inhibited: 0,
    acknowledged: 0,
  };
}

export function addCounts(to: AlertCounts, counts: Readonly<AlertCounts>): void {
  for (const name of Object.keys(to) as (keyof AlertCounts)[]) to[name] += counts[name];
}

/** One of the alerts of a digest. */
export interface DigestItem {
  id: string;
  labels: Readonly<Record<string, string>>;
  state: AlertState;
  count: number;
  /** The name of its workflow. */
  name: string | null;
}

/** Why one notification covers several events or alerts. */
export interface Digest {
  reason: 'muted' | 'schedule';
  since: number;
  until: number;
  alerts: readonly DigestItem[];
  byType: Readonly<Record<string, number>>;
}

export type AlertEventKind = 'firing' | 'updated' | 'acknowledged' | 'resolved';

/** A notification of an alert, to be sent as an event. */
export interface Notification {
  eventId: string;
  kind: AlertEventKind;
  /** As it is after the notification. */
  alert: Alert;
  /** Names of endpoints. */
  notify: readonly string[];
  isRepeat: boolean;
  digest: Digest | null;
  /** The step of the rule's escalation, from 1 on. */
  escalation: { step: number; afterMs: number } | null;
}

/** The parts of an alert's id: its group's key, and a hash of what opened it. */
export function alertId(rule: string, labels: Readonly<Record<string, string>>, seed: string) {
  const hash = createHash('sha256').update(seed).digest('hex').slice(0, 10);
  return `alr_${groupKey(rule, labels)}_${hash}`;
}

/** The group that an alert belongs to, by its id; null for what is no id. */
export function groupOfAlert(id: string): string | null {
  return /^alr_([0-9a-f]{20})_[0-9a-f]{10}$/.exec(id)?.[1] ?? null;
}

/** An alert with a notification noted, the newest of each endpoint: these are notified of its end. */
export function withNotified(
  alert: Alert,
  sent: { at: number; eventId: string },
  to: readonly string[],
) {
  const before = alert.notified.map((one) =>
    to.includes(one.endpoint) ? { endpoint: one.endpoint, ...sent } : one,
  );
  const known = new Set(before.map(({ endpoint }) => endpoint));
  const added = to.filter((endpoint) => !known.has(endpoint));
  const { at, eventId } = sent;
  const notified = [...before, ...added.map((endpoint) => ({ endpoint, at, eventId }))];
  return { ...alert, notified };
}

/** Which alerts to list. */
export interface AlertQuery {
  /** Any of these; all without them. */
  state?: readonly AlertState[] | undefined;
  rule?: string | undefined;
  /** Only those that their rule groups by source, of one of these; absent, all. */
  sources?: readonly string[] | undefined;
  order?: 'newest' | 'oldest' | undefined;
  limit: number;
  cursor?: string | undefined;
}
