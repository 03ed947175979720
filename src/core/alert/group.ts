import { formatDuration } from '../time.ts';
import type { Acknowledgement } from '../watch/watch.ts';
import {
  alertId,
  noCounts,
  type Alert,
  type AlertCounts,
  type AlertRun,
  type Notification,
  type ResolvedBy,
} from './alert.ts';
import type { HeldAlert, MuteDigest } from './digest.ts';
import { ownerOf, type AlertedRun, type AlertEvent, type Condition, type Rule } from './rule.ts';
import type { SilencedEvent } from './silence.ts';

/** What a group remembers of its last events, for a threshold. */
interface Window {
  /** Times of the last matching events, oldest first, as many as the threshold counts. */
  times: readonly number[];
  /** The last ends of runs, oldest first: `1` for one that matches, else `0`. */
  outcomes: string;
  /** The last matching runs, newest first. */
  runs: readonly AlertRun[];
}

export const EMPTY_WINDOW: Window = { times: [], outcomes: '', runs: [] };

/** A window after one more event. */
export function afterSample(
  window: Window,
  condition: Condition,
  sample: { isMatch: boolean; at: number; run: AlertRun | null; maxRuns: number },
): Window {
  const { isMatch, at, run, maxRuns } = sample;
  const outcomes = (window.outcomes + (isMatch ? '1' : '0')).slice(-outcomesKept(condition));
  if (!isMatch) return { ...window, outcomes };
  const kept = condition.kind === 'count' ? condition.count : 1;
  return {
    times: [...window.times, at].slice(-kept),
    outcomes,
    runs: run === null ? window.runs : [run, ...window.runs].slice(0, maxRuns),
  };
}

function outcomesKept(condition: Condition): number {
  if (condition.kind === 'consecutive') return condition.count;
  return condition.kind === 'rate' ? condition.ofLast : 1;
}

/** How many matching events a threshold sees; 0 where it is not crossed. */
export function crossedBy(window: Window, condition: Condition, now: number): number {
  if (condition.kind === 'count') return countWithin(window, condition, now);
  if (condition.kind === 'rate') return rateOf(window, condition);
  if (condition.kind !== 'consecutive') return 0;
  return window.outcomes === '1'.repeat(condition.count) ? condition.count : 0;
}

function countWithin(
  { times }: Window,
  { count, withinMs }: Condition & { kind: 'count' },
  now: number,
): number {
  const [first = -Infinity] = times;
  return times.length === count && now - first <= withinMs ? count : 0;
}

function rateOf({ outcomes }: Window, { rate, atLeast }: Condition & { kind: 'rate' }): number {
  const matching = outcomes.replaceAll('0', '').length;
  return outcomes.length >= atLeast && matching / outcomes.length >= rate ? matching : 0;
}

/** When a crossed threshold is not crossed any more unless more events come; Infinity for never. */
export function lapsesAt(window: Window, condition: Condition): number {
  const first = window.times[0];
  return condition.kind === 'count' && first !== undefined
    ? first + condition.withinMs + 1
    : Infinity;
}

/** An alert that has not resolved, with what decides its next notification. */
export interface OpenAlert {
  alert: Alert;
  /** When its first notification was sent, or its digest was due; null before. */
  notifiedAt: number | null;
  lastNotifiedAt: number | null;
  /** Matching events of the notification that is due next. */
  waiting: number;
  flushAt: number | null;
  repeatAt: number | null;
  escalateAt: number | null;
  /** Steps of the escalation that were taken. */
  escalated: number;
  resolveAt: number | null;
  /** Until when it is held for a digest. */
  heldUntil: number | null;
  successes: number;
  /** It resolves with its first notification. */
  isResolving: boolean;
  /** What silences see of its last event. */
  facts: SilencedEvent;
  byType: Record<string, number>;
}

/** What is kept of a group: of all events of a rule that have the same labels. */
export interface Group {
  rule: string;
  labels: Readonly<Record<string, string>>;
  /** The source of the event that opened it: the group counts for its share; '' for none. */
  source: string;
  open: OpenAlert | null;
  /** When the last alerts fired, oldest first. */
  firedAt: readonly number[];
  window: Window | null;
  /** Since when a threshold is crossed, while `for` lasts. */
  crossedAt: number | null;
  /** The up-time since which an absent event is waited for, ms. */
  absentSince: number | null;
  /** Ids of runs beyond their deadline. */
  late: readonly string[];
  /** What a rule's mute intervals have held; of one group of each rule, which has no alert. */
  held: MuteDigest | null;
  /** Since when its rule or source is configured no more, as far as a process has noticed. */
  orphanedAt: number | null;
}

