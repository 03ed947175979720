import { inWords } from '../arrays.ts';
import { valueOf } from '../records.ts';
import { formatDuration } from '../time.ts';
import type { Acknowledgement } from '../watch/acknowledgement.ts';
import {
  alertId,
  MOST_RUNS,
  noCounts,
  withNotified,
  type Alert,
  type AlertCounts,
  type AlertEventKind,
  type AlertRun,
  type Digest,
  type DigestItem,
  type EndReason,
  type Notification,
  type ResolvedBy,
  type Suppression,
} from './alert.ts';
import { isSilent } from './failures.ts';
import { withMoment, type Moment } from './moment.ts';
import {
  meets,
  ownerOf,
  roleOf,
  workflowOf,
  type AlertEvent,
  type Condition,
  type Rule,
} from './rule.ts';
import type { SilencedEvent } from './silence.ts';
import { mutesOf } from './suppression.ts';
import { nextDigest } from './time-interval.ts';
import {
  afterSample,
  crossedBy,
  EMPTY_WINDOW,
  lapsesAt,
  withoutRun,
  type Window,
} from './window.ts';

/** An alert that goes on, with what decides its next notification. Times are milliseconds since the epoch. */
export interface OpenAlert {
  alert: Alert;
  /** Distinct runs, {@link MOST_RUNS} at the most. */
  runIds: readonly string[];
  /** When its first notification was sent; null before. */
  notifiedAt: number | null;
  lastNotifiedAt: number | null;
  /** Matching events of the notification that is due next. */
  waiting: number;
  flushAt: number | null;
  /** When a repeat or escalation that was suppressed is tried again. */
  againAt: number | null;
  /** The steps of the escalation that were taken. */
  escalated: readonly number[];
  lastMatchAt: number;
  /** Resolving events in a row. */
  successes: number;
  /** Since when what it is about is over. */
  overSince: number | null;
  /** A mute interval of its rule keeps it back, until the rule's digest. */
  isHeld: boolean;
  /** What silences see of its last event. */
  facts: SilencedEvent;
  byType: Readonly<Record<string, number>>;
}

/** What the mute intervals of a rule have held. Times are milliseconds since the epoch. */
export interface MuteDigest {
  since: number;
  until: number;
  /** Events of alerts that are held and go on, by group. */
  open: Readonly<Record<string, number>>;
  /** Alerts that were notified before and have resolved since. */
  ended: readonly Alert[];
  /** The first of those that came and went meanwhile. */
  passed: readonly Alert[];
  /** Events of those that came and went. */
  passedEvents: number;
  byType: Readonly<Record<string, number>>;
}

/** What is kept of a group: of all events of a rule that have the same labels. */
export interface Group {
  rule: string;
  labels: Readonly<Record<string, string>>;
  /** The source of the event that opened it: the group counts for its share; '' for none. */
  source: string;
  /** The rule's condition when it was made; null for the group of a digest. */
  kind: Condition['kind'] | null;
  open: OpenAlert | null;
  /** When the last alerts fired, oldest first. */
  firedAt: readonly number[];
  window: Window | null;
  /** Since when a threshold is crossed, while `for` lasts. */
  crossedAt: number | null;
  /** The time in which its source was seen, ms, since which an absent event is waited for. */
  absentSince: number | null;
  /** Runs beyond their deadline, with when that was. */
  late: Readonly<Record<string, number>>;
  /**
   * Runs of which a deadline up to this time is nothing new, as deadlines may be entered again: a user has ended
   * their alert, or the group of an overflow has counted them. Absent where there was none yet.
   */
  dealtWith?: Readonly<Record<string, number>>;
  /** What a rule's mute intervals have held; of one group of each rule, which has no alert. */
  held: MuteDigest | null;
  /** Since when its rule makes it no more, as far as a process has noticed. */
  leftoverSince: number | null;
}

export function newGroup({
  rule,
  labels,
  source,
  kind,
}: Pick<Group, 'rule' | 'labels' | 'source' | 'kind'>): Group {
  return {
    rule,
    labels,
    source,
    kind,
    open: null,
    firedAt: [],
    window: null,
    crossedAt: null,
    absentSince: null,
    late: {},
    held: null,
    leftoverSince: null,
  };
}

/** A run that is beyond its deadline, or of which its source does not say whether it is. */
export interface LateRun {
  event: AlertEvent;
  deadlineAt: number;
  isKnown: boolean;
}

/** What happens to a group. */
export type GroupInput =
  | { kind: 'event'; event: AlertEvent }
  | ({ kind: 'late' } & LateRun)
  /** A run is watched no more: a user has cancelled or purged it. */
  | { kind: 'left'; runId: string }
  | { kind: 'timer' }
  /** The group exists: what may be absent is waited for. */
  | { kind: 'begin' }
  | ActOnAlert;

/** What happens to the alert of a group that has one. */
type ActOnAlert =
  /** The mute of its rule has ended. */
  | { kind: 'unmute' }
  | { kind: 'acknowledge'; acknowledgement: Acknowledgement }
  | { kind: 'unacknowledge' }
  | { kind: 'resolve'; resolvedBy: ResolvedBy }
  /** Its rule makes it no more. */
  | { kind: 'leave' };

