import type { PlannedEvent } from '../delivery/outbox.ts';
import type { Alert, AlertCounts, Notification, ResolvedBy } from './alert.ts';
import { addCounts, noCounts, withNotified } from './alert.ts';
import { digestNotifications, withHeld } from './digest.ts';
import { isBlank, newGroup, type Group, type GroupContext, type GroupInput } from './group.ts';
import {
  groupKey,
  labelsOf,
  roleOf,
  type AlertEvent,
  type InhibitRule,
  type Rule,
} from './rule.ts';
import { silencedUntil, type Silence } from './silence.ts';
import { dueAt, stepGroup } from './step.ts';
import { inhibitorsOf } from './suppression.ts';
import { mutedUntil } from './time-interval.ts';

export interface BatchContext extends Pick<GroupContext, 'now' | 'uptimeMs' | 'cannotTell'> {
  silences: readonly Silence[];
  inhibitRules: readonly InhibitRule[];
  /** Alerts that may inhibit others, by rule, as they were when the batch was read. */
  active: ReadonlyMap<string, readonly Alert[]>;
  /** How many groups there are of {@link groupOwners}, as far as events may open others. */
  groupCounts: ReadonlyMap<string, number>;
  /** How many sources are configured. */
  sources: number;
  newEventId: () => string;
}

/** A notification with the id of its event. */
export interface SentNotification extends Notification {
  eventId: string;
}

/** A group that a batch has changed; `after` is null where nothing is left to keep. */
export interface ChangedGroup {
  key: string;
  before: Group | null;
  after: Group | null;
  dueAt: number | null;
}

/** Work on alerts that a process has claimed. Times are milliseconds since the epoch. */
export interface AlertWork {
  now: number;
  /** For how long some process has judged, ms. */
  uptimeMs: number;
  /** When the next work is due, ms from now; null where nothing is due at all. */
  nextMs: number | null;
  /** Null where there is nothing to do, or another process does it. */
  claimed: { entries: string[]; due: string[]; deadlines: string[] } | null;
}

/** A group as it was read, with the version that a write must find; null where there is none. */
export interface ReadGroup {
  version: string;
  group: Group | null;
}

/** What one step writes. */
export interface AlertCommit {
  /** The claim of the process that judges; null for a change that needs none. */
  token: string | null;
  /** Groups as they were read, by key. */
  read: ReadonlyMap<string, ReadGroup>;
  changed: readonly ChangedGroup[];
  resolved?: readonly Alert[];
  counts: AlertCounts;
  events: readonly PlannedEvent[];
  /** The entries of the inbox that were judged, from the first on. */
  judged?: readonly string[];
  deadlines?: readonly { member: string; at: number }[];
  endedDeadlines?: readonly string[];
}

/** How long a group waits for a rule or source that a process does not know, ms: another may. */
const ORPHANED_MS = 600_000;

/** Such a group comes up so often meanwhile, ms: the process that judges then may know its rule. */
const ORPHAN_AGAIN_MS = 60_000;

/** The group of a rule that holds what its mute intervals keep back. */
export function digestKey(rule: string): string {
  return groupKey(rule, { '': 'digest' });
}

/**
 * The groups that a rule may have: `group_by` may name what never comes twice. Events of further groups
 * are counted together.
 */
export const MOST_GROUPS = 1_000;

/** The least share of a rule's groups that a source has while no more than four share them. */
const LEAST_SHARE = MOST_GROUPS / 4;

/** How many groups of a rule one of so many sources may have: it leaves each other its least share. */
export function shareOfGroups(sources: number): number {
  return Math.max(LEAST_SHARE, MOST_GROUPS - LEAST_SHARE * Math.max(0, sources - 1));
}

/** What a group counts for: its rule, and its rule with its source. */
export function groupOwners({ rule, source }: Pick<Group, 'rule' | 'source'>): string[] {
  return [rule, ofSource(rule, source)];
}

function ofSource(rule: string, source: string): string {
  return `${rule} ${source}`;
}

/** The labels of the group that counts what belongs to none of the others of its source. */
function overflowLabels(source: string): Record<string, string> {
  return { overflow: 'true', source };
}

/** How long the alert of this group goes on after its last event, at the least, ms. */
const OVERFLOW_GOES_ON_MS = 3_600_000;

export function overflowKey(rule: string, source: string): string {
  return groupKey(rule, overflowLabels(source));
}

/** Steps of several groups that are written together. Pure: it reads only what it was given. */
export class Batch {
  readonly notifications: SentNotification[] = [];
  readonly counts: AlertCounts = noCounts();
  readonly resolved = new Map<string, Alert>();
  /** Events for which a rule may have no group of their own, by rule. */
  readonly overflowed = new Map<string, number>();
  private readonly rules = new Map<string, Rule>();
  private readonly current = new Map<string, Group>();
  private readonly orphans = new Set<string>();
  private readonly opened = new Map<string, Set<string>>();
  private readonly mutes = new Map<string, number | null>();