/** What happens to a group. */
export type GroupInput =
  | { kind: 'event'; event: AlertEvent }
  /** A run is beyond its deadline. */
  | { kind: 'late'; event: AlertEvent }
  | { kind: 'timer' }
  /** The group exists: what may be absent is waited for. */
  | { kind: 'begin' }
  | { kind: 'acknowledge'; acknowledgement: Acknowledgement }
  | { kind: 'unacknowledge' }
  | { kind: 'resolve'; resolvedBy: ResolvedBy };

export interface GroupContext {
  now: number;
  rule: Rule;
  /** How long runwatch has been up in all, ms; only differences matter. */
  uptimeMs: number;
  /** Until when silences suppress something; null where none does. */
  silencedUntil: (event: SilencedEvent) => number | null;
  isInhibited: (alert: Alert) => boolean;
  /** Until when the rule is muted; null while it is not. */
  mutedUntil: () => number | null;
  /** Whether missing events may be due to trouble with a source. */
  cannotTell: (source: string | undefined) => boolean;
}

/** What a step gives rise to, besides the group's new state. */
export interface Effects {
  notifications: Notification[];
  counts: AlertCounts;
  /** Alerts for the rule's next digest. */
  held: HeldAlert[];
  resolved: Alert[];
}

export function noEffects(): Effects {
  return { notifications: [], counts: noCounts(), held: [], resolved: [] };
}

export function newGroup(
  rule: string,
  labels: Readonly<Record<string, string>>,
  source: string,
): Group {
  return {
    rule,
    labels,
    source,
    open: null,
    firedAt: [],
    window: null,
    crossedAt: null,
    absentSince: null,
    late: [],
    held: null,
    orphanedAt: null,
  };
}

/** Whether nothing is kept of a group that a new one has not. */
export function isBlank(group: Group, now: number): boolean {
  return (
    group.open === null &&
    group.window === null &&
    group.absentSince === null &&
    group.late.length === 0 &&
    group.held === null &&
    group.firedAt.every((at) => now - at > FORGET_FIRING_MS)
  );
}

/** For how long a group remembers at the least that it fired, ms. */
const FORGET_FIRING_MS = 3_600_000;

/** A group while a step changes it. */
export interface Draft {
  group: Group;
  context: GroupContext;
  effects: Effects;
}

/** A matching event, or what takes its place where events are absent. */
export interface Match {
  /** Determines the id of the alert that it opens. */
  seed: string;
  at: number;
  type: string;
  count: number;
  /** Newest first. */
  runs: readonly AlertRun[];
  source: string;
  metadata: Readonly<Record<string, string>>;
}

function alertedAt(run: AlertedRun, at: number): AlertRun {
  const { runId, workflowId, name, url, status } = run;
  return { runId, workflowId, name, url, status, at };
}

export function matchOf({ id, at, type, run, source, metadata }: AlertEvent): Match {
  const runs = run === null ? [] : [alertedAt(run, at)];
  return { seed: id, at, type, count: 1, runs, source, metadata };
}

export function openAlert({ group, context }: Draft, match: Match): OpenAlert {
  const { rule } = context;
  return {
    alert: {
      id: alertId(group.rule, group.labels, match.seed),
      rule: rule.name,
      labels: group.labels,
      state: 'pending',
      severity: rule.severity,
      owner: ownerOf(rule, group.labels, match.runs),
      annotations: annotationsOf(rule, group.labels, match),
      count: 0,
      runs: [],
      startedAt: match.at,
      updatedAt: match.at,
      resolvedAt: null,
      acknowledged: null,
      notified: [],
    },
    notifiedAt: null,
    lastNotifiedAt: null,
    waiting: 0,
    flushAt: null,
    repeatAt: null,
    escalateAt: null,
    escalated: 0,
    resolveAt: null,
    heldUntil: null,
    successes: 0,
    isResolving: false,
    facts: factsOf(rule, match, match.runs[0]?.workflowId ?? group.labels['workflow_id'] ?? null),
    byType: {},
  };
}

/** Those of the rule; where no run says what happened, with a summary that does. */
function annotationsOf(
  { annotations, condition, nameOf }: Rule,
  { workflow_id: workflow = '' }: Readonly<Record<string, string>>,
  { runs, type }: Match,
): Readonly<Record<string, string>> {
  if (runs.length > 0 || annotations['summary'] !== undefined) return annotations;
  const whose = workflow === '' ? '' : ` of ${nameOf(workflow) ?? `workflow ${workflow}`}`;
  const summary =
    condition.kind === 'absent'
      ? `No ${condition.event}${whose} for ${formatDuration(condition.withinMs)}`
      : `${type}${whose}`;
  return { ...annotations, summary };
}

export function factsOf(rule: Rule, match: Match, workflowId: string | null): SilencedEvent {
  const { type, source, metadata } = match;
  return { rule: rule.name, type, source, metadata, workflowId };
}