export interface GroupContext {
  now: number;
  rule: Rule;
  /** For how long its source was seen in all, ms; only differences matter. */
  seenMs: number;
  /** Until when silences suppress something; null where none does. */
  silencedUntil: (event: SilencedEvent) => number | null;
  /** The rule of an alert that inhibits another; null for none. */
  inhibitorOf: (alert: Alert) => string | null;
  /** Until when the rule is muted; null while it is not. */
  mutedUntil: () => number | null;
  /** Whether missing events may be due to trouble with its source. */
  cannotTell: () => boolean;
  newEventId: () => string;
}

/** An alert for the digest that its rule sends when its mute ends. */
export interface HeldAlert {
  alert: Alert;
  /** Whether a notification of it was sent before. */
  isNotified: boolean;
  /** Its events since. */
  count: number;
  until: number;
  byType: Readonly<Record<string, number>>;
}

/** What a step gives rise to, besides the group's new state. */
export interface Effects {
  notifications: Notification[];
  counts: AlertCounts;
  held: HeldAlert[];
  resolved: Alert[];
  /** At the end of a mute: the rule's digest has the alert. */
  isInDigest: boolean;
}

/** What is suppressed with no known end is judged again after this time, ms. */
const AGAIN_MS = 60_000;

/** An alert is judged within this time, ms: its rule or source may be configured no more. */
const AT_LATEST_MS = 7 * 86_400_000;

/** Firings of a group within `group_interval` that need not wait for it. */
const FREE_FIRINGS = 2;

/** The most runs beyond their deadline that a group keeps, and the most that are dealt with. */
const MOST_LATE = 1_000;

/** A matching event, or what takes its place where events are absent. */
interface Match {
  /** Determines the id of the alert that it opens. */
  seed: string;
  at: number;
  type: string;
  count: number;
  /** Newest first. */
  runs: readonly AlertRun[];
  runIds: readonly string[];
  source: string;
  workflowId: string | null;
  metadata: Readonly<Record<string, string>>;
  /** What it says where its runs do not. */
  summary?: string;
}

/**
 * The state machine of a group: when it notifies, and when its alert ends. Which events are of one group is decided by
 * `labelsOf` in `rule.ts`. Pure: the same group, input and context always give the same result. An
 * endpoint gets one firing of an alert, updates, and one resolve after it.
 */
export function stepGroup(
  before: Group,
  input: GroupInput,
  context: GroupContext,
): { group: Group; effects: Effects } {
  const step = new Step(structuredClone(before), context);
  step.take(input);
  return { group: step.group, effects: step.effects };
}

/** When a group is due for its timer; null for never. Milliseconds since the epoch. */
export function dueAt(group: Group, context: GroupContext): number | null {
  return new Step(group, context).dueAt();
}

class Step {
  readonly effects: Effects = {
    notifications: [],
    counts: noCounts(),
    held: [],
    resolved: [],
    isInDigest: false,
  };

  constructor(
    readonly group: Group,
    private readonly context: GroupContext,
  ) {}

  // What comes in.

  take(input: GroupInput): void {
    switch (input.kind) {
      case 'event':
        return this.onEvent(input.event);
      case 'late':
        return this.onLate(input);
      case 'left':
        return this.onLeft(input.runId);
      case 'timer':
        return this.onTimer();
      case 'begin':
        return this.onAwaited(false);
      case 'unmute':
      case 'acknowledge':
      case 'unacknowledge':
      case 'resolve':
      case 'leave':
        return this.act(input);
    }
  }

  private act(input: ActOnAlert): void {
    const { open } = this.group;
    if (open === null) return;
    switch (input.kind) {
      case 'unmute':
        return this.unmute(open);
      case 'acknowledge':
        return this.acknowledge(open, input.acknowledgement);
      case 'unacknowledge':
        return this.unacknowledge(open, 'unacknowledged');
      case 'resolve':
        return this.resolveByHand(open, input.resolvedBy);
      case 'leave':
        return this.end(open, 'rule_changed');
    }
  }

  private onEvent(event: AlertEvent): void {
    const { rule } = this.context;
    const role = roleOf(rule, event.type);
    if (role === null) return;
    switch (rule.condition.kind) {
      case 'each':
        return role === 'match' ? this.raise(matchOf(event)) : this.onSuccess();
      case 'digest':
        return this.collect(matchOf(event));
      case 'absent':
        return this.onAwaited(role === 'resolve');
      case 'deadline':
        return this.onEnded(event);
      case 'count':
      case 'consecutive':
      case 'rate':
        return this.onSample(event, role === 'match');
    }
  }

  private onSuccess(): void {
    const { open } = this.group;
    if (open === null) return;
    open.successes += 1;
    this.resolveIfOver(open);
  }

  private onSample(event: AlertEvent, isMatch: boolean): void {
    const { group } = this;
    const { rule } = this.context;
    const match = matchOf(event);
    const sample = { isMatch, at: event.at, type: event.type, run: match.runs[0] ?? null };
    group.window = afterSample(group.window ?? EMPTY_WINDOW, rule.condition, {
      ...sample,
      maxRuns: rule.maxRuns,
    });
    if (group.open !== null && isMatch) this.raise(match);
    this.judgeThreshold(match);
  }

