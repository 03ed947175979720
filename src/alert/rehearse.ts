import { setImmediate } from 'node:timers/promises';
import {
  addCounts,
  noCounts,
  type Alert,
  type AlertCounts,
  type Notification,
} from '../core/alert/alert.ts';
import {
  alertedRun,
  alertEventOf,
  beginningOf,
  deadlineOf,
  systemAlertEvent,
  type UsualDuration,
} from '../core/alert/entry.ts';
import { isSilent } from '../core/alert/failures.ts';
import type { Group } from '../core/alert/group.ts';
import { Judgement, ownersOf } from '../core/alert/judgement.ts';
import { isFinal, meets, type AlertEvent, type Rule } from '../core/alert/rule.ts';
import { detectedAt, isOfRun, isoTime, type AnyEvent } from '../core/event/event.ts';
import { formatDuration } from '../core/time.ts';
import type { RunLinks } from '../core/run/links.ts';
import { watchId, type Watch } from '../core/watch/watch.ts';
import type { Alerting } from './alerting.ts';
import { namedGroups } from './engine.ts';
import type { LiveRules } from './rules.ts';

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
  /** What of a rule was not rehearsed, and why. */
  limits: Map<string, string>;
  /** There would have been more notifications than are shown. */
  isCapped: boolean;
}

/** Stored events since a time, oldest first. */
export interface EventHistory {
  events: AnyEvent[];
  /** No event that was stored from this time on is missing, milliseconds since the epoch. */
  from: number;
}

/** Stored events that are read. */
const MOST_EVENTS = 50_000;

/** Active watches that are read. */
const MOST_WATCHES = 10_000;

const PAGE = 200;

/** Events judged before others get the processor. */
const EVENTS_AT_ONCE = 100;

const MOST_NOTIFICATIONS = 1_000;

/**
 * Shows what rules would have sent for stored events, with no silence and no acknowledgement. Absence
 * counts from older events on, as if runwatch had been up ever since; deadlines are those of runs that ended
 * in that time or go on. It writes nothing and sends nothing.
 */
export class Rehearsals {
  constructor(private readonly alerting: Alerting) {}

  async rehearse(since: number, rules: LiveRules): Promise<Rehearsal> {
    const now = this.alerting.process.now();
    const history = await this.historySince(Math.min(since, ...absencesOf(rules, since)));
    const late = await this.lateRuns(rules, { history, since, now });
    const theatre = new Theatre(rules, { since, from: history.from });
    for (const stored of history.events) {
      const event = judgedEvent(stored);
      theatre.lateUntil(late.runs, event.at);
      theatre.judge(event);
      if (theatre.notifications.length > MOST_NOTIFICATIONS) break;
      if (theatre.events % EVENTS_AT_ONCE === 0) await setImmediate();
    }
    theatre.lateUntil(late.runs, now);
    theatre.runUntil(now);
    const isCapped = theatre.notifications.length > MOST_NOTIFICATIONS;
    const notifications = theatre.notifications.slice(0, MOST_NOTIFICATIONS);
    const { events, counts } = theatre;
    const limits = new Map([...late.limits, ...theatre.limits()]);
    return { events, notifications, counts, limits, isCapped };
  }

  /** Stored events since a time, oldest first; the newest of them where there are too many. */
  async historySince(since: number): Promise<EventHistory> {
    const found: AnyEvent[] = [];
    for await (const page of this.alerting.process.stores.events.newest(PAGE)) {
      const newer = page.filter((event) => detectedAt(event) >= since);
      found.push(...newer);
      if (newer.length < page.length) return { events: found.toReversed(), from: since };
      if (found.length >= MOST_EVENTS) break;
    }
    const oldest = found.at(-1);
    return {
      events: found.toReversed(),
      from: oldest === undefined ? Infinity : detectedAt(oldest),
    };
  }

  /** Watches that are active, those that were registered last, and whether that is not all. */
  async activeWatches(): Promise<{ watches: Watch[]; isCut: boolean }> {
    const { watches } = this.alerting.process.stores;
    const found: Watch[] = [];
    for await (const keys of watches.active(PAGE, 'newest')) {
      const stored = await watches.getMany(keys);
      found.push(...stored.flatMap((one) => one?.watch ?? []));
      if (found.length >= MOST_WATCHES) return { watches: found, isCut: true };
    }
    return { watches: found, isCut: false };
  }

