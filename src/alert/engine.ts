import {
  FAILURES,
  failuresLabels,
  isOfFailures,
  isSilent,
  wholeWorkflowOf,
} from '../core/alert/failures.ts';
import { groupOfAlert, OPEN_STATES, type Alert, type ResolvedBy } from '../core/alert/alert.ts';
import { alertedRun, deadlineOf, type AlertEntry } from '../core/alert/entry.ts';
import type { Group, LateRun } from '../core/alert/group.ts';
import {
  boundsOf,
  digestKey,
  groupsOfRun,
  isMade,
  Judgement,
  MOST_GROUPS,
} from '../core/alert/judgement.ts';
import type { AuditRecord } from '../core/audit.ts';
import { groupKey, labelsOf, meets, type AlertEvent, type Rule } from '../core/alert/rule.ts';
import type { AcknowledgeRequest } from '../core/watch/acknowledgement.ts';
import { parseWatchId, watchId, type Watch } from '../core/watch/watch.ts';
import { systemEventId } from '../core/event/ids.ts';
import type { AlertCommit, AlertStore, AlertWork, ReadGroup } from '../redis/stores/alert-store.ts';
import type { Alerting } from './alerting.ts';
import { planAlertEvent } from './event.ts';
import { readInhibiting } from './suppressions.ts';

/** How long a claim on the work lasts unless it is renewed, ms. */
const LEASE_MS = 5_000;

/** Entries and groups of one batch. */
const MOST = { entries: 500, groups: 200 };

/** The store's clock was set forward where it is ahead of the process's by more than this, ms. */
const STEP_MS = 2_000;

/** Alerts that are read at a time. */
const PAGE = 200;

/** How often a run beyond its deadline is looked at until it was read, ms. */
const READ_EVERY_MS = 2_000;

/** The same while its source is in doubt, ms. */
const DOUBT_EVERY_MS = 5_000;

/** A run that is not read for this long after that was asked for is notified of as one that nobody can judge, ms. */
const UNREAD_MS = 60_000;

/** How often a deadline is computed again that depends on figures which are not there yet, ms. */
const UNKNOWN_EVERY_MS = 300_000;

/** How often a deadline is judged that may have passed by the rules of another process alone, ms. */
const FOREIGN_EVERY_MS = 60_000;

/** Runs beyond their deadline that a process remembers to have asked for. */
const MOST_ASKED = 100_000;

/** How often it is said that a rule has too many groups, ms. */
const SAY_AGAIN_MS = 3_600_000;

/** Groups of which a defect is logged. */
const MOST_SPUN = 100;

type Claimed = NonNullable<AlertWork['claimed']>;

/** `over`: the alert has resolved, so there is nothing to acknowledge. */
export type Acknowledged = Alert | 'not_found' | 'over' | 'unconfigured';

/** A group that an event may open: of a rule, and of the source of the event. */
interface WantedGroup {
  key: string;
  rule: Rule;
  source: string;
}

/** What became of deadlines: when each is judged next, null for no more. */
interface JudgedDeadlines {
  next: Map<string, number | null>;
  late: { rule: Rule; run: LateRun }[];
  /** Runs to read, by source. */
  unread: Map<string, string[]>;
}

interface DeadlineContext {
  member: string;
  now: number;
  result: JudgedDeadlines;
}

/**
 * Alerts: what rules make of events. It judges what the inbox holds and what is due, one process at a time;
 * each batch is one atomic step, in which alerts move, their events are written with their deliveries, and
 * what was judged leaves the inbox. `core/alert/group.ts` is the state machine of one group.
 */
export class AlertEngine {
  /** Null until it was read first: then any event may be missing. */
  private inDoubt: ReadonlySet<string> | null = null;
  /** Since when this process has asked for a read of runs beyond their deadline, by member. */
  private readonly asked = new Map<string, number>();
  /** Groups of which a defect was logged. */
  private readonly spun = new Set<string>();
  /** When it was said last that a rule has too many groups, by its name. */
  private readonly overflowSaidAt = new Map<string, number>();
  /** The batch that is judged, or was last. */
  private batch: Promise<void> = Promise.resolve();
  /** Deadlines that are entered, or were last. */
  private entering: Promise<void> = Promise.resolve();
  private isStopping = false;

  constructor(private readonly alerting: Alerting) {}