  /** The group is known to exist, or what was waited for has come. */
  private onAwaited(hasCome: boolean): void {
    const { group } = this;
    group.absentSince ??= this.context.seenMs;
    if (!hasCome) return;
    group.absentSince = this.context.seenMs;
    if (group.open !== null) this.over(group.open);
  }

  private onLate({ event, deadlineAt, isKnown }: LateRun): void {
    const { group } = this;
    const runId = event.run?.runId ?? '';
    if (isDealtWith(group, runId, deadlineAt)) return;
    // The group of an overflow only counts.
    if (group.kind !== 'deadline') {
      this.dealWith([runId]);
      return this.raise(matchOf(event));
    }
    if (valueOf(group.late, runId) !== undefined) return;
    group.late = Object.fromEntries(
      [...Object.entries(group.late), [runId, deadlineAt]].slice(-MOST_LATE),
    ) as Record<string, number>;
    const summary = 'Cannot tell whether the run has ended: its source gives no answer';
    this.raise({ ...matchOf(event), ...(!isKnown && { summary }) });
  }

  /** What was late of these runs so far is nothing new. */
  private dealWith(runIds: readonly string[]): void {
    const { group } = this;
    if (runIds.length === 0) return;
    const added = Object.fromEntries(runIds.map((runId) => [runId, this.context.now]));
    const all = Object.entries({ ...group.dealtWith, ...added });
    group.dealtWith = Object.fromEntries(all.toSorted((a, b) => a[1] - b[1]).slice(-MOST_LATE));
  }

  /** Whatever is late of a run from now on is new. */
  private forgetDealtWith(runId: string): void {
    const { dealtWith } = this.group;
    if (dealtWith !== undefined) this.group.dealtWith = without(dealtWith, runId);
  }

  private onEnded({ run, finishedAt = Infinity }: AlertEvent): void {
    const { group } = this;
    const deadlineAt = valueOf(group.late, run?.runId ?? '');
    if (run !== null) this.forgetDealtWith(run.runId);
    if (run === null || deadlineAt === undefined) return;
    group.late = without(group.late, run.runId);
    const { open } = group;
    if (open === null || Object.keys(group.late).length > 0) return;
    // It was in time after all, and no one has heard otherwise.
    const wasInTime = finishedAt <= deadlineAt;
    if (wasInTime && open.notifiedAt === null) this.end(open);
    else this.over(open);
  }

  private onLeft(runId: string): void {
    const { group } = this;
    const wasLate = valueOf(group.late, runId) !== undefined;
    group.late = without(group.late, runId);
    this.forgetDealtWith(runId);
    if (group.window !== null) group.window = withoutRun(group.window, runId);
    const { open } = group;
    if (open === null) return;
    const isFull = open.runIds.length === MOST_RUNS;
    const wasIn = open.runIds.includes(runId);
    open.runIds = open.runIds.filter((id) => id !== runId);
    const runs = open.alert.runs.filter((run) => run.runId !== runId);
    const runsTotal = isFull ? MOST_RUNS : open.runIds.length;
    open.alert = { ...open.alert, runs, runsTotal };
    const isOfNone = wasLate
      ? Object.keys(group.late).length === 0
      : group.kind === 'each' && wasIn && !isFull && open.runIds.length === 0;
    if (isOfNone || group.labels['run_id'] === runId) this.end(open);
  }

  private onTimer(): void {
    const { group } = this;
    const { condition } = this.context.rule;
    if (condition.kind === 'absent') this.judgeAbsence();
    else if (condition.kind !== 'deadline') this.judgeThreshold(null);
    const { open } = group;
    if (open === null) return;
    if (this.isDue(open.alert.acknowledged?.until)) {
      this.unacknowledge(open, 'acknowledgement_expired');
    }
    this.resolveIfOver(open);
    if (group.open === open && this.isDue(open.flushAt)) {
      this.flush(open);
      this.resolveIfOver(open);
    }
    if (group.open !== open || open.isHeld) return;
    if (this.isDue(this.escalateAt(open))) this.escalate(open);
    if (this.isDue(this.repeatAt(open))) this.repeat(open);
  }

  // What it is about.

  /** Opens or resolves the alert of a threshold, by what its window holds now. */
  private judgeThreshold(match: Match | null): void {
    const { group } = this;
    const { rule, now } = this.context;
    if (group.window === null) return;
    const crossing = crossedBy(group.window, rule.condition, now);
    const { open } = group;
    if (crossing > 0) {
      group.crossedAt ??= now;
      if (open !== null) open.overSince = null;
      else if (now >= group.crossedAt + rule.forMs) this.fireThreshold(crossing, match);
      return;
    }
    group.crossedAt = null;
    if (open !== null) this.over(open);
    else if (lapsesAt(group.window, rule.condition) <= now) group.window = null;
  }

  private fireThreshold(count: number, match: Match | null): void {
    const { window, labels } = this.group;
    const { now } = this.context;
    const runs = window?.runs ?? [];
    const { source = '' } = labels;
    const seed = `${now} ${window?.outcomes}`;
    const last = match ?? { seed, at: now, source, workflowId: null, metadata: {} };
    const runIds = (window?.runIds ?? []).slice(-count);
    this.raise({ ...last, type: window?.type ?? '', count, runs, runIds });
  }

