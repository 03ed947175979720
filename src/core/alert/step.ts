import {
  afterSample,
  crossedBy,
  EMPTY_WINDOW,
  factsOf,
  lapsesAt,
  matchOf,
  noEffects,
  openAlert,
  type Draft,
  type Effects,
  type Group,
  type GroupContext,
  type GroupInput,
  type Match,
  type OpenAlert,
} from './group.ts';
import {
  acknowledge,
  endHold,
  escalate,
  flush,
  FREE_FIRINGS,
  hold,
  isDue,
  JUDGE_AGAIN_MS,
  repeat,
  resolveAlert,
  resolveByHand,
  unacknowledge,
} from './notify.ts';
import { ownerOf, roleOf, type AlertEvent, type Rule } from './rule.ts';
import { nextDigest } from './time-interval.ts';

/** An alert is judged within this time, ms: its rule or source may be configured no more. */
const JUDGE_AT_LATEST_MS = 7 * 86_400_000;

/** The most runs beyond their deadline that a group keeps. */
const MOST_LATE = 1_000;

/**
 * The step of the state machine of a group: its alert is opened, notified, acknowledged and resolved.
 * Pure: the same group, input and context always give the same result. The notifications of an alert
 * are one firing, updates, and one resolve after it, if at all.
 */
export function stepGroup(
  before: Group,
  input: GroupInput,
  context: GroupContext,
): { group: Group; effects: Effects } {
  const group = structuredClone(before);
  const draft: Draft = { group, context, effects: noEffects() };
  switch (input.kind) {
    case 'event':
      onEvent(draft, input.event);
      break;
    case 'late':
      onLate(draft, input.event);
      break;
    case 'timer':
      onTimer(draft);
      break;
    case 'begin':
      group.absentSince ??= context.uptimeMs;
      break;
    case 'acknowledge':
      acknowledge(draft, input.acknowledgement);
      break;
    case 'unacknowledge':
      if (group.open?.alert.state === 'acknowledged') unacknowledge(draft, group.open);
      break;
    case 'resolve':
      if (group.open !== null) resolveByHand(draft, group.open, input.resolvedBy);
      break;
  }
  return { group, effects: draft.effects };
}

function onEvent(draft: Draft, event: AlertEvent): void {
  const { rule } = draft.context;
  const role = roleOf(rule, event.type);
  if (role === null) return;
  switch (rule.condition.kind) {
    case 'each':
      return role === 'match' ? raise(draft, matchOf(event)) : onSuccess(draft);
    case 'digest':
      return collect(draft, matchOf(event));
    case 'absent':
      return onAwaited(draft, role === 'resolve');
    case 'deadline':
      return onEnded(draft, event);
    case 'count':
    case 'consecutive':
    case 'rate':
      return onSample(draft, event, role === 'match');
  }
}

/** An event of the rule's resolution: so many in a row resolve the alert. */
function onSuccess(draft: Draft): void {
  const { open } = draft.group;
  if (open === null) return;
  open.successes += 1;
  const { resolve } = draft.context.rule;
  const needed = resolve.kind === 'success' ? resolve.threshold : 1;
  if (open.successes >= needed) resolveAlert(draft, open);
}

function onSample(draft: Draft, event: AlertEvent, isMatch: boolean): void {
  const { group, context } = draft;
  const { rule } = context;
  const match = matchOf(event);
  group.window = afterSample(group.window ?? EMPTY_WINDOW, rule.condition, {
    isMatch,
    at: event.at,
    run: match.runs[0] ?? null,
    maxRuns: rule.maxRuns,
  });
  if (group.open !== null && isMatch) raise(draft, match);
  judgeThreshold(draft, match);
}

/** Opens or resolves the alert of a threshold, by what its window holds now. */
function judgeThreshold(draft: Draft, match: Match | null): void {
  const { group, context } = draft;
  const { rule, now } = context;
  if (group.window === null) return;
  const crossing = crossedBy(group.window, rule.condition, now);
  if (crossing > 0) {
    group.crossedAt ??= now;
    if (group.open !== null) group.open.resolveAt = null;
    else if (now >= group.crossedAt + rule.forMs) fireThreshold(draft, crossing, match);
    return;
  }
  group.crossedAt = null;
  const { open } = group;
  if (open === null || open.isResolving) {
    if (open === null && lapsesAt(group.window, rule.condition) <= now) group.window = null;
    return;
  }
  open.resolveAt ??= now + rule.keepFiringForMs;
  if (now >= open.resolveAt) resolveAlert(draft, open);
}