  /** Reads which sources' events may be missing, as far as rules go by that. */
  async learn(): Promise<void> {
    const { poller, rules } = this.alerting;
    this.inDoubt = rules.book.needsAll() ? await poller.inDoubt() : new Set();
  }

  /**
   * Works until nothing is due, or the process stops.
   * @returns when something is due next, ms from now; null where nothing is
   */
  async judge(): Promise<number | null> {
    const { process, token } = this.alerting;
    const { alerts } = process.stores;
    if (!(await alerts.hasWork())) return null;
    let isMeasured = false;
    for (;;) {
      const seen = this.seen();
      const work = await alerts.take(token, { leaseMs: LEASE_MS, ...MOST, seen });
      if (work.claimed === null) return work.nextMs;
      // Due times of a clock that is set right a moment later would be late by as much.
      if (work.now - process.now() > STEP_MS && !isMeasured) {
        isMeasured = true;
        await process.clock.measure();
        continue;
      }
      if (this.isStopping) return null;
      this.batch = this.judgeBatch(work, work.claimed);
      await this.batch;
    }
  }

  /** Acknowledges an alert, or takes that back by null. */
  async acknowledge(
    id: string,
    request: AcknowledgeRequest | null,
    audit: AuditRecord | null = null,
  ): Promise<Acknowledged> {
    const result = await this.act(alertNamed(id), acknowledgementBy(request), audit);
    if (result !== null) return result;
    return (await this.alerting.process.stores.alerts.get(id)) === null ? 'not_found' : 'over';
  }

  /**
   * Acknowledges the failures of a workflow so far, or takes that back by null.
   * @returns null where it has none
   */
  async acknowledgeFailures(
    workflow: Parameters<typeof failuresLabels>[0],
    request: AcknowledgeRequest | null,
    audit: AuditRecord | null = null,
  ): Promise<Alert | null> {
    const key = groupKey(FAILURES, failuresLabels(workflow));
    const result = await this.act({ key, id: null }, acknowledgementBy(request), audit);
    return result === 'unconfigured' ? null : result;
  }

  /**
   * Ends an alert by hand, also one whose rule is configured no more.
   * @returns the alert as it has ended, now or before; null for an unknown one
   */
  async resolve(
    id: string,
    resolvedBy: ResolvedBy,
    audit: AuditRecord | null = null,
  ): Promise<Alert | null> {
    const act = () => ({ kind: 'resolve' as const, resolvedBy });
    const result = await this.act(alertNamed(id), act, audit);
    return result === null || result === 'unconfigured'
      ? this.alerting.process.stores.alerts.get(id)
      : result;
  }

  /** A run is about to be purged: it leaves its alerts. */
  async leave(watch: Watch): Promise<void> {
    const entry = this.alerting.rules.book.leftBy(watch);
    if (entry !== null) await this.alerting.process.stores.alerts.enter([entry]);
  }

  /**
   * Applies new rules to what is stored. It begins to wait for events that may never come, of groups that a
   * rule names by itself; others begin with their first event. It sets deadlines of the runs that go on.
   * Alerts that go on are judged at once, and so is what mute intervals hold: when they are due may have
   * changed. Safe to repeat.
   */
  async apply(): Promise<void> {
    await this.beginAbsences();
    await this.expediteOpen();
    await this.expediteHeld();
    await this.enterDeadlines({ ifMixed: true });
  }

  /**
   * Enters deadlines again that were entered while another process had another configuration: what that one
   * read meanwhile may have none.
   */
  async settleDeadlines(): Promise<void> {
    await this.enterDeadlines({ ifMixed: false });
  }

  /**
   * Begins no further batch and goes through no more runs, however many there are: the next process that judges, or
   * finds a rule new, goes on.
   */
  stop(): void {
    this.isStopping = true;
  }

  private seen(): string[] {
    const { inDoubt } = this;
    if (inDoubt === null) return [];
    const seen = this.alerting.rules.sources.filter((source) => !inDoubt.has(source));
    return inDoubt.size === 0 ? ['', ...seen] : seen;
  }

  private cannotTell(source: string): boolean {
    if (this.inDoubt === null) return true;
    return source === '' ? this.inDoubt.size > 0 : this.inDoubt.has(source);
  }

  // A batch.