  /** Fires once an event has been absent for long enough, as far as that can be known. */
  private judgeAbsence(): void {
    const { absentSince, open, labels } = this.group;
    const { rule, seenMs, now } = this.context;
    if (rule.condition.kind !== 'absent' || absentSince === null || open !== null) return;
    if (seenMs < absentSince + rule.condition.withinMs || this.context.cannotTell()) return;
    this.raise({
      seed: `absent ${now}`,
      at: now,
      type: rule.condition.event,
      count: 1,
      runs: [],
      runIds: [],
      source: labels['source'] ?? '',
      workflowId: labels['workflow_id'] ?? null,
      metadata: {},
    });
  }

  /** Counts a matching event in the group's alert, and opens one if there is none. */
  private raise(match: Match): void {
    const { group, effects } = this;
    const open = (group.open ??= this.openAlert(match));
    this.countIn(open, match);
    effects.counts.observed += match.count;
    open.lastMatchAt = this.context.now;
    open.successes = 0;
    open.overSince = null;
    const facts = this.factsOf(match, open.facts.workflowId);
    const silencedUntil = this.context.silencedUntil(facts);
    if (silencedUntil !== null) {
      effects.counts.silenced += match.count;
      // The last counts, unless one before it may be notified sooner. After a reload the rule may be about it alone.
      const isNext = silencedUntil <= (this.context.silencedUntil(open.facts) ?? -Infinity);
      if (isNext || !isAbout(this.context.rule, group.kind, open.facts)) open.facts = facts;
      if (open.notifiedAt === null) open.flushAt ??= this.firstFlush();
      return;
    }
    open.facts = facts;
    this.attribute(open, match.count);
  }

  /** What becomes of matching events that no silence is about. */
  private attribute(open: OpenAlert, count: number): void {
    const { counts } = this.effects;
    if (open.alert.state === 'acknowledged') {
      counts.acknowledged += count;
    } else if (open.isHeld) {
      counts.muted += count;
      this.hold(open, count);
    } else {
      counts.waiting += count;
      open.waiting += count;
      const due = open.lastNotifiedAt === null ? this.firstFlush() : this.nextFlush(open);
      open.flushAt = open.waiting === count ? due : Math.min(open.flushAt ?? due, due);
    }
  }

  /** Counts an event for the digest of the day. */
  private collect(match: Match): void {
    const { group, effects } = this;
    const { rule, now } = this.context;
    if (rule.condition.kind !== 'digest') return;
    const open = (group.open ??= this.openAlert(match));
    this.countIn(open, match);
    open.flushAt ??= nextDigest(rule.condition.schedule, now);
    effects.counts.observed += match.count;
    const isSilenced = this.context.silencedUntil(this.factsOf(match, null)) !== null;
    effects.counts[isSilenced ? 'silenced' : 'waiting'] += match.count;
    if (!isSilenced) open.waiting += match.count;
  }

  private openAlert(match: Match): OpenAlert {
    const { rule, now } = this.context;
    const { labels } = this.group;
    return {
      alert: {
        id: alertId(rule.name, labels, match.seed),
        rule: rule.name,
        labels,
        state: 'pending',
        severity: rule.severity,
        owner: ownerOf(rule, labels, match.runs, this.group.source),
        annotations: this.annotationsOf(match),
        count: 0,
        runsTotal: 0,
        runs: [],
        startedAt: match.at,
        updatedAt: match.at,
        resolvedAt: null,
        reason: null,
        acknowledged: null,
        notified: [],
      },
      runIds: [],
      notifiedAt: null,
      lastNotifiedAt: null,
      waiting: 0,
      flushAt: null,
      againAt: null,
      escalated: [],
      lastMatchAt: now,
      successes: 0,
      overSince: null,
      isHeld: false,
      facts: this.factsOf(match, labels['workflow_id'] ?? null),
      byType: {},
    };
  }

  private countIn(open: OpenAlert, { at, type, count, runs, runIds }: Match): void {
    const { alert } = open;
    const { rule } = this.context;
    const shown = new Map(
      [...runs, ...alert.runs].toReversed().map((run) => [run.runId, run] as const),
    );
    const known = new Set(open.runIds);
    const more = runIds.filter((runId) => !known.has(runId)).slice(0, MOST_RUNS - known.size);
    open.runIds = [...open.runIds, ...more];
    open.alert = {
      ...alert,
      owner:
        runs.length === 0
          ? alert.owner
          : ownerOf(rule, alert.labels, [...shown.values()], this.group.source),
      count: alert.count + count,
      runsTotal: Math.max(open.runIds.length, alert.runsTotal === MOST_RUNS ? MOST_RUNS : 0),
      updatedAt: Math.max(alert.updatedAt, at),
      runs: [...shown.values()].toSorted((a, b) => b.at - a.at).slice(0, rule.maxRuns),
    };
    open.byType = { ...open.byType, [type]: (open.byType[type] ?? 0) + count };
  }