function fireThreshold(draft: Draft, count: number, match: Match | null): void {
  const { group, context } = draft;
  const runs = group.window?.runs ?? [];
  const { source = '' } = group.labels;
  const seed = `${context.now} ${group.window?.outcomes}`;
  const last = match ?? { seed, at: context.now, type: '', source, metadata: {} };
  raise(draft, { ...last, count, runs });
}

/** The group is known to exist, or what was waited for has come. */
function onAwaited(draft: Draft, hasCome: boolean): void {
  const { group, context } = draft;
  group.absentSince ??= context.uptimeMs;
  if (!hasCome) return;
  group.absentSince = context.uptimeMs;
  if (group.open !== null) resolveAlert(draft, group.open);
}

function onLate(draft: Draft, event: AlertEvent): void {
  const { group } = draft;
  const runId = event.run?.runId ?? '';
  if (group.late.includes(runId)) return;
  group.late = [...group.late, runId].slice(-MOST_LATE);
  raise(draft, matchOf(event));
}

function onEnded({ group, ...draft }: Draft, event: AlertEvent): void {
  const runId = event.run?.runId ?? '';
  if (!group.late.includes(runId)) return;
  group.late = group.late.filter((id) => id !== runId);
  if (group.late.length === 0 && group.open !== null) {
    resolveAlert({ group, ...draft }, group.open);
  }
}

function onTimer(draft: Draft): void {
  const { group, context } = draft;
  const { now, rule } = context;
  if (rule.condition.kind === 'absent') judgeAbsence(draft);
  else judgeThreshold(draft, null);
  if (group.open !== null) takeDue(draft, group.open, { now, rule });
}

/** What is due of an alert, in order; each may close the alert. */
function takeDue(draft: Draft, open: OpenAlert, { now, rule }: { now: number; rule: Rule }): void {
  const isStill = (at: number | null) => draft.group.open === open && isDue(at, now);
  if (isDue(open.alert.acknowledged?.until ?? null, now)) unacknowledge(draft, open);
  if (open.heldUntil !== null) {
    open.heldUntil = draft.context.mutedUntil();
    if (open.heldUntil === null) endHold(open, draft.context);
  }
  if (rule.resolve.kind === 'after' && isDue(open.resolveAt, now)) resolveAlert(draft, open);
  if (isStill(open.flushAt)) flush(draft, open);
  if (isStill(open.escalateAt)) escalate(draft, open);
  if (isStill(open.repeatAt)) repeat(draft, open);
}

/** Fires once an event has been absent for long enough, as far as that can be known. */
function judgeAbsence(draft: Draft): void {
  const { group, context } = draft;
  const { rule, uptimeMs, now } = context;
  if (rule.condition.kind !== 'absent' || group.absentSince === null || group.open !== null) return;
  if (uptimeMs < group.absentSince + rule.condition.withinMs) return;
  const { source } = group.labels;
  if (context.cannotTell(source)) return;
  raise(draft, {
    seed: `absent ${now}`,
    at: now,
    type: rule.condition.event,
    count: 1,
    runs: [],
    source: source ?? '',
    metadata: {},
  });
}

/** When a group is due for its timer; null for never, without an alert. Milliseconds since the epoch. */
export function dueAt(group: Group, context: GroupContext): number | null {
  const { open, held } = group;
  const times =
    open === null
      ? [absenceAt(group, context)]
      : [...timesOf(open), context.now + JUDGE_AT_LATEST_MS];
  times.push(held?.until ?? null, ...windowTimes(group, context));
  const first = Math.min(...times.map((at) => at ?? Infinity));
  return first === Infinity ? null : first;
}

/** When a threshold may lapse, or has been crossed for long enough. */
function windowTimes({ open, window, crossedAt }: Group, { rule, now }: GroupContext): number[] {
  if (window === null) return [];
  const lapse = lapsesAt(window, rule.condition);
  const times = lapse > now ? [lapse] : [];
  return crossedAt === null || open !== null ? times : [...times, crossedAt + rule.forMs];
}