  private async judgeBatch(work: AlertWork, claimed: Claimed): Promise<void> {
    const { poller, rules, token } = this.alerting;
    const entries = this.entriesOf(claimed);
    if (claimed.deadlines.length > 0) await this.learn();
    const deadlines = await this.judgeDeadlines(claimed.deadlines, work.now);
    const wanted = this.wantedBy(entries, deadlines);
    const read = await this.readGroups(claimed.due, wanted);
    const due = claimed.due.map((key) => read.get(key)?.group ?? null);
    // What was missing a moment ago may have come, or be missing for want of its source.
    if (due.some((group) => group?.kind === 'absent')) await this.learn();
    const isLeft = (group: (typeof due)[number]) =>
      group !== null && !isMade(group, rules.book.named(group.rule), rules.sources);
    const isMixed = due.some(isLeft) && (await this.alerting.isMixed());
    const counts = await this.readBounds(wanted, read);
    const names = wanted.map(({ rule }) => rule.name);
    const judgement = await this.readAndJudge(read, async () => {
      const judged = await this.judgement(work, { read, names, counts, isMixed });
      for (const entry of entries) this.judgeEntry(judged, entry, deadlines.next);
      for (const { rule, run } of deadlines.late) judged.late(rule, run);
      for (const key of claimed.due) judged.tick(key);
      return judged;
    });

    const { next } = deadlines;
    const judged = { judged: claimed.entries, deadlines: next };
    if (!(await this.commit(judgement, { token, read, now: work.now, ...judged }))) {
      return;
    }
    for (const [source, runIds] of deadlines.unread) await poller.readSoon(source, runIds);
    for (const [rule, number] of judgement.overflowed) this.reportOverflow(rule, number);
    for (const key of judgement.spinning) this.reportSpinning(key);
  }

  /**
   * Judges again where that takes groups which were not read, as those of an overflow: a group that is taken
   * for absent, and is there, would be a conflict as often as it is judged.
   */
  private async readAndJudge(
    read: Map<string, ReadGroup>,
    judge: () => Promise<Judgement>,
  ): Promise<Judgement> {
    for (;;) {
      const judgement = await judge();
      const keys = judgement.changed().map(({ key }) => key);
      if (keys.every((key) => read.has(key))) return judgement;
      await this.readMore(read, keys);
    }
  }

  private entriesOf({ entries }: Claimed): AlertEntry[] {
    return entries.flatMap((text) => {
      try {
        return [JSON.parse(text) as AlertEntry];
      } catch {
        const { log } = this.alerting.process;
        log.error({ entry: text.slice(0, 200) }, 'alerts.unreadable');
        return [];
      }
    });
  }

  private judgeEntry(
    judgement: Judgement,
    entry: AlertEntry,
    deadlines: Map<string, number | null>,
  ): void {
    if (entry.kind === 'deadlines') {
      for (const { rule, at } of entry.deadlines) {
        deadlines.set(
          `${rule} ${entry.watch}`,
          at ?? this.alerting.process.now() + UNKNOWN_EVERY_MS,
        );
      }
      return;
    }
    const { event } = entry;
    for (const rule of this.rulesOf(entry)) {
      if (entry.kind === 'event') judgement.event(rule, event);
      else judgement.left(rule, event);
      if (rule.condition.kind !== 'deadline') continue;
      deadlines.set(`${rule.name} ${event.source}/${event.run?.runId ?? ''}`, null);
    }
  }

  private rulesOf({ rules }: AlertEntry & { kind: 'event' | 'left' }): Rule[] {
    return rules.flatMap((name) => this.alerting.rules.book.named(name) ?? []);
  }

  /** One atomic step. @returns false where another process was faster: the same is judged again */
  private async commit(
    judgement: Judgement,
    { now, ...step }: Pick<AlertCommit, 'token' | 'read' | 'audit'> & { now: number },
  ): Promise<boolean> {
    const { process } = this.alerting;
    const pools = await process.stores.alerts.commit({
      ...step,
      changed: judgement.changed(),
      resolved: [...judgement.resolved.values()],
      counts: judgement.counts,
      events: judgement.notifications.map((one) => planAlertEvent(process, one, now)),
    });
    if (pools === null) return false;
    process.metrics.alertCounts(judgement.counts);
    process.dispatch(pools);
    return true;
  }

