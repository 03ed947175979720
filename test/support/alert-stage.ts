import { addCounts, noCounts, type Notification } from '../../src/core/alert/alert.ts';
import type { Group } from '../../src/core/alert/group.ts';
import { Judgement, ownersOf } from '../../src/core/alert/judgement.ts';
import {
  groupKey,
  labelsOf,
  meets,
  roleOf,
  type AlertEvent,
  type InhibitRule,
  type Rule,
} from '../../src/core/alert/rule.ts';
import type { Silence } from '../../src/core/alert/silence.ts';
import { anAlertEvent } from './fake-alerts.ts';

export const STAGE_START = Date.parse('2026-03-02T10:00:00.000Z');

/** A silence of the rule that `aRule` makes, for the first hour of the stage. */
export function aSilence(changes: Partial<Silence> = {}): Silence {
  return {
    id: 'sil_1',
    matchers: { rule: ['failed-runs'] },
    startsAt: STAGE_START,
    until: STAGE_START + 3_600_000,
    by: 'ana',
    comment: 'upgrade',
    createdAt: STAGE_START,
    key: null,
    ...changes,
  };
}

interface StageOptions {
  inhibit?: readonly InhibitRule[];
  /** How many groups there are beside those on stage, of the rules and of their source `default`. */
  otherGroups?: number;
  sources?: readonly string[];
}

/** Groups in memory, with a clock that judges each group when it is due. */
export class AlertStage {
  readonly groups = new Map<string, Group>();
  readonly counts = noCounts();
  readonly sent: (Notification & { at: number })[] = [];
  readonly silences: Silence[] = [];
  readonly spinning: string[] = [];
  readonly overflowed = new Map<string, number>();
  readonly due = new Map<string, number>();
  now = STAGE_START;
  inhibit: readonly InhibitRule[];
  sources: readonly string[];
  /** Sources of which events may be missing. */
  inDoubt = new Set<string>();
  /** Another process has another configuration. */
  isMixed = false;
  private readonly seenMs = new Map<string, number>();
  private readonly keptUntil = new Map<string, number>();
  private readonly otherGroups: number;
  private events = 0;
  private rules = new Map<string, Rule>();

  constructor(rules: readonly Rule[], options: StageOptions = {}) {
    this.inhibit = options.inhibit ?? [];
    this.sources = options.sources ?? ['default'];
    this.otherGroups = options.otherGroups ?? 0;
    this.use(rules);
  }

  get all(): readonly Rule[] {
    return [...this.rules.values()];
  }

  /** Takes other rules, and judges at once what they make of the alerts that go on. */
  use(rules: readonly Rule[]): void {
    this.rules = new Map(rules.map((rule) => [rule.name, rule]));
    for (const [key, { open, held }] of this.groups) {
      if (open !== null || held !== null) this.due.set(key, this.now);
    }
  }

  notified(): string[] {
    return this.sent.map(({ kind, at }) => `${kind} ${(at - STAGE_START) / 1_000}`);
  }

  /** What an endpoint was told of alerts. */
  told(endpoint: string): string[] {
    return this.sent.filter(({ notify }) => notify.includes(endpoint)).map(({ kind }) => kind);
  }

  judge(type: string, changes: Partial<AlertEvent> & { runId?: string } = {}): AlertEvent {
    this.events += 1;
    const runId = `run-${this.events}`;
    const about = { runId, type, at: this.now, ...changes };
    const event = { ...anAlertEvent(about), id: `evt_${this.events}` };
    for (const rule of this.all) {
      if (!meets(rule, event) || roleOf(rule, type) === null) continue;
      this.step((judgement) => judgement.event(rule, event));
    }
    return event;
  }

  late(runId: string, changes: Partial<AlertEvent> = {}, deadlineAt = this.now): void {
    const event = anAlertEvent({ type: 'run.late', runId, at: this.now, ...changes });
    const late = {
      event: { ...event, id: `late ${runId} ${this.now}` },
      deadlineAt,
      isKnown: true,
    };
    for (const rule of this.all) {
      if (rule.condition.kind !== 'deadline' || !meets(rule, event)) continue;
      this.step((judgement) => judgement.late(rule, late));
    }
  }

  /** A user cancels or purges a run. */
  leave(runId: string, changes: Partial<AlertEvent> = {}): void {
    const event = anAlertEvent({ type: '', runId, at: this.now, ...changes });
    for (const rule of this.all) {
      if (meets(rule, event)) this.step((judgement) => judgement.left(rule, event));
    }
  }

