import { setImmediate } from 'node:timers/promises';
import {
  addCounts,
  noCounts,
  type Alert,
  type AlertCounts,
  type Notification,
} from '../core/alert/alert.ts';
import type { Group } from '../core/alert/group.ts';
import { Judgement, ownersOf } from '../core/alert/judgement.ts';
import type { AlertEvent } from '../core/alert/rule.ts';
import type { LiveRules } from './ports.ts';

/** A notification that rules would have sent. */
interface Rehearsed extends Notification {
  at: number;
}

export interface Rehearsal {
  /** Stored events that were judged. */
  events: number;
  notifications: Rehearsed[];
  /** What became of matching events, by rule. */
  counts: Map<string, AlertCounts>;
  /** There would have been more notifications than are shown. */
  isCapped: boolean;
}

interface RehearseDeps {
  rules: LiveRules;
  /** Stored events since a time, oldest first. */
  eventsSince: (since: number) => Promise<AlertEvent[]>;
  now: () => number;
}

/** Events judged before others get the processor. */
const EVENTS_AT_ONCE = 100;

const MOST_NOTIFICATIONS = 1_000;

/**
 * The use case that shows what the rules would have sent for stored events, with no silence and no
 * acknowledgement. It writes nothing and sends nothing.
 */
export function createRehearse({ rules, eventsSince, now }: RehearseDeps) {
  return async function rehearse(since: number): Promise<Rehearsal> {
    const theatre = new Theatre(rules);
    for (const event of await eventsSince(since)) {
      theatre.judge(event);
      if (theatre.notifications.length > MOST_NOTIFICATIONS) break;
      if (theatre.events % EVENTS_AT_ONCE === 0) await setImmediate();
    }
    theatre.runUntil(now());
    const isCapped = theatre.notifications.length > MOST_NOTIFICATIONS;
    const notifications = theatre.notifications.slice(0, MOST_NOTIFICATIONS);
    return { events: theatre.events, notifications, counts: theatre.counts, isCapped };
  };
}

/** Groups in memory, with a clock that events and due times move on. */
class Theatre {
  events = 0;
  private eventIds = 0;
  readonly notifications: Rehearsed[] = [];
  readonly counts = new Map<string, AlertCounts>();
  private readonly groups = new Map<string, Group>();
  private readonly due = new Map<string, number>();
  private readonly groupCounts = new Map<string, number>();

  constructor(private readonly rules: LiveRules) {}

  judge(event: AlertEvent): void {
    this.runUntil(event.at);
    const entry = this.rules.book.entryOf(event);
    this.events += 1;
    for (const name of entry?.kind === 'event' ? entry.rules : []) {
      const rule = this.rules.book.named(name);
      if (rule === undefined) continue;
      this.step(rule.name, event.at, (judgement) => judgement.event(rule, event));
    }
  }

  /** Takes what is due by a time, in order. */
  runUntil(end: number): void {
    for (;;) {
      let first: { key: string; at: number } | null = null;
      for (const [key, at] of this.due) if (at < (first?.at ?? end)) first = { key, at };
      if (first === null || this.notifications.length > MOST_NOTIFICATIONS) return;
      this.tick(first.key, first.at);
    }
  }

  private tick(key: string, now: number): void {
    const group = this.groups.get(key);
    const rule = group && this.rules.book.named(group.rule);
    if (rule === undefined) return void this.due.delete(key);
    this.step(rule.name, now, (judgement) => judgement.tick(key));
    // A time that has passed must not come again.
    if ((this.due.get(key) ?? Infinity) <= now) this.due.set(key, now + 1);
  }

  private step(rule: string, now: number, act: (judgement: Judgement) => void): void {
    const { book, sources, inhibitRules } = this.rules;
    const judgement = new Judgement(this.groups, {
      now,
      ruleNamed: (name) => book.named(name),
      sources,
      isMixed: false,
      seenMs: () => now,
      cannotTell: () => false,
      silences: [],
      inhibitRules,
      active: this.active(),
      groupCounts: this.groupCounts,
      newEventId: () => `evt_${(this.eventIds += 1)}`,
    });
    act(judgement);
    for (const { key, before, after, dueAt } of judgement.changed()) {
      for (const owner of before === null ? [] : ownersOf(before)) this.countGroup(owner, -1);
      for (const owner of after === null ? [] : ownersOf(after)) this.countGroup(owner, 1);
      if (after === null) this.groups.delete(key);
      else this.groups.set(key, after);
      if (dueAt === null || after === null) this.due.delete(key);
      else this.due.set(key, dueAt);
    }
    this.notifications.push(...judgement.notifications.map((one) => ({ ...one, at: now })));
    const counts = this.counts.get(rule) ?? noCounts();
    addCounts(counts, judgement.counts);
    this.counts.set(rule, counts);
  }

  private countGroup(owner: string, more: number): void {
    this.groupCounts.set(owner, (this.groupCounts.get(owner) ?? 0) + more);
  }

  private active(): ReadonlyMap<string, readonly Alert[]> {
    const inhibiting = new Set(this.rules.inhibitRules.map(({ sourceRule }) => sourceRule));
    if (inhibiting.size === 0) return new Map();
    const open = [...this.groups.values()].flatMap((group) => group.open?.alert ?? []);
    return new Map([...inhibiting].map((name) => [name, open.filter((one) => one.rule === name)]));
  }
}