  /**
   * What a user does with the alert of a group.
   * @param id the alert that is meant; null for whichever goes on
   * @returns the alert afterwards; null where it does not go on
   */
  private async act(
    { key, id }: { key: string; id: string | null },
    what: (now: number) => Action,
    audit: AuditRecord | null,
  ): Promise<Alert | 'unconfigured' | null> {
    const { alerts } = this.alerting.process.stores;
    for (;;) {
      const { read, others } = await this.readWithOthers(key);
      const open = read.get(key)?.group?.open ?? null;
      if (open === null || open.alert.id !== (id ?? open.alert.id)) return null;
      const work = await alerts.seen(this.seen());
      const judgement = await this.judgement(work, { read, names: [] });
      const isConfigured = [key, ...others].every((one) => judgement.act(one, what(work.now)));
      if (!isConfigured) return 'unconfigured';
      const step = { token: null, read, now: work.now, audit };
      if (!(await this.commit(judgement, step))) continue;
      return judgement.resolved.get(open.alert.id) ?? judgement.alertOf(key);
    }
  }

  /** A group, with those that what a user does with it holds for, too. */
  private async readWithOthers(
    key: string,
  ): Promise<{ read: Map<string, ReadGroup>; others: string[] }> {
    const read = await this.readGroups([key], []);
    const group = read.get(key)?.group ?? null;
    const others = group === null ? [] : this.groupsOfSameFailures(group);
    for (const [other, one] of await this.readGroups(others, [])) read.set(other, one);
    return { read, others };
  }

  /**
   * The groups of the same failures: of the alerts of rules, where attention shows these in place of failures, and
   * of the failures themselves. What a user does with one holds for all.
   */
  private groupsOfSameFailures({ rule, labels }: Group): string[] {
    if (wholeWorkflowOf({ labels }) === null) return [];
    const { all } = this.alerting.rules.book;
    const named = all.filter(isOfFailures).map(({ name }) => name);
    if (isSilent(rule)) return named.map((name) => groupKey(name, labels));
    return named.includes(rule) ? [groupKey(FAILURES, labels)] : [];
  }

  private async judgement(
    { now, seenMs }: Pick<AlertWork, 'now' | 'seenMs'>,
    {
      read,
      names,
      counts = new Map(),
      isMixed = false,
    }: {
      read: ReadonlyMap<string, ReadGroup>;
      /** Of the rules whose groups are judged, besides those that were read. */
      names: readonly string[];
      counts?: ReadonlyMap<string, number>;
      isMixed?: boolean;
    },
  ): Promise<Judgement> {
    const { process, rules } = this.alerting;
    const groups = new Map(
      [...read].flatMap(([key, { group }]) => (group === null ? [] : [[key, group] as const])),
    );
    const judged = new Set([...names, ...[...groups.values()].map(({ rule }) => rule)]);
    const [silences, active] = await Promise.all([
      process.stores.silences.all(),
      readInhibiting(this.alerting, judged),
    ]);
    return new Judgement(groups, {
      now,
      ruleNamed: (name) => rules.book.named(name),
      sources: rules.sources,
      isMixed,
      seenMs: (source) => seenMs.get(source) ?? 0,
      cannotTell: (source) => this.cannotTell(source),
      silences,
      inhibitRules: rules.inhibitRules,
      active,
      groupCounts: counts,
      newEventId: () => systemEventId(process.newMark),
    });
  }

  /** Counts events of groups that a rule may not have any more, and says so once an hour. */
  private reportOverflow(rule: string, events: number): void {
    const { log, metrics, now } = this.alerting.process;
    if (!isSilent(rule)) metrics.alertOverflow(rule, events);
    if (now() - (this.overflowSaidAt.get(rule) ?? -Infinity) < SAY_AGAIN_MS) return;
    this.overflowSaidAt.set(rule, now());
    if (isSilent(rule)) {
      const help = 'attention counts failures of further workflows by their source';
      log.warn({ workflows: MOST_GROUPS, help }, 'attention.too_many_failures');
      return;
    }
    const help = 'leave out of its group_by what hardly ever comes twice';
    log.warn({ rule, groups: MOST_GROUPS, help }, 'alerts.too_many_groups');
  }

