import { nextDigest } from './time-interval.ts';
import {
  factsOf,
  openAlert,
  type Draft,
  type GroupContext,
  type Match,
  type OpenAlert,
} from './group.ts';
import { FREE_FIRINGS, hold } from './notify.ts';
import { ownerOf, type Rule } from './rule.ts';

/** Counts a matching event in the group's alert, opens one if there is none, and sets its times. */
export function raise(draft: Draft, match: Match): void {
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
export function collect(draft: Draft, match: Match): void {
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