  constructor(
    private readonly stored: ReadonlyMap<string, Group>,
    private readonly context: BatchContext,
  ) {}

  /** An event of a rule, in the group of its labels. */
  judge(rule: Rule, event: AlertEvent, kind: 'event' | 'late' = 'event'): void {
    const labels = labelsOf(rule, event);
    const key = groupKey(rule.name, labels);
    if (this.hasRoomFor(rule.name, key, event.source)) {
      return this.step(rule, { key, labels }, { kind, event });
    }
    // What would only have ended the alert of another group says nothing.
    const isCounted = kind === 'late' || roleOf(rule, event.type) === 'match';
    if (!isCounted && rule.condition.kind !== 'absent') return;
    this.overflowed.set(rule.name, (this.overflowed.get(rule.name) ?? 0) + 1);
    const other = overflowLabels(event.source);
    this.step(rule, { key: groupKey(rule.name, other), labels: other }, { kind, event });
  }

  /** A group is due. */
  tick(rule: Rule, key: string): void {
    const group = this.groupOf(key);
    if (group === undefined) return;
    if (group.held === null) this.step(rule, { key, labels: group.labels }, { kind: 'timer' });
    else this.endMute(rule, key, group);
  }

  /**
   * A group is due, but this process does not know its rule or source: its alert ends without a
   * notification, unless they come back in time.
   */
  orphan(key: string): void {
    const group = this.groupOf(key);
    const { now } = this.context;
    this.orphans.add(key);
    if (group === undefined) return;
    const { orphanedAt, open } = group;
    if (orphanedAt === null || now < orphanedAt + ORPHANED_MS) {
      this.current.set(key, { ...group, orphanedAt: orphanedAt ?? now });
      return;
    }
    this.current.delete(key);
    if (open === null) return;
    this.counts.waiting -= open.waiting;
    this.counts.grouped += open.waiting;
    this.resolved.set(open.alert.id, { ...open.alert, state: 'resolved', resolvedAt: now });
  }

  /** Ends the alert of a group by hand, where this process does not know its rule. */
  resolveOrphan(key: string, resolvedBy: ResolvedBy): void {
    const open = this.groupOf(key)?.open ?? null;
    if (open === null) return;
    const { now } = this.context;
    const { alert: before, waiting, notifiedAt } = open;
    const times = { resolvedAt: now, updatedAt: now };
    const alert = { ...before, ...times, state: 'resolved' as const, resolvedBy };
    this.orphans.add(key);
    this.current.delete(key);
    this.counts.waiting -= waiting;
    this.counts.grouped += waiting;
    this.resolved.set(alert.id, alert);
    if (notifiedAt === null) return;
    const notify = before.notified.map(({ endpoint }) => endpoint);
    const kind = 'resolved' as const;
    this.send(key, { kind, alert, notify, isRepeat: false, digest: null, escalation: null });
  }

  step(
    given: Rule,
    { key, labels }: { key: string; labels: Readonly<Record<string, string>> },
    input: GroupInput,
  ): void {
    const named = labels['source'] ?? '';
    const source = 'event' in input ? input.event.source : named;
    const rule = key === overflowKey(given.name, named) ? overflowRule(given) : given;
    const group = this.groupOf(key) ?? newGroup(rule.name, labels, source);
    const before = { ...group, orphanedAt: null };
    const { group: after, effects } = stepGroup(before, input, this.contextOf(rule));
    this.put(rule, key, after);
    addCounts(this.counts, effects.counts);
    for (const alert of effects.resolved) this.resolved.set(alert.id, alert);
    for (const notification of effects.notifications) this.send(key, notification);
    for (const held of effects.held) {
      const digest = digestKey(rule.name);
      const holding = this.groupOf(digest) ?? newGroup(rule.name, {}, '');
      const merged = withHeld(holding.held, held, this.context.now);
      this.put(rule, digest, { ...holding, held: merged });
    }
  }

  /** The alert of a group as it is now. */
  alertOf(key: string): Alert | null {
    return this.groupOf(key)?.open?.alert ?? null;
  }

  /** What the steps have changed. */
  changed(): ChangedGroup[] {
    const orphans = [...this.orphans].map((key) => this.changedOrphan(key));
    const known = [...this.current].filter(([key]) => !this.orphans.has(key));
    const changed = known.map(([key, after]) => {
      const rule = this.rules.get(key);
      const isKept = rule !== undefined && !isBlank(after, this.context.now);
      return {
        key,
        before: this.stored.get(key) ?? null,
        after: isKept ? after : null,
        dueAt: isKept ? dueAt(after, this.contextOf(rule)) : null,
      };
    });
    return [...changed, ...orphans];
  }