  /** A group was due again at once after its timer was handled: a defect. */
  private reportSpinning(group: string): void {
    const { spun } = this;
    if (spun.has(group) || spun.size >= MOST_SPUN) return;
    spun.add(group);
    const help = 'report this as a defect of runwatch';
    this.alerting.process.log.error({ group, help }, 'alerts.due_again');
  }

  // What a batch reads.

  private wantedBy(entries: readonly AlertEntry[], { late }: JudgedDeadlines): WantedGroup[] {
    const wanted: WantedGroup[] = [];
    const want = (rule: Rule, event: AlertEvent) => {
      const key = groupKey(rule.name, labelsOf(rule, event));
      wanted.push({ key, rule, source: event.source });
    };
    for (const entry of entries) {
      if (entry.kind === 'deadlines') continue;
      const { source } = entry.event;
      for (const rule of this.rulesOf(entry)) {
        const keys = entry.kind === 'left' ? groupsOfRun(rule, entry.event).keys() : [];
        for (const key of keys) wanted.push({ key, rule, source });
        if (entry.kind === 'event') want(rule, entry.event);
      }
    }
    for (const { rule, run } of late) want(rule, run.event);
    return wanted;
  }

  /** The groups that are due or wanted, with what the mutes of their rules hold. */
  private async readGroups(
    due: readonly string[],
    wanted: readonly WantedGroup[],
  ): Promise<Map<string, ReadGroup>> {
    const read = await this.alerting.process.stores.alerts.groups([
      ...new Set([...due, ...wanted.map(({ key }) => key)]),
    ]);
    const groups = [...read.values()].flatMap(({ group }) => group ?? []);
    const names = new Set([
      ...wanted.map(({ rule }) => rule.name),
      ...groups.map(({ rule }) => rule),
    ]);
    const isMuted = (name: string) =>
      (this.alerting.rules.book.named(name)?.mute.length ?? 0) > 0 ||
      groups.some(({ rule, open }) => rule === name && open?.isHeld === true);
    const digests = [...names].filter(isMuted).map(digestKey);
    await this.readMore(read, digests);
    // The end of a mute is that of all that it holds, in one step.
    const ending = due.flatMap((key) => Object.keys(read.get(key)?.group?.held?.open ?? {}));
    await this.readMore(read, ending);
    return read;
  }

  private async readMore(read: Map<string, ReadGroup>, keys: readonly string[]): Promise<void> {
    const more = [...new Set(keys)].filter((key) => !read.has(key));
    for (const [key, one] of await this.alerting.process.stores.alerts.groups(more))
      read.set(key, one);
  }

  /** How many groups there are where one is opened. */
  private async readBounds(
    wanted: readonly WantedGroup[],
    read: ReadonlyMap<string, ReadGroup>,
  ): Promise<ReadonlyMap<string, number>> {
    const { process, rules } = this.alerting;
    const opening = wanted.filter(({ key }) => (read.get(key)?.group?.open ?? null) === null);
    const owners = opening.flatMap(({ rule, source }) =>
      Array.from(boundsOf(rule.name, source, rules.sources.length).keys()),
    );
    return process.stores.alerts.groupCounts([...new Set(owners)]);
  }

  // Deadlines: what is judged was read.

  /** A run is late once it was read beyond its deadline. Its source is asked, and may not be able to say. */
  private async judgeDeadlines(members: readonly string[], now: number): Promise<JudgedDeadlines> {
    const { asked } = this;
    const { rules } = this.alerting;
    const result: JudgedDeadlines = { next: new Map(), late: [], unread: new Map() };
    const stored = await this.alerting.process.stores.watches.getMany(members.map(watchOfDeadline));
    const ruleOf = (member: string) => rules.book.named(member.slice(0, member.indexOf(' ')));
    // What the rules of this process do not make late may be late by those of another.
    const isMixed = members.length > 0 && (await this.alerting.isMixed());
    const again = isMixed ? now + FOREIGN_EVERY_MS : null;
    if (asked.size > MOST_ASKED) asked.clear();
    members.forEach((member, index) => {
      const rule = ruleOf(member);
      const watch = stored[index]?.watch;
      if (rule === undefined) return void result.next.set(member, again);
      const goesOn = watch?.state === 'active' && !watch.isReopened;
      const judged = goesOn
        ? this.judgeDeadline(rule, watch, { member, now, again, result })
        : null;
      result.next.set(member, judged);
      if (judged === null) asked.delete(member);
    });
    return result;
  }