  /** Those of the rule; where no run says what happened, with a summary that does. */
  private annotationsOf({ runs, type, summary }: Match): Alert['annotations'] {
    const { annotations, condition, nameOf } = this.context.rule;
    if (annotations['summary'] !== undefined) return annotations;
    if (summary !== undefined) return { ...annotations, summary };
    if (runs.length > 0) return annotations;
    const { source = this.group.source, workflow_id: workflowId = '' } = this.group.labels;
    const name = nameOf({ source, workflowId }) ?? `workflow ${workflowId}`;
    const whose = workflowId === '' ? '' : ` of ${name}`;
    const said =
      condition.kind === 'absent'
        ? `No ${condition.event}${whose} for ${formatDuration(condition.withinMs)}`
        : `${type}${whose}`;
    return { ...annotations, summary: said };
  }

  private factsOf(match: Match, otherwise: string | null): SilencedEvent {
    const { type, source, metadata, workflowId } = match;
    const { name: rule } = this.context.rule;
    return { rule, type, source, metadata, workflowId: workflowId ?? otherwise };
  }

  // When it ends.

  private over(open: OpenAlert): void {
    open.overSince ??= this.context.now;
    this.resolveIfOver(open);
  }

  /** When the alert ends unless more happens, and why; null for never by itself. */
  private endOf(open: OpenAlert): { at: number; reason: EndReason | null } | null {
    const { condition, resolve, keepFiringForMs } = this.context.rule;
    const isOfEach = condition.kind === 'each';
    const isKept = isOfEach || this.group.window !== null;
    const ends: { at: number; reason: EndReason | null }[] = [];
    if (open.overSince !== null) {
      const kept = open.overSince + (isKept ? keepFiringForMs : 0);
      const settled = isOfEach ? open.lastMatchAt + resolve.settleMs : 0;
      ends.push({ at: Math.max(kept, settled), reason: null });
    }
    if (isOfEach && resolve.afterMs !== null) {
      ends.push({ at: open.lastMatchAt + resolve.afterMs, reason: 'quiet' });
    }
    return ends.toSorted((a, b) => a.at - b.at)[0] ?? null;
  }

  /** Ends an alert that is over. One without a notification so far is notified first. */
  private resolveIfOver(open: OpenAlert): void {
    const { group } = this;
    const { rule, now } = this.context;
    if (group.open !== open || rule.condition.kind === 'digest') return;
    if (rule.condition.kind === 'each' && open.successes >= rule.resolve.count) {
      open.overSince ??= now;
    }
    const end = this.endOf(open);
    if (end === null || end.at > now || this.waitsForFlush(open)) return;
    const isSettled =
      open.notifiedAt !== null || open.isHeld || open.alert.state === 'acknowledged';
    // What was suppressed is judged now.
    if (!isSettled) this.flush(open);
    this.end(open, end.reason);
  }

  private waitsForFlush({ alert, flushAt }: OpenAlert): boolean {
    return alert.state === 'pending' && flushAt !== null && flushAt > this.context.now;
  }

  /** What has been absent, late or too much so far is dealt with: only what comes later counts. */
  private resolveByHand(open: OpenAlert, resolvedBy: ResolvedBy): void {
    const { group } = this;
    open.alert = { ...open.alert, resolvedBy };
    this.end(open);
    this.dealWith(Object.keys(group.late));
    group.late = {};
    group.window = null;
    if (group.absentSince !== null) group.absentSince = this.context.seenMs;
  }

  /** Ends an alert now, and notifies each endpoint that was notified of it. */
  private end(open: OpenAlert, reason: EndReason | null = null): void {
    const { now } = this.context;
    const times = { resolvedAt: now, updatedAt: now };
    open.alert = { ...open.alert, ...times, state: 'resolved', reason };
    const ended = reason === null ? {} : { reason };
    this.note(open, { kind: 'resolved', ...open.alert.resolvedBy, ...ended });
    if (this.group.kind !== 'digest') {
      if (open.isHeld || (open.notifiedAt !== null && this.context.mutedUntil() !== null)) {
        this.hold(open, 0);
      } else if (open.notifiedAt !== null) {
        this.notify(open, 'resolved', notifiedEndpoints(open));
      }
    }
    this.close(open);
  }

  /** The group has no alert any more. */
  private close(open: OpenAlert): void {
    const { group, effects } = this;
    const { now } = this.context;
    effects.counts.waiting -= open.waiting;
    effects.counts.grouped += open.waiting;
    const resolvedAt = open.alert.resolvedAt ?? now;
    const { alert, facts } = open;
    effects.resolved.push({ ...alert, state: 'resolved', resolvedAt, facts });
    group.open = null;
    group.crossedAt = null;
  }

  // What is sent, and to which endpoints.

  /** Why no notification of an alert may be sent now, and until when; null where one may. */
  private suppression(
    open: OpenAlert,
    { isExcused = false } = {},
  ): { reason: Suppression; until: number | null; by?: string } | null {
    const { context } = this;
    if (open.alert.state === 'acknowledged' && !isExcused) {
      return { reason: 'acknowledged', until: open.alert.acknowledged?.until ?? null };
    }
    const inhibitor = context.inhibitorOf(open.alert);
    if (inhibitor !== null) {
      return { reason: 'inhibited', until: context.now + AGAIN_MS, by: inhibitor };
    }
    const silenced = context.silencedUntil(open.facts);
    if (silenced !== null) return { reason: 'silenced', until: silenced };
    const muted = context.mutedUntil();
    if (muted === null) return null;
    const names = mutesOf(context.rule, context.now).flatMap(({ id }) => id ?? []);
    return { reason: 'muted', until: muted, by: inWords(names, 'and') };
  }

