import type { Acknowledgement } from '../watch/watch.ts';
import type { AlertEventKind, Digest, ResolvedBy, Suppression } from './alert.ts';
import { itemOf } from './digest.ts';
import type { Draft, GroupContext, OpenAlert } from './group.ts';
import type { Rule } from './rule.ts';

/** An alert that is suppressed with no known end is judged again after this time, ms. */
export const JUDGE_AGAIN_MS = 60_000;

/** Firings of a group within `group_interval` that need not wait for it. */
export const FREE_FIRINGS = 2;

interface Suppressed {
  reason: Suppression;
  until: number | null;
}

/** Whether a time has come. */
export function isDue(at: number | null, now: number): boolean {
  return at !== null && now >= at;
}

/** Why no notification of an alert may be sent now, and until when; null where one may. */
function suppression(open: OpenAlert, context: GroupContext): Suppressed | null {
  if (open.alert.state === 'acknowledged') {
    return { reason: 'acknowledged', until: open.alert.acknowledged?.until ?? null };
  }
  if (context.isInhibited(open.alert)) {
    return { reason: 'inhibited', until: context.now + JUDGE_AGAIN_MS };
  }
  const silenced = context.silencedUntil(open.facts);
  if (silenced !== null) return { reason: 'silenced', until: silenced };
  const muted = context.mutedUntil();
  return muted === null ? null : { reason: 'muted', until: muted };
}

/** Notifies of the events that have come together, unless something suppresses them. */
export function flush(draft: Draft, open: OpenAlert): void {
  const { context } = draft;
  open.flushAt = null;
  const isDigest = context.rule.condition.kind === 'digest';
  const suppressed = suppression(open, context);
  if (isDigest) {
    if (suppressed?.reason === 'muted') open.flushAt = suppressed.until;
    else if (suppressed === null) sendDigest(draft, open);
    else endDigest(draft, open, suppressed);
    return;
  }
  if (suppressed === null) {
    countNotified(draft, open);
    notify(draft, open, open.notifiedAt === null ? 'firing' : 'updated');
  } else {
    suppress(draft, open, suppressed);
  }
  if (open.isResolving) endAlert(draft, open);
}

/** A digest that is suppressed when it is due is not sent later. */
function endDigest(draft: Draft, open: OpenAlert, suppressed: Suppressed): void {
  suppress(draft, open, suppressed);
  closeAlert(draft, open);
}

/** Counts one of the waiting events as notified, the others as grouped with it. */
function countNotified({ effects: { counts } }: Draft, open: OpenAlert): void {
  if (open.waiting === 0) return;
  counts.waiting -= open.waiting;
  counts.notified += 1;
  counts.grouped += open.waiting - 1;
  open.waiting = 0;
}

function suppress(draft: Draft, open: OpenAlert, { reason, until }: Suppressed): void {
  const { counts } = draft.effects;
  const count = open.waiting;
  counts.waiting -= count;
  counts[reason] += count;
  open.waiting = 0;
  if (open.alert.state === 'pending') open.alert = { ...open.alert, state: 'firing' };
  if (reason === 'muted') {
    open.heldUntil = until;
    hold(draft, open, count);
  } else if (open.notifiedAt === null) {
    // A silence may be ended before its time.
    open.flushAt = until === null ? null : Math.min(until, draft.context.now + JUDGE_AGAIN_MS);
  }
}

/** Adds to the digest that the rule sends when its mute ends. */
export function hold({ effects }: Draft, open: OpenAlert, count: number): void {
  effects.held.push({
    alert: open.alert,
    isNotified: open.notifiedAt !== null,
    count,
    until: open.heldUntil ?? 0,
    byType: count === 0 ? {} : open.byType,
  });
  open.byType = {};
}

/** Ends the hold of an alert that a digest has covered. */
export function endHold(open: OpenAlert, { now, rule }: GroupContext): void {
  open.heldUntil = null;
  markNotified(open, { now, rule });
}