  /**
   * @param again when it is judged next where it is not late by the rules of this process
   * @returns when it is judged next; null for no more
   */
  private judgeDeadline(
    rule: Rule,
    watch: Watch,
    { again, ...given }: DeadlineContext & { again: number | null },
  ): number | null {
    const { now } = given;
    const event = this.lateEvent(rule, watch, now);
    if (rule.condition.kind !== 'deadline' || !meets(rule, event)) return again;
    const deadlineAt = deadlineOf(rule, watch, this.alerting.rules.usual);
    if (deadlineAt !== null && deadlineAt <= now) {
      return this.judgePassed({ rule, run: { event, deadlineAt } }, watch, given);
    }
    return Math.min(deadlineAt ?? now + UNKNOWN_EVERY_MS, again ?? Infinity);
  }

  /** @returns when it is judged next; null for no more */
  private judgePassed(
    { rule, run }: { rule: Rule; run: Omit<LateRun, 'isKnown'> },
    watch: Watch,
    { member, now, result }: DeadlineContext,
  ): number | null {
    const { asked } = this;
    if ((watch.runAskedAt ?? 0) >= run.deadlineAt) {
      result.late.push({ rule, run: { ...run, isKnown: true } });
      return null;
    }
    if (this.cannotTell(watch.source)) {
      asked.delete(member);
      return now + DOUBT_EVERY_MS;
    }
    const askedAt = asked.get(member) ?? now;
    if (now - askedAt >= UNREAD_MS) {
      result.late.push({ rule, run: { ...run, isKnown: false } });
      return null;
    }
    asked.set(member, askedAt);
    result.unread.set(watch.source, [...(result.unread.get(watch.source) ?? []), watch.runId]);
    return now + READ_EVERY_MS;
  }

  /** What rules see of a run that is beyond its deadline. */
  private lateEvent(rule: Rule, watch: Watch, at: number): AlertEvent {
    const { source, runId, metadata, run } = watch;
    const { workflowName: name, runUrl: url } = this.alerting.process.linksOf(watch);
    return {
      id: `late ${rule.name} ${source}/${runId} ${at}`,
      type: 'run.late',
      at,
      source,
      metadata,
      run: alertedRun(runId, run, { name, url }),
    };
  }

  /** One after another: the rules may change meanwhile. */
  private enterDeadlines(options: { ifMixed: boolean }): Promise<void> {
    const enter = () => this.enterFreshDeadlines(options);
    this.entering = this.entering.then(enter, enter);
    return this.entering;
  }

  /** Deadlines of rules that are new, or not as they were, for the runs that go on. */
  private async enterFreshDeadlines({ ifMixed }: { ifMixed: boolean }): Promise<void> {
    const { process, rules } = this.alerting;
    const { alerts } = process.stores;
    const all = rules.book.all.filter(({ condition }) => condition.kind === 'deadline');
    const applied = await alerts.appliedDeadlines();
    const isApplied = (rule: Rule) => applied[rule.name] === formOf(rule);
    const isSame = all.every(isApplied) && Object.keys(applied).length === all.length;
    if (isSame) return;
    const isMixed = await this.alerting.isMixed();
    if (isMixed && !ifMixed) return;
    // It may go by the rules as they were, and write after what is set here.
    await this.batch.catch(() => undefined);
    const areSet = await this.setDeadlines(all.filter((rule) => !isApplied(rule)));
    // What processes differ in is new to all: it is set again once they agree. So is what a stop left half set.
    const settled = isMixed || !areSet ? all.filter(isApplied) : all;
    await alerts.noteDeadlines(
      Object.fromEntries(settled.map((rule) => [rule.name, formOf(rule)])),
    );
  }