  /** Notifies of the events that have come together, unless something suppresses them. */
  private flush(open: OpenAlert): void {
    const { rule, now } = this.context;
    open.flushAt = null;
    const suppressed = this.suppression(open);
    if (rule.condition.kind === 'digest') {
      if (suppressed?.reason === 'muted') open.flushAt = suppressed.until;
      else this.sendDigest(open, suppressed);
      return;
    }
    if (suppressed === null) {
      this.countNotified(open);
      return this.tell(open, receivers(open, rule));
    }
    const { reason, until, by = '' } = suppressed;
    const count = this.countSuppressed(open, reason);
    if (reason === 'muted') this.note(open, { kind: reason, by, until });
    if (reason === 'inhibited') this.note(open, { kind: reason, by });
    if (open.alert.state === 'pending') open.alert = { ...open.alert, state: 'firing' };
    if (suppressed.reason === 'muted') {
      open.isHeld = true;
      this.hold(open, count);
    } else if (open.notifiedAt === null) {
      // A silence may be ended before its time.
      open.flushAt = suppressed.until === null ? null : Math.min(suppressed.until, now + AGAIN_MS);
    }
  }

  /** The digest of a schedule; one that is suppressed when it is due is not sent later. */
  private sendDigest(open: OpenAlert, suppressed: { reason: Suppression } | null): void {
    const { rule, now } = this.context;
    if (suppressed !== null) {
      this.countSuppressed(open, suppressed.reason);
    } else if (open.waiting > 0) {
      const alerts = [itemOf({ ...open.alert, state: 'firing' })];
      const times = { since: open.alert.startedAt, until: now };
      const digest: Digest = { reason: 'schedule', ...times, alerts, byType: open.byType };
      this.countNotified(open);
      const people = receivers(open, rule).filter((name) => !rule.pagers.includes(name));
      if (people.length > 0 || rule.notify.length === 0) {
        this.notify(open, 'firing', people, { digest });
      }
    }
    this.close(open);
  }

  /** Counts one of the waiting events as notified, the others as grouped with it. */
  private countNotified(open: OpenAlert): void {
    const { counts } = this.effects;
    if (open.waiting === 0) return;
    counts.waiting -= open.waiting;
    counts.notified += 1;
    counts.grouped += open.waiting - 1;
    open.waiting = 0;
  }

  private countSuppressed(open: OpenAlert, reason: Suppression): number {
    const { counts } = this.effects;
    const count = open.waiting;
    counts.waiting -= count;
    counts[reason] += count;
    open.waiting = 0;
    return count;
  }

  /** Adds to the digest that the rule sends when its mute ends. */
  private hold(open: OpenAlert, count: number): void {
    this.effects.held.push({
      alert: open.alert,
      isNotified: open.notifiedAt !== null,
      count,
      until: this.context.mutedUntil() ?? this.context.now,
      byType: count === 0 ? {} : open.byType,
    });
    open.byType = {};
  }

  /** The mute has ended: a pager gets the alert itself, others the digest of the rule. */
  private unmute(open: OpenAlert): void {
    const { rule, now } = this.context;
    if (!open.isHeld) return;
    open.isHeld = false;
    const suppressed = this.suppression(open);
    if (suppressed !== null) {
      const isToBeSent = open.notifiedAt === null && suppressed.reason !== 'acknowledged';
      if (isToBeSent) open.flushAt = now + AGAIN_MS;
      return;
    }
    this.effects.isInDigest = true;
    const pagers = receivers(open, rule).filter((name) => rule.pagers.includes(name));
    if (pagers.length > 0) this.tell(open, pagers);
    else this.markNotified(open);
  }

  /** Says how an alert that goes on stands: `firing` to endpoints that hear of it for the first time. */
  private tell(
    open: OpenAlert,
    to: readonly string[],
    about: Pick<Partial<Notification>, 'isRepeat' | 'escalation'> = {},
  ): void {
    const notified = new Set(notifiedEndpoints(open));
    const isFirst = open.notifiedAt === null;
    const more = to.filter((name) => !notified.has(name));
    const known = to.filter((name) => notified.has(name));
    const isOfNone = to.length === 0 && notified.size === 0;
    if (more.length > 0 || (isOfNone && isFirst)) {
      this.notify(open, 'firing', more, { ...about, isRepeat: false });
    }
    if (known.length > 0 || (isOfNone && !isFirst)) this.notify(open, 'updated', known, about);
    if (about.escalation === undefined) this.markNotified(open);
  }

  private notify(
    open: OpenAlert,
    kind: AlertEventKind,
    to: readonly string[],
    about: Pick<Partial<Notification>, 'isRepeat' | 'escalation' | 'digest'> = {},
  ): void {
    const { now, newEventId } = this.context;
    const eventId = newEventId();
    const { state } = open.alert;
    const alert = { ...open.alert, state: state === 'pending' ? ('firing' as const) : state };
    open.alert = withNotified(alert, { at: now, eventId }, to);
    const afterMs = about.escalation?.afterMs;
    const what = { kind: momentOf(kind, about), ...(afterMs !== undefined && { afterMs }) };
    this.note(open, { ...what, eventId, to });
    this.effects.notifications.push({
      eventId,
      kind,
      alert: open.alert,
      notify: to,
      isRepeat: about.isRepeat ?? false,
      digest: about.digest ?? null,
      escalation: about.escalation ?? null,
    });
  }