function markNotified(open: OpenAlert, { now, rule }: Pick<GroupContext, 'now' | 'rule'>): void {
  if (open.notifiedAt === null) {
    open.notifiedAt = now;
    open.escalateAt = escalationAt(open, rule);
  }
  open.lastNotifiedAt = now;
  open.repeatAt = now + rule.repeatIntervalMs;
  open.byType = {};
}

/** When the next step of the escalation is due; null after the last. */
function escalationAt(
  { notifiedAt, escalated }: OpenAlert,
  { escalate: steps }: Rule,
): number | null {
  const step = steps[escalated];
  return step === undefined || notifiedAt === null ? null : notifiedAt + step.afterMs;
}

interface NotifyOptions {
  notify?: readonly string[];
  isRepeat?: boolean;
  digest?: Digest;
  escalation?: { step: number; afterMs: number };
}

function notify(
  { group, context, effects }: Draft,
  open: OpenAlert,
  kind: AlertEventKind,
  options: NotifyOptions = {},
): void {
  if (kind === 'firing' && options.escalation === undefined) {
    group.firedAt = [...group.firedAt, context.now].slice(-FREE_FIRINGS);
  }
  if (open.alert.state === 'pending') open.alert = { ...open.alert, state: 'firing' };
  if (kind === 'firing' || kind === 'updated') markNotified(open, context);
  effects.notifications.push({
    kind,
    alert: open.alert,
    notify: options.notify ?? receivers(open, context.rule),
    isRepeat: options.isRepeat ?? false,
    digest: options.digest ?? null,
    escalation: options.escalation ?? null,
  });
}

/** The endpoints that know of an alert: the rule's, and those of the escalation so far. */
function receivers({ escalated }: OpenAlert, rule: Rule): string[] {
  const steps = rule.escalate.slice(0, escalated).flatMap((step) => step.notify);
  return [...new Set([...rule.notify, ...steps])];
}

function sendDigest(draft: Draft, open: OpenAlert): void {
  if (open.waiting > 0) {
    const digest: Digest = {
      reason: 'schedule',
      since: open.alert.startedAt,
      until: draft.context.now,
      alerts: [itemOf({ ...open.alert, state: 'firing' })],
      byType: { ...open.byType },
    };
    countNotified(draft, open);
    notify(draft, open, 'firing', { digest });
  }
  closeAlert(draft, open);
}

/** Says again that an alert fires. */
export function repeat(draft: Draft, open: OpenAlert): void {
  const { context } = draft;
  const { repeatIntervalMs } = context.rule;
  open.repeatAt = context.now + repeatIntervalMs;
  if (open.alert.state !== 'firing' || open.heldUntil !== null) return;
  const suppressed = suppression(open, context);
  if (suppressed !== null) {
    open.repeatAt = context.now + Math.min(JUDGE_AGAIN_MS, repeatIntervalMs);
    return;
  }
  countNotified(draft, open);
  open.flushAt = null;
  notify(draft, open, 'updated', { isRepeat: true });
}

/** Notifies further endpoints of an alert that goes on. */
export function escalate(draft: Draft, open: OpenAlert): void {
  const { context } = draft;
  const step = context.rule.escalate[open.escalated];
  open.escalateAt = null;
  if (step === undefined) return;
  const suppressed = suppression(open, context);
  const isExcused = suppressed?.reason === 'acknowledged' && !step.unlessAcknowledged;
  if (suppressed !== null && !isExcused) {
    // The end of an acknowledgement sets the time anew.
    const again = context.now + JUDGE_AGAIN_MS;
    open.escalateAt = suppressed.reason === 'acknowledged' ? null : again;
    return;
  }
  const known = new Set(receivers(open, context.rule));
  open.escalated += 1;
  const escalation = { step: open.escalated, afterMs: step.afterMs };
  const { repeatAt, lastNotifiedAt } = open;
  for (const kind of ['firing', 'updated'] as const) {
    const to = step.notify.filter((name) => known.has(name) === (kind === 'updated'));
    if (to.length > 0) notify(draft, open, kind, { notify: to, escalation });
  }
  open.repeatAt = repeatAt;
  open.lastNotifiedAt = lastNotifiedAt;
  open.escalateAt = escalationAt(open, context.rule);
}