  /**
   * Sets the deadlines of rules for the runs that go on: by their registration, which does not change.
   * @returns false where a stop came first
   */
  private async setDeadlines(fresh: readonly Rule[]): Promise<boolean> {
    if (fresh.length === 0) return true;
    const { process, rules } = this.alerting;
    const { alerts, watches } = process.stores;
    for await (const keys of watches.active(PAGE)) {
      if (this.isStopping) return false;
      const wanted = keys.filter(({ source }) => rules.sources.includes(source));
      const stored = await watches.getMany(wanted);
      const going = stored.flatMap((one) => one?.watch ?? []);
      const deadlines = going.flatMap((watch) =>
        fresh
          .filter((rule) => meets(rule, this.lateEvent(rule, watch, 0)))
          .map((rule): [string, number] => [
            `${rule.name} ${watchId(watch)}`,
            deadlineOf(rule, watch, rules.usual) ?? process.now() + UNKNOWN_EVERY_MS,
          ]),
      );
      await alerts.setDeadlines(new Map(deadlines));
    }
    return true;
  }

  // New rules.

  private async beginAbsences(): Promise<void> {
    const { rules } = this.alerting;
    const { alerts } = this.alerting.process.stores;
    const named = rules.book.all
      .filter(({ condition }) => condition.kind === 'absent')
      .flatMap((rule) => namedGroups(rule, rules.sources).map((labels) => ({ rule, labels })));
    const keyed = named.map(({ rule, labels }) => ({
      rule,
      labels,
      key: groupKey(rule.name, labels),
    }));
    // Again where an event has changed one of the groups meanwhile: none is begun then.
    for (;;) {
      const read = await alerts.groups(keyed.map(({ key }) => key));
      const missing = keyed.filter(({ key }) => {
        const group = read.get(key)?.group ?? null;
        return group === null || (group.kind !== 'absent' && group.open === null);
      });
      if (missing.length === 0) return;
      const work = await alerts.seen(this.seen());
      const judgement = await this.judgement(work, { read, names: [] });
      for (const { rule, labels } of missing) judgement.begin(rule, labels);
      if (await this.commit(judgement, { token: null, read, now: work.now })) return;
    }
  }

  /** When an alert is due follows from its rule as it is now. */
  private async expediteOpen(): Promise<void> {
    const { alerts } = this.alerting.process.stores;
    for (const ofFailures of [{}, { rule: FAILURES }]) {
      let cursor: string | null = null;
      do {
        const page: Awaited<ReturnType<AlertStore['list']>> = await alerts.list({
          state: OPEN_STATES,
          ...ofFailures,
          limit: PAGE,
          ...(cursor !== null && { cursor }),
        });
        await alerts.expedite(page.items.map(({ id }) => groupOfAlert(id) ?? ''));
        cursor = page.nextCursor;
      } while (cursor !== null);
    }
  }

  private async expediteHeld(): Promise<void> {
    const { rules } = this.alerting;
    const { alerts } = this.alerting.process.stores;
    const read = await alerts.groups(rules.book.all.map(({ name }) => digestKey(name)));
    await alerts.expedite([...read].flatMap(([key, { group }]) => (group?.held ? [key] : [])));
  }
}

function alertNamed(id: string): { key: string; id: string } {
  return { key: groupOfAlert(id) ?? '', id };
}

/** What a user does with an alert. */
type Action = Parameters<Judgement['act']>[1];

function acknowledgementBy(request: AcknowledgeRequest | null): (now: number) => Action {
  return (at) =>
    request === null
      ? { kind: 'unacknowledge' }
      : { kind: 'acknowledge', acknowledgement: { ...request, at } };
}

/** What deadlines of a rule follow from. */
function formOf({ condition, when }: Rule): string {
  return JSON.stringify([condition, when ?? null]);
}

function watchOfDeadline(member: string) {
  return parseWatchId(member.slice(member.indexOf(' ') + 1));
}

/** The labels of the groups that are known without an event. */
export function namedGroups(rule: Rule, configured: readonly string[]): Record<string, string>[] {
  const isKnown = rule.groupBy.every(
    (label) => label === 'source' || (label === 'workflow_id' && rule.when?.workflow_id),
  );
  if (!isKnown) return [];
  const sources = configured.filter((source) => rule.when?.source?.includes(source) ?? true);
  const workflows = rule.when?.workflow_id ?? [null];
  const all = sources.flatMap((source) =>
    workflows.map((workflowId) =>
      labelsOf(rule, {
        type: '',
        source,
        metadata: {},
        run: { runId: '', workflowId, name: null, url: null, status: null },
      }),
    ),
  );
  const unique = new Map(all.map((labels) => [JSON.stringify(labels), labels]));
  return [...unique.values()].slice(0, MOST_GROUPS);
}