  /** Adds to what has happened to an alert. */
  private note(open: OpenAlert, moment: Omit<Moment, 'at'>): void {
    const { now, rule } = this.context;
    if (isSilent(rule.name)) return;
    const history = withMoment(open.alert.history ?? [], { ...moment, at: now });
    open.alert = { ...open.alert, history };
  }

  private markNotified(open: OpenAlert): void {
    const { group } = this;
    const { now } = this.context;
    if (open.notifiedAt === null) group.firedAt = [...group.firedAt, now].slice(-FREE_FIRINGS);
    if (open.alert.state === 'pending') open.alert = { ...open.alert, state: 'firing' };
    open.notifiedAt ??= now;
    open.lastNotifiedAt = now;
    open.againAt = null;
    open.flushAt = null;
    open.byType = {};
  }

  /** Says again that an alert fires. */
  private repeat(open: OpenAlert): void {
    const { rule, now } = this.context;
    if (this.suppression(open) !== null) {
      open.againAt = now + AGAIN_MS;
      return;
    }
    this.countNotified(open);
    this.tell(open, receivers(open, rule), { isRepeat: true });
  }

  /** Notifies further endpoints of an alert that goes on. */
  private escalate(open: OpenAlert): void {
    const { rule, now } = this.context;
    if (this.suppression(open, { isExcused: true }) !== null) {
      open.againAt = now + AGAIN_MS;
      return;
    }
    for (const { at, index } of this.stepsLeft(open)) {
      const step = rule.escalate[index];
      if (at > now || step === undefined) continue;
      open.escalated = [...open.escalated, index];
      const escalation = { step: index + 1, afterMs: step.afterMs };
      if (step.notify.length > 0) this.tell(open, step.notify, { escalation });
    }
  }

  private acknowledge(open: OpenAlert, acknowledgement: Acknowledgement): void {
    if (isSame(open.alert.acknowledged, acknowledgement)) return;
    open.alert = { ...open.alert, state: 'acknowledged', acknowledged: acknowledgement };
    const { by, comment, until } = acknowledgement;
    this.note(open, { kind: 'acknowledged', by, comment, until });
    this.countSuppressed(open, 'acknowledged');
    // Nothing waits for its first notification any more.
    if (open.notifiedAt === null) return this.resolveIfOver(open);
    open.flushAt = null;
    const notified = notifiedEndpoints(open);
    const known = new Set(receivers(open, this.context.rule));
    const to = notified.filter((name) => known.has(name));
    if (to.length > 0 || notified.length === 0) this.notify(open, 'acknowledged', to);
  }

  private unacknowledge(open: OpenAlert, kind: 'unacknowledged' | 'acknowledgement_expired'): void {
    const { now, rule } = this.context;
    if (open.alert.state !== 'acknowledged') return;
    this.note(open, { kind });
    const isPending = open.notifiedAt === null && open.flushAt !== null && open.flushAt > now;
    const state = isPending ? ('pending' as const) : ('firing' as const);
    open.alert = { ...open.alert, state, acknowledged: null };
    open.againAt = null;
    if (open.notifiedAt !== null) {
      if (this.suppression(open) === null)
        this.tell(open, receivers(open, rule), { isRepeat: true });
    } else if (!open.isHeld) {
      open.flushAt ??= now;
    }
  }

  // When it is due. Times follow from what is kept and from the rule as it is now.

  dueAt(): number | null {
    const { open, held, absentSince } = this.group;
    const { now, rule } = this.context;
    const times: (number | null)[] = [held?.until ?? null, ...this.windowTimes()];
    if (open !== null) {
      times.push(...this.openTimes(open));
    } else if (absentSince !== null && rule.condition.kind === 'absent') {
      const due = now + absentSince + rule.condition.withinMs - this.context.seenMs;
      times.push(due <= now ? now + AGAIN_MS : due);
    }
    const first = Math.min(...times.map((at) => at ?? Infinity));
    return first === Infinity ? null : first;
  }

  private openTimes(open: OpenAlert): (number | null)[] {
    const end = this.waitsForFlush(open) ? null : this.endOf(open);
    const acknowledged = open.alert.acknowledged?.until ?? null;
    const times = [open.flushAt, end?.at ?? null, acknowledged, this.context.now + AT_LATEST_MS];
    return open.isHeld ? times : [...times, this.escalateAt(open), this.repeatAt(open)];
  }

  /** When a threshold may lapse, or has been crossed for long enough. */
  private windowTimes(): number[] {
    const { open, window, crossedAt } = this.group;
    const { rule, now } = this.context;
    if (window === null) return [];
    const lapse = lapsesAt(window, rule.condition);
    const times = lapse > now ? [lapse] : [];
    return crossedAt === null || open !== null ? times : [...times, crossedAt + rule.forMs];
  }