/** A caller that got no answer asks again, which is not another acknowledgement. */
function isSame(one: Acknowledgement | null, { by, comment, until }: Acknowledgement): boolean {
  return one !== null && one.by === by && one.comment === comment && one.until === until;
}

export function acknowledge(draft: Draft, acknowledgement: Acknowledgement): void {
  const { open } = draft.group;
  if (open === null || isSame(open.alert.acknowledged, acknowledgement)) return;
  open.alert = { ...open.alert, state: 'acknowledged', acknowledged: acknowledgement };
  const { counts } = draft.effects;
  counts.waiting -= open.waiting;
  counts.acknowledged += open.waiting;
  open.waiting = 0;
  if (open.notifiedAt !== null) {
    open.flushAt = null;
    notify(draft, open, 'acknowledged');
  }
}

export function unacknowledge(draft: Draft, open: OpenAlert): void {
  const { context } = draft;
  const isPending = open.notifiedAt === null && open.flushAt !== null && open.flushAt > context.now;
  const state = isPending ? ('pending' as const) : ('firing' as const);
  open.alert = { ...open.alert, state, acknowledged: null };
  open.escalateAt = escalationAt(open, context.rule);
  if (open.notifiedAt === null) {
    open.flushAt ??= context.now;
    return;
  }
  if (suppression(open, context) === null) notify(draft, open, 'updated', { isRepeat: true });
}

/** Ends an alert. One without a notification so far is notified first: no event passes in silence. */
export function resolveAlert(draft: Draft, open: OpenAlert): void {
  const { now } = draft.context;
  const isHeld = open.heldUntil !== null;
  open.resolveAt = null;
  if (open.notifiedAt !== null || isHeld || open.alert.state === 'acknowledged') {
    return endAlert(draft, open);
  }
  open.isResolving = true;
  // A first notification comes in time; what was suppressed is judged now.
  if (open.alert.state !== 'pending' || isDue(open.flushAt, now)) flush(draft, open);
}

/**
 * Ends an alert at once, as a user asks. One that was never notified ends untold. What has been absent or
 * late so far is dealt with: only what comes later opens another alert.
 */
export function resolveByHand(draft: Draft, open: OpenAlert, resolvedBy: ResolvedBy): void {
  const { group, context } = draft;
  open.alert = { ...open.alert, resolvedBy };
  endAlert(draft, open);
  group.late = [];
  if (group.absentSince !== null) group.absentSince = context.uptimeMs;
}

function endAlert(draft: Draft, open: OpenAlert): void {
  const { now } = draft.context;
  open.alert = { ...open.alert, state: 'resolved', resolvedAt: now, updatedAt: now };
  const muted = open.heldUntil ?? draft.context.mutedUntil();
  if (muted !== null && (open.heldUntil !== null || open.notifiedAt !== null)) {
    open.heldUntil = muted;
    hold(draft, open, 0);
  } else if (open.notifiedAt !== null) {
    notify(draft, open, 'resolved');
  }
  closeAlert(draft, open);
}

/** The group has no alert any more. */
function closeAlert(draft: Draft, open: OpenAlert): void {
  const { group, context, effects } = draft;
  const { now } = context;
  effects.counts.waiting -= open.waiting;
  effects.counts.grouped += open.waiting;
  effects.resolved.push({
    ...open.alert,
    state: 'resolved',
    resolvedAt: open.alert.resolvedAt ?? now,
  });
  group.open = null;
  group.crossedAt = null;
}