function absenceAt({ absentSince }: Group, { rule, now, uptimeMs }: GroupContext): number | null {
  if (absentSince === null || rule.condition.kind !== 'absent') return null;
  const due = now + absentSince + rule.condition.withinMs - uptimeMs;
  return due <= now ? now + JUDGE_AGAIN_MS : due;
}

function timesOf(open: OpenAlert): (number | null)[] {
  const { alert, flushAt, resolveAt, heldUntil, escalateAt, repeatAt } = open;
  const until = alert.acknowledged?.until ?? null;
  const repeats = alert.state === 'firing' ? repeatAt : null;
  return [flushAt, resolveAt, heldUntil, escalateAt, until, repeats];
}

/** Counts a matching event in the group's alert, opens one if there is none, and sets its times. */
function raise(draft: Draft, match: Match): void {
  const { group, context, effects } = draft;
  const { rule, now } = context;
  const open = (group.open ??= openAlert(draft, match));
  countIn(open, match, rule);
  effects.counts.observed += match.count;
  open.successes = 0;
  open.isResolving = false;
  open.resolveAt = rule.resolve.kind === 'after' ? now + rule.resolve.ms : null;
  const facts = factsOf(rule, match, match.runs[0]?.workflowId ?? open.facts.workflowId);
  if (context.silencedUntil(facts) !== null) {
    effects.counts.silenced += match.count;
    if (open.notifiedAt === null) open.flushAt ??= firstFlush(draft);
    return;
  }
  open.facts = facts;
  attribute(draft, open, match.count);
}

/** What becomes of matching events that no silence is about. */
function attribute(draft: Draft, open: OpenAlert, count: number): void {
  const { context, effects } = draft;
  const { now } = context;
  if (open.alert.state === 'acknowledged') {
    effects.counts.acknowledged += count;
  } else if (open.heldUntil !== null && now < open.heldUntil) {
    effects.counts.muted += count;
    hold(draft, open, count);
  } else {
    effects.counts.waiting += count;
    open.waiting += count;
    const due = open.lastNotifiedAt === null ? firstFlush(draft) : nextFlush(open, context);
    open.flushAt = open.waiting === count ? due : Math.min(open.flushAt ?? due, due);
  }
}

function countIn(open: OpenAlert, { at, type, count, runs }: Match, rule: Rule): void {
  const { alert } = open;
  const shown = new Map(
    [...runs, ...alert.runs].toReversed().map((run) => [run.runId, run] as const),
  );
  const listed = [...shown.values()].toSorted((a, b) => b.at - a.at).slice(0, rule.maxRuns);
  open.alert = {
    ...alert,
    owner: runs.length === 0 ? alert.owner : ownerOf(rule, alert.labels, [...shown.values()]),
    count: alert.count + count,
    updatedAt: Math.max(alert.updatedAt, at),
    runs: listed,
  };
  open.byType[type] = (open.byType[type] ?? 0) + count;
}

/** A group that has just fired several times waits for its interval: it flaps. */
function firstFlush({ group, context: { rule, now } }: Draft): number {
  const earlier = group.firedAt.at(-FREE_FIRINGS);
  const notBefore = earlier === undefined ? 0 : earlier + rule.groupIntervalMs;
  return Math.max(now + rule.groupWaitMs, notBefore);
}

/** When the events that have come together are due, as one notification. */
function nextFlush({ lastNotifiedAt }: OpenAlert, { rule, now }: GroupContext): number {
  const collected = now + Math.min(rule.groupWaitMs, rule.groupIntervalMs);
  return Math.max(collected, (lastNotifiedAt ?? 0) + rule.groupIntervalMs);
}

/** Counts an event for the digest of the day. */
function collect(draft: Draft, match: Match): void {
  const { group, context, effects } = draft;
  const { condition } = context.rule;
  if (condition.kind !== 'digest') return;
  const open = (group.open ??= openAlert(draft, match));
  countIn(open, match, context.rule);
  open.flushAt ??= nextDigest(condition.schedule, context.now);
  effects.counts.observed += match.count;
  const facts = factsOf(context.rule, match, match.runs[0]?.workflowId ?? null);
  if (context.silencedUntil(facts) !== null) {
    effects.counts.silenced += match.count;
    return;
  }
  effects.counts.waiting += match.count;
  open.waiting += match.count;
}