  private async lateRuns(
    { book, usual }: LiveRules,
    given: { history: EventHistory; since: number; now: number },
  ): Promise<{ runs: LateRun[]; limits: Map<string, string> }> {
    const { durations, process } = this.alerting;
    const limits = new Map<string, string>();
    const rules = book.all.filter(({ condition }) => condition.kind === 'deadline');
    if (rules.length === 0) return { runs: [], limits };
    const { watches, isCut } = await this.activeWatches();
    const going = watches
      .filter((one) => !one.isReopened)
      .map((one) => goingRun(one, process.linksOf(one)));
    const seen = [...endedRuns(given.history), ...going];
    const find = () => rules.flatMap((rule) => lateOf(rule, seen, { ...given, usual }));
    // The first round names the workflows of which it must be known how long their runs take.
    await durations.refreshIfDue();
    find();
    await durations.refreshIfDue();
    for (const rule of rules) {
      const isUnknown = seen.some(
        ({ watch, event }) =>
          meets(rule, event) &&
          beginningOf(rule, watch.run) !== null &&
          deadlineOf(rule, watch, usual) === null,
      );
      if (isUnknown)
        limits.set(
          rule.name,
          'needs more runs that have ended, to know how long those of a workflow usually take',
        );
      else if (isCut)
        limits.set(rule.name, `needs more than the ${watches.length} runs that were watched last`);
    }
    return { runs: find().toSorted((a, b) => a.event.at - b.event.at), limits };
  }
}

/** What rules see of an event; of those of alerts nothing. */
export function judgedEvent(event: AnyEvent): AlertEvent {
  if (isOfRun(event)) return alertEventOf(event);
  const { id, type, timestamp, data } = event;
  return systemAlertEvent({ id, type, at: Date.parse(timestamp), data });
}

/** Since when events decide what is absent, by the rules that wait for some. */
function absencesOf({ book }: LiveRules, since: number): number[] {
  return book.all.flatMap(({ condition }) =>
    condition.kind === 'absent' ? [since - condition.withinMs] : [],
  );
}

/** A run that was beyond the deadline of a rule. */
interface LateRun {
  rule: Rule;
  event: AlertEvent;
}

/** A run as its deadlines need it. */
interface SeenRun {
  watch: Pick<Watch, 'source' | 'run'>;
  event: AlertEvent;
  registeredAt: number;
  endedAt: number | null;
}

function lateOf(
  rule: Rule,
  seen: readonly SeenRun[],
  { since, now, usual }: { since: number; now: number; usual: UsualDuration },
): LateRun[] {
  return seen.flatMap(({ watch, event, registeredAt, endedAt }) => {
    if (!meets(rule, event)) return [];
    const deadline = deadlineOf(rule, watch, usual);
    // A run that is watched late is late from then on.
    const at = Math.max(deadline ?? Infinity, registeredAt);
    if (at < since || at >= (endedAt ?? now)) return [];
    const id = `late ${rule.name} ${event.source}/${event.run?.runId ?? ''} ${at}`;
    return [{ rule, event: { ...event, id, type: 'run.late', at } }];
  });
}

/** Runs that end by one of the events. */
function endedRuns({ events }: EventHistory): SeenRun[] {
  return events.flatMap((stored) => {
    if (!isOfRun(stored) || !isFinal(stored.type)) return [];
    const { watch, run } = stored.data;
    const event = judgedEvent(stored);
    return [
      {
        watch: { source: watch.source, run },
        event: { ...event, run: event.run && { ...event.run, status: 'running' } },
        registeredAt: Date.parse(watch.registered_at),
        endedAt: event.at,
      },
    ];
  });
}

function goingRun(watch: Watch, { workflowName: name, runUrl: url }: RunLinks): SeenRun {
  const { source, runId, metadata, run, registeredAt } = watch;
  const about = { id: watchId(watch), type: '', at: 0, source, metadata };
  const event = { ...about, run: alertedRun(runId, run, { name, url }) };
  return { watch, event, registeredAt, endedAt: null };
}

/** Events that say that what does not come may be due to trouble, and those that say it is over. */
const DOUBTS: Readonly<Record<string, string>> = {
  'source.unreachable': 'source.recovered',
  'discovery.unavailable': 'discovery.recovered',
  'polling.overdue': 'polling.caught_up',
};