  private repeatAt({ alert, lastNotifiedAt, againAt }: OpenAlert): number | null {
    if (alert.state !== 'firing' || lastNotifiedAt === null) return null;
    return Math.max(lastNotifiedAt + this.context.rule.repeatIntervalMs, againAt ?? 0);
  }

  private escalateAt(open: OpenAlert): number | null {
    const [next] = this.stepsLeft(open);
    return next === undefined ? null : Math.max(next.at, open.againAt ?? 0);
  }

  /** The steps of the escalation that are to be taken: an acknowledgement excuses some while it lasts. */
  private stepsLeft({ alert, notifiedAt, escalated }: OpenAlert): { at: number; index: number }[] {
    if (notifiedAt === null) return [];
    return this.context.rule.escalate
      .flatMap(({ afterMs, unlessAcknowledged }, index) => {
        const isExcused = unlessAcknowledged && alert.state === 'acknowledged';
        return isExcused || escalated.includes(index) ? [] : [{ at: notifiedAt + afterMs, index }];
      })
      .toSorted((a, b) => a.at - b.at);
  }

  /** A group that has just fired several times waits for its interval: it flaps. */
  private firstFlush(): number {
    const { rule, now } = this.context;
    const earlier = this.group.firedAt.at(-FREE_FIRINGS);
    const notBefore = earlier === undefined ? 0 : earlier + rule.groupIntervalMs;
    return Math.max(now + rule.groupWaitMs, notBefore);
  }

  /** When the events that have come together are due, as one notification. */
  private nextFlush({ lastNotifiedAt }: OpenAlert): number {
    const { rule, now } = this.context;
    const collected = now + Math.min(rule.groupWaitMs, rule.groupIntervalMs);
    return Math.max(collected, (lastNotifiedAt ?? 0) + rule.groupIntervalMs);
  }

  private isDue(at: number | null | undefined): boolean {
    return at !== null && at !== undefined && this.context.now >= at;
  }
}

/** Whether a deadline of a run is nothing new to a group. */
export function isDealtWith({ dealtWith }: Group, runId: string, deadlineAt: number): boolean {
  return deadlineAt <= (valueOf(dealtWith, runId) ?? -Infinity);
}

/** The endpoints that a rule notifies of an alert: its own, and those of the escalation so far. */
function receivers({ escalated }: OpenAlert, { notify, escalate }: Rule): string[] {
  const steps = escalated.flatMap((index) => escalate[index]?.notify ?? []);
  return [...new Set([...notify, ...steps])];
}

/** The endpoints that were notified of an alert. */
function notifiedEndpoints({ alert }: OpenAlert): string[] {
  return alert.notified.map(({ endpoint }) => endpoint);
}

/** A caller that got no answer asks again, which is not another acknowledgement. */
function isSame(one: Acknowledgement | null, { by, comment, until }: Acknowledgement): boolean {
  return one !== null && one.by === by && one.comment === comment && one.until === until;
}

/** Whether a rule is about what has opened or continued an alert; what was absent has no metadata. */
export function isAbout(rule: Rule, kind: Group['kind'], facts: SilencedEvent): boolean {
  const { source, metadata, workflowId, type } = facts;
  const about = workflowId === null ? {} : { workflowId };
  return kind === 'absent' || meets(rule, { type, source, metadata, run: null, ...about });
}

function matchOf(event: AlertEvent): Match {
  const { id: seed, at, type, run, source, metadata } = event;
  const runs = run === null ? [] : [{ ...run, at }];
  const runIds = runs.map(({ runId }) => runId);
  const about = { source, metadata, workflowId: workflowOf(event) };
  return { seed, at, type, count: 1, runs, runIds, ...about };
}

function without<Value>(record: Readonly<Record<string, Value>>, name: string) {
  return Object.fromEntries(Object.entries(record).filter(([key]) => key !== name));
}

/** What a notification is in the history of its alert. */
function momentOf(
  kind: AlertEventKind,
  { isRepeat = false, escalation = null }: Pick<Partial<Notification>, 'isRepeat' | 'escalation'>,
): Moment['kind'] {
  if (kind === 'acknowledged' || kind === 'resolved') return kind;
  if (escalation !== null) return 'escalated';
  if (kind === 'firing') return 'fired';
  return isRepeat ? 'repeated' : 'updated';
}

/** What a digest says of an alert. */
export function itemOf({ id, labels, state, count, runs }: Alert): DigestItem {
  return { id, labels, state, count, name: runs[0]?.name ?? null };
}

/** When nothing is left to keep of a group without a due time, milliseconds since the epoch. */
export function keptUntil(group: Group, rule: Rule, now: number): number {
  if (group.open !== null || group.held !== null || group.absentSince !== null) return Infinity;
  if (Object.keys(group.late).length > 0) return Infinity;
  const firedAt = group.firedAt.at(-1) ?? -Infinity;
  const hasRuns = group.window !== null || Object.keys(group.dealtWith ?? {}).length > 0;
  return Math.max(firedAt + rule.groupIntervalMs, hasRuns ? now + RUNS_KEPT_MS : 0);
}

/** For how long runs of a group are remembered: the last ones of a threshold, and those that are dealt with, ms. */
const RUNS_KEPT_MS = 30 * 86_400_000;