  /** Does something with an alert; with the only one that is open unless one is named. */
  act(input: Parameters<Judgement['act']>[1], id = this.alert()?.id): void {
    const found = [...this.groups].find(([, { open }]) => open !== null && open.alert.id === id);
    if (found !== undefined) this.step((judgement) => judgement.act(found[0], input));
  }

  acknowledge(until: number | null = null, id?: string): void {
    const acknowledgement = { by: 'ana', comment: null, at: this.now, until };
    this.act({ kind: 'acknowledge', acknowledgement }, id);
  }

  begin(labels: Record<string, string>): void {
    for (const rule of this.all) {
      if (rule.condition.kind !== 'absent') continue;
      this.step((judgement) => judgement.begin(rule, labels));
    }
  }

  wait(ms: number): void {
    const end = this.now + ms;
    for (let turns = 0; turns < 100_000; turns += 1) {
      let first: { key: string; at: number } | null = null;
      for (const [key, at] of this.due) {
        if (at <= end && at < (first?.at ?? Infinity)) first = { key, at };
      }
      if (first === null) return this.moveTo(end);
      this.moveTo(first.at);
      this.tick(first.key);
    }
    throw new Error('timers never end');
  }

  tick(key: string): void {
    this.step((judgement) => judgement.tick(key));
    if ((this.due.get(key) ?? Infinity) <= this.now) {
      throw new Error(`${key} is due again at once`);
    }
  }

  /** A while without any process. */
  down(ms: number): void {
    this.now += ms;
  }

  alert() {
    return this.open()[0];
  }

  open() {
    return [...this.groups.values()].flatMap((group) => group.open?.alert ?? []);
  }

  /** How many groups are kept. */
  kept(): number {
    this.step(() => undefined);
    return this.groups.size;
  }

  ruleNamed(name: string): Rule | undefined {
    return this.rules.get(name);
  }

  groupOf(rule: Rule, event: AlertEvent): Group | undefined {
    return this.groups.get(groupKey(rule.name, labelsOf(rule, event)));
  }

  private moveTo(at: number): void {
    const ms = Math.max(0, at - this.now);
    const isSeen = (source: string) =>
      source === '' ? this.inDoubt.size === 0 : !this.inDoubt.has(source);
    for (const source of ['', ...this.sources].filter(isSeen)) {
      this.seenMs.set(source, (this.seenMs.get(source) ?? 0) + ms);
    }
    this.now = Math.max(this.now, at);
  }

  private step(act: (judgement: Judgement) => void): void {
    const { now, sources, isMixed, silences, inhibit, groups } = this;
    for (const [key, until] of this.keptUntil) {
      if (until > now) continue;
      groups.delete(key);
      this.keptUntil.delete(key);
    }
    const open = this.open();
    const judgement = new Judgement(groups, {
      now,
      ruleNamed: (name) => this.rules.get(name),
      sources,
      isMixed,
      seenMs: (source) => this.seenMs.get(source) ?? 0,
      cannotTell: (source) => (source === '' ? this.inDoubt.size > 0 : this.inDoubt.has(source)),
      silences,
      inhibitRules: inhibit,
      active: new Map(
        this.all.map(({ name }) => [name, open.filter(({ rule }) => rule === name)] as const),
      ),
      groupCounts: this.groupCounts(),
      newEventId: () => `evt_${this.sent.length}_${(this.events += 1)}`,
    });
    act(judgement);
    for (const { key, after, dueAt, keptMs } of judgement.changed()) {
      if (after === null) groups.delete(key);
      else groups.set(key, after);
      if (dueAt === null || after === null) this.due.delete(key);
      else this.due.set(key, dueAt);
      if (after !== null && dueAt === null) this.keptUntil.set(key, now + keptMs);
      else this.keptUntil.delete(key);
    }
    addCounts(this.counts, judgement.counts);
    this.spinning.push(...judgement.spinning);
    for (const [rule, events] of judgement.overflowed) {
      this.overflowed.set(rule, (this.overflowed.get(rule) ?? 0) + events);
    }
    this.sent.push(...judgement.notifications.map((one) => Object.assign(one, { at: now })));
  }

  private groupCounts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { name } of this.all) {
      for (const owner of [name, `${name} default`]) counts.set(owner, this.otherGroups);
    }
    for (const group of this.groups.values()) {
      for (const owner of ownersOf(group)) counts.set(owner, (counts.get(owner) ?? 0) + 1);
    }
    return counts;
  }
}