/** Groups in memory, with a clock that events and due times move on. */
class Theatre {
  events = 0;
  private eventIds = 0;
  readonly notifications: Rehearsed[] = [];
  readonly counts = new Map<string, AlertCounts>();
  private readonly groups = new Map<string, Group>();
  private readonly due = new Map<string, number>();
  private readonly groupCounts = new Map<string, number>();
  /** What may keep events of a source away, by the event that ends it. */
  private readonly doubts = new Map<string, string>();
  /** When each rule begins, milliseconds since the epoch. */
  private readonly begins: ReadonlyMap<string, number>;
  private readonly waiting: Rule[];
  private lateSoFar = 0;

  constructor(
    private readonly rules: LiveRules,
    private readonly range: { since: number; from: number },
  ) {
    this.begins = new Map(rules.book.all.map((rule) => [rule.name, beginOf(rule, range)]));
    this.waiting = rules.book.all
      .filter(({ condition }) => condition.kind === 'absent')
      .toSorted((a, b) => this.beginOf(a) - this.beginOf(b));
  }

  judge(event: AlertEvent): void {
    this.runUntil(event.at);
    this.noteDoubt(event);
    if (event.at >= this.range.since) this.events += 1;
    const entry = this.rules.book.entryOf(event);
    for (const name of entry?.kind === 'event' ? entry.rules : []) {
      const rule = isSilent(name) ? undefined : this.rules.book.named(name);
      if (rule === undefined || event.at < this.beginOf(rule)) continue;
      this.step(rule.name, event.at, (judgement) => judgement.event(rule, event));
    }
  }

  /** Judges the runs that were late by a time, in order. */
  lateUntil(runs: readonly LateRun[], end: number): void {
    for (; ; this.lateSoFar += 1) {
      const next = runs[this.lateSoFar];
      if (next === undefined || next.event.at > end) return;
      const { rule, event } = next;
      this.runUntil(event.at);
      const late = { event, deadlineAt: event.at, isKnown: true };
      this.step(rule.name, event.at, (judgement) => judgement.late(rule, late));
    }
  }

  /** Takes what is due by a time, in order. */
  runUntil(end: number): void {
    this.beginUntil(end);
    for (;;) {
      let first: { key: string; at: number } | null = null;
      for (const [key, at] of this.due) if (at < (first?.at ?? end)) first = { key, at };
      if (first === null || this.notifications.length > MOST_NOTIFICATIONS) return;
      this.tick(first.key, first.at);
    }
  }

  /** Of rules that wait for events: since when only, or that nothing says for what. */
  limits(): Map<string, string> {
    const limits = new Map<string, string>();
    for (const rule of this.waiting) {
      const { condition } = rule;
      if (condition.kind !== 'absent') continue;
      const from = this.beginOf(rule);
      const isKnown = [...this.groups.values()].some((group) => group.rule === rule.name);
      if (from === Infinity) {
        limits.set(rule.name, 'needs stored events');
      } else if (from > this.range.since - condition.withinMs) {
        const wanted = formatDuration(condition.withinMs);
        limits.set(
          rule.name,
          `needs stored events of ${wanted} before; it waits from ${isoTime(from)} on`,
        );
      } else if (!isKnown) {
        limits.set(
          rule.name,
          'needs an event that names a group in which something could be absent',
        );
      }
    }
    return limits;
  }

  private beginOf({ name }: Rule): number {
    return this.begins.get(name) ?? this.range.since;
  }

  /** Begins to wait in the groups that are known without an event. */
  private beginUntil(end: number): void {
    for (;;) {
      const [next] = this.waiting.slice(this.begun);
      if (next === undefined || this.beginOf(next) > end) return;
      this.begun += 1;
      for (const labels of namedGroups(next, this.rules.sources)) {
        this.step(next.name, this.beginOf(next), (judgement) => judgement.begin(next, labels));
      }
    }
  }

  private begun = 0;

  private noteDoubt({ type, source, workflowId = '' }: AlertEvent): void {
    const about = (end: string) => `${end} ${source} ${workflowId}`;
    const end = DOUBTS[type];
    if (end === undefined) this.doubts.delete(about(type));
    else this.doubts.set(about(end), source);
  }

  private cannotTell(source: string): boolean {
    const inDoubt = [...this.doubts.values()];
    return source === '' ? inDoubt.length > 0 : inDoubt.includes(source);
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
      cannotTell: (source) => this.cannotTell(source),
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
    if (now < this.range.since) return;
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

/** A rule that waits for events begins as long before as it waits, as far as events are stored. */
function beginOf({ condition }: Rule, { since, from }: { since: number; from: number }): number {
  return condition.kind === 'absent' ? Math.max(since - condition.withinMs, from) : since;
}