  private changedOrphan(key: string): ChangedGroup {
    const after = this.current.get(key) ?? null;
    const { now } = this.context;
    const endsAt = (after?.orphanedAt ?? 0) + ORPHANED_MS;
    const again = after === null ? null : Math.min(endsAt, now + ORPHAN_AGAIN_MS);
    return { key, before: this.stored.get(key) ?? null, after, dueAt: again };
  }

  private groupOf(key: string): Group | undefined {
    return this.current.get(key) ?? this.stored.get(key);
  }

  /** Whether a group is there, or may be opened by an event of a source. */
  private hasRoomFor(rule: string, key: string, source: string): boolean {
    if (this.groupOf(key) !== undefined) return true;
    const share = shareOfGroups(this.context.sources);
    return this.countOf(rule) < MOST_GROUPS && this.countOf(ofSource(rule, source)) < share;
  }

  private countOf(owner: string): number {
    const opened = this.opened.get(owner)?.size ?? 0;
    return (this.context.groupCounts.get(owner) ?? 0) + opened;
  }

  private put(rule: Rule, key: string, group: Group): void {
    this.rules.set(key, rule);
    this.current.set(key, group);
    if (this.stored.has(key) || isBlank(group, this.context.now)) return;
    for (const owner of groupOwners(group)) {
      this.opened.set(owner, (this.opened.get(owner) ?? new Set()).add(key));
    }
  }

  private send(key: string, notification: Notification): void {
    const eventId = this.context.newEventId();
    const sent = { at: this.context.now, eventId };
    const noted = (alert: Alert) => withNotified(alert, sent, notification.notify);
    this.notifications.push({ ...notification, alert: noted(notification.alert), eventId });
    const { id } = notification.alert;
    const group = this.current.get(key);
    if (group?.open?.alert.id === id) {
      const open = { ...group.open, alert: noted(group.open.alert) };
      this.current.set(key, { ...group, open });
    }
    const resolved = this.resolved.get(id);
    if (resolved !== undefined) this.resolved.set(id, noted(resolved));
  }

  /** The rule may be muted again, or for another time than when it began: a reload changes intervals. */
  private endMute(rule: Rule, key: string, group: Group): void {
    const { now } = this.context;
    if (group.held === null) return;
    const again = this.mutedUntil(rule);
    if (again !== null) {
      return this.put(rule, key, { ...group, held: { ...group.held, until: again } });
    }
    this.put(rule, key, { ...group, held: null });
    for (const notification of digestNotifications(group.held, rule, now)) {
      this.send(key, notification);
    }
  }

  private contextOf(rule: Rule): GroupContext {
    const { now, uptimeMs, cannotTell, silences } = this.context;
    return {
      now,
      rule,
      uptimeMs,
      cannotTell,
      silencedUntil: (event) => silencedUntil(silences, event, now),
      isInhibited: (alert) => this.isInhibited(alert),
      mutedUntil: () => this.mutedUntil(rule),
    };
  }

  private mutedUntil(rule: Rule): number | null {
    const known = this.mutes.get(rule.name);
    if (known !== undefined) return known;
    const until = mutedUntil(rule.mute, this.context.now);
    this.mutes.set(rule.name, until);
    return until;
  }

  private isInhibited(alert: Alert): boolean {
    const { inhibitRules } = this.context;
    return inhibitorsOf(alert, inhibitRules, (rule) => this.activeOf(rule)).length > 0;
  }

  /** The alerts of a rule that go on, as the batch has left them so far. */
  private activeOf(rule: string): Alert[] {
    const stored = (this.context.active.get(rule) ?? []).filter(
      ({ labels }) => !this.current.has(groupKey(rule, labels)),
    );
    const changed = [...this.current.values()].flatMap(({ open }) =>
      open !== null && open.alert.rule === rule ? [open.alert] : [],
    );
    return [...stored, ...changed].filter(({ state }) => state !== 'resolved');
  }
}

/**
 * A rule as it judges a group of its overflow. The events are of many groups: none of them resolves its
 * alert, and no threshold means anything. They are counted, and an alert says so, at once with the first.
 */
function overflowRule(rule: Rule): Rule {
  const { condition, annotations, groupIntervalMs } = rule;
  const summary =
    'The rule has as many groups as it may have of this source; events of further ones are counted together.';
  return {
    ...rule,
    groupWaitMs: 0,
    annotations: { ...annotations, summary },
    condition: condition.kind === 'digest' ? condition : { kind: 'each' },
    resolve: { kind: 'after', ms: Math.max(groupIntervalMs, OVERFLOW_GOES_ON_MS) },
  };
}
