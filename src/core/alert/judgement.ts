import {
  addCounts,
  alertId,
  MOST_RUNS,
  noCounts,
  withNotified,
  type Alert,
  type AlertCounts,
  type Digest,
  type Notification,
} from './alert.ts';
import {
  dueAt,
  isAbout,
  isDealtWith,
  itemOf,
  keptUntil,
  newGroup,
  stepGroup,
  type Group,
  type GroupContext,
  type GroupInput,
  type HeldAlert,
  type LateRun,
  type MuteDigest,
} from './group.ts';
import { isSilent } from './failures.ts';
import { withMoment } from './moment.ts';
import {
  groupKey,
  labelsOf,
  makesLabels,
  overflowLabels,
  overflowRule,
  ownerOf,
  roleOf,
  typesOf,
  unconfiguredRule,
  type AlertEvent,
  type InhibitRule,
  type Rule,
} from './rule.ts';
import { silencedUntil, type Silence } from './silence.ts';
import { inhibitorsOf } from './suppression.ts';
import { mutedUntil } from './time-interval.ts';
import { valueOf } from '../records.ts';

/** What a judgement goes by, as it was read. */
export interface JudgementContext {
  now: number;
  ruleNamed: (name: string) => Rule | undefined;
  /** Names of the sources that are configured. */
  sources: readonly string[];
  /** Another live process has another configuration, which may make groups that this one does not. */
  isMixed: boolean;
  /** For how long a source was seen, ms; '' for all at once. */
  seenMs: (source: string) => number;
  /** Whether missing events of a source may be due to trouble with it; '' for any. */
  cannotTell: (source: string) => boolean;
  silences: readonly Silence[];
  inhibitRules: readonly InhibitRule[];
  /** Alerts that may inhibit others, by rule. */
  active: ReadonlyMap<string, readonly Alert[]>;
  /** How many groups there are of {@link ownersOf}, as far as events may open others. */
  groupCounts: ReadonlyMap<string, number>;
  newEventId: () => string;
}

/** A group that a judgement has changed; `after` is null where nothing is left to keep. */
export interface ChangedGroup {
  key: string;
  before: Group | null;
  after: Group | null;
  dueAt: number | null;
  /** For how long it is kept where nothing is due, ms. */
  keptMs: number;
}

/** How long a group waits for its rule to make it again, ms: a reload follows another. */
const LEFTOVER_MS = 60_000;

/** The same while another process has another configuration, ms. */
const LEFTOVER_IF_MIXED_MS = 600_000;

/** Such a group comes up so often meanwhile, ms: the process that judges then may know its rule. */
const LEFTOVER_AGAIN_MS = 60_000;

/** What a tick leaves due is judged again after this time at the earliest, ms. */
const LEAST_WAIT_MS = 1_000;

/** Alerts that came and went in a mute and that its digest names. */
const MOST_PASSED = 20;

/** Alerts that a digest names. */
const MOST_NAMED = 20;

/** Runs that are kept of an alert which has ended in a mute, and is in its digest. */
const RUNS_OF_ENDED = 5;

/** The group of a rule that holds what its mute intervals keep back. */
export function digestKey(rule: string): string {
  return groupKey(rule, { '': 'digest' });
}

/**
 * The groups with an alert that a rule may have: `group_by` may name what never comes twice. Events of
 * further groups are counted together.
 */
export const MOST_GROUPS = 1_000;

/** The groups without an alert of which a rule remembers the last runs. */
const MOST_WINDOWS = 10_000;

/** The least share of a rule's groups that a source has while no more than four share them. */
const LEAST_SHARE = MOST_GROUPS / 4;

/** How many groups of a rule one of so many sources may have: it leaves each other its least share. */
export function shareOfGroups(sources: number): number {
  return Math.max(LEAST_SHARE, MOST_GROUPS - LEAST_SHARE * Math.max(0, sources - 1));
}

/** What bounds the groups that a rule may have, with how many that are. */
export function boundsOf(rule: string, source: string, sources: number): Map<string, number> {
  return new Map([
    [rule, MOST_GROUPS],
    [ofSource(rule, source), shareOfGroups(sources)],
    [ofWindows(rule), MOST_WINDOWS],
  ]);
}

/** What a group counts for: its rule, and its rule with its source, while it has an alert or waits. */
export function ownersOf({ rule, source, open, absentSince, window }: Group): string[] {
  if (open !== null || absentSince !== null) return [rule, ofSource(rule, source)];
  return window === null ? [] : [ofWindows(rule)];
}

function ofSource(rule: string, source: string): string {
  return `${rule} ${source}`;
}

/** No source has a name with a slash. */
function ofWindows(rule: string): string {
  return `${rule} /windows`;
}

export function overflowKey(rule: string, source: string): string {
  return groupKey(rule, overflowLabels(source));
}

/**
 * The groups that a run may be in.
 * @returns labels by key
 */
export function groupsOfRun(rule: Rule, event: AlertEvent): Map<string, Record<string, string>> {
  const types = rule.groupBy.includes('event') ? typesOf(rule.events) : [event.type];
  return new Map(
    types.map((type) => {
      const labels = labelsOf(rule, { ...event, type });
      return [groupKey(rule.name, labels), labels];
    }),
  );
}

/** Whether a rule makes a group, of sources that are configured. */
export function isMade(
  { kind, labels, open, held }: Group,
  rule: Rule | undefined,
  sources: readonly string[],
): boolean {
  if (rule === undefined) return false;
  if (held !== null) return true;
  const { source = '' } = labels;
  return (
    kind === effectiveRule(rule, labels).condition.kind &&
    makesLabels(rule, labels) &&
    (source === '' || sources.includes(source)) &&
    (open === null || isAbout(rule, kind, open.facts))
  );
}

function effectiveRule(rule: Rule, labels: Readonly<Record<string, string>>): Rule {
  return labels['overflow'] === undefined ? rule : overflowRule(rule);
}

/** Steps of several groups that are written together. Pure: it reads only what it was given. */
export class Judgement {
  readonly notifications: Notification[] = [];
  readonly counts: AlertCounts = noCounts();
  readonly resolved = new Map<string, Alert>();
  /** Events for which a rule may have no group of their own, by rule. */
  readonly overflowed = new Map<string, number>();
  /** Groups that were due again at once after their timer was handled, which must not be. */
  readonly spinning: string[] = [];
  private readonly current = new Map<string, Group>();
  private readonly ticked = new Set<string>();
  private readonly opened = new Map<string, Set<string>>();
  private readonly mutes = new Map<string, number | null>();

  constructor(
    private readonly stored: ReadonlyMap<string, Group>,
    private readonly context: JudgementContext,
  ) {}

  /** An event of a rule, in the group of its labels. */
  event(rule: Rule, event: AlertEvent): void {
    const isCounted = roleOf(rule, event.type) === 'match';
    this.place(rule, event, { kind: 'event', event }, isCounted);
  }

  /** A run is beyond its deadline. */
  late(rule: Rule, late: LateRun): void {
    const group = this.groupOf(groupKey(rule.name, labelsOf(rule, late.event)));
    // Without room for the group, that of the overflow would count it.
    const runId = late.event.run?.runId ?? '';
    if (group !== undefined && isDealtWith(group, runId, late.deadlineAt)) return;
    this.place(rule, late.event, { kind: 'late', ...late }, true);
  }

  /** A run is watched no more. */
  left(rule: Rule, event: AlertEvent): void {
    for (const key of groupsOfRun(rule, event).keys()) {
      const group = this.groupOf(key);
      const runId = event.run?.runId ?? '';
      if (group !== undefined) this.step(rule, key, group, { kind: 'left', runId });
    }
  }

  /** A group that is known without an event. */
  begin(rule: Rule, labels: Readonly<Record<string, string>>): void {
    const key = groupKey(rule.name, labels);
    this.step(rule, key, this.madeGroup(rule, key, { labels, source: labels['source'] ?? '' }), {
      kind: 'begin',
    });
  }

  /**
   * What a user does with the alert of a group.
   * @returns false where that needs a rule which is configured no more
   */
  act(key: string, input: GroupInput & { kind: 'acknowledge' | 'unacknowledge' | 'resolve' }) {
    const group = this.groupOf(key);
    if (group === undefined) return true;
    const rule = this.context.ruleNamed(group.rule);
    if (rule === undefined && input.kind !== 'resolve') return false;
    const isOfRule = rule !== undefined && isMade(group, rule, this.context.sources);
    this.step(isOfRule ? rule : goneRule(group), key, group, input);
    return true;
  }

  /** A group is due. */
  tick(key: string): void {
    this.ticked.add(key);
    const group = this.groupOf(key);
    if (group === undefined) return;
    const rule = this.context.ruleNamed(group.rule);
    if (rule === undefined || !isMade(group, rule, this.context.sources)) {
      return this.leave(rule, key, group);
    }
    const made = { ...group, leftoverSince: null };
    this.holdAgain(rule, key, made);
    if (made.held !== null) this.endMute(rule, key, { ...made, held: made.held });
    else this.step(rule, key, made, { kind: 'timer' });
  }

  /** The alert of a group as it is now. */
  alertOf(key: string): Alert | null {
    return this.groupOf(key)?.open?.alert ?? null;
  }

  /** What the steps have changed. */
  changed(): ChangedGroup[] {
    const { now } = this.context;
    const gone = [...this.ticked].filter((key) => this.groupOf(key) === undefined);
    const changed = [...this.current].map(([key, group]) => {
      const rule = this.context.ruleNamed(group.rule) ?? goneRule(group);
      const until = keptUntil(group, rule, now);
      const after = until > now ? group : null;
      const due = after === null ? null : this.dueAt(rule, key, after);
      return { key, before: this.stored.get(key) ?? null, after, dueAt: due, keptMs: until - now };
    });
    return [
      ...changed,
      ...gone.map((key) => ({ key, before: null, after: null, dueAt: null, keptMs: 0 })),
    ];
  }

  private dueAt(rule: Rule, key: string, group: Group): number | null {
    const { now, isMixed, sources } = this.context;
    if (group.leftoverSince !== null) {
      const end = group.leftoverSince + (isMixed ? LEFTOVER_IF_MIXED_MS : LEFTOVER_MS);
      return Math.max(now, Math.min(end, now + LEFTOVER_AGAIN_MS));
    }
    const own = dueAt(group, this.contextOf(effectiveRule(rule, group.labels), group));
    const isOfRule = isMade(group, this.context.ruleNamed(group.rule), sources);
    const at = isOfRule ? own : Math.min(own ?? Infinity, now + LEFTOVER_AGAIN_MS);
    if (at === null || at > now) return at;
    if (!this.ticked.has(key)) return now;
    // What its rule makes no more waits for nothing else.
    if (isOfRule) this.spinning.push(key);
    return now + LEAST_WAIT_MS;
  }

  /** Judges what an event means to the group of its labels, or to that of its overflow. */
  private place(rule: Rule, event: AlertEvent, input: GroupInput, isCounted: boolean): void {
    const labels = labelsOf(rule, event);
    // What a rule that groups by `event` does not match has the type of no alert of it.
    if (!makesLabels(rule, labels)) return;
    const key = groupKey(rule.name, labels);
    const made = { labels, source: event.source };
    const { kind } = rule.condition;
    const opens = isCounted || (kind !== 'each' && kind !== 'deadline');
    if (!opens && this.groupOf(key) === undefined) return;
    if (this.hasRoomFor(rule.name, key, event.source)) {
      this.step(rule, key, this.madeGroup(rule, key, made), input);
      return;
    }
    // What would only have ended the alert of another group says nothing.
    if (!isCounted && kind !== 'absent') return;
    this.overflowed.set(rule.name, (this.overflowed.get(rule.name) ?? 0) + 1);
    const other = overflowKey(rule.name, event.source);
    const counted = { ...made, labels: overflowLabels(event.source) };
    const group = this.madeGroup(overflowRule(rule), other, counted);
    this.step(rule, other, group, input);
  }

  /** A group as its rule makes it now: the alert of one that another kind of rule made ends first. */
  private madeGroup(
    rule: Rule,
    key: string,
    { labels, source }: Pick<Group, 'labels' | 'source'>,
  ): Group {
    const { kind } = rule.condition;
    const there = this.groupOf(key);
    if (there !== undefined && there.kind === kind) {
      const isLeft = !isMade(there, this.context.ruleNamed(rule.name), this.context.sources);
      return isLeft ? there : { ...there, leftoverSince: null };
    }
    if (there !== undefined) this.step(rule, key, there, { kind: 'leave' });
    return newGroup({ rule: rule.name, labels, source, kind });
  }

  private step(given: Rule, key: string, group: Group, input: GroupInput): { isInDigest: boolean } {
    const rule = effectiveRule(given, group.labels);
    const { group: after, effects } = stepGroup(group, input, this.contextOf(rule, group));
    this.put(key, after);
    if (isSilent(rule.name)) return effects;
    addCounts(this.counts, effects.counts);
    for (const alert of effects.resolved) this.resolved.set(alert.id, alert);
    this.notifications.push(...effects.notifications);
    for (const held of effects.held) this.hold(rule, key, held);
    return effects;
  }

  /**
   * The rule of a group makes it no more, or this process does not know it. Unless it comes back in time,
   * its alert ends. What was to be sent of a source that is gone is sent first.
   */
  private leave(rule: Rule | undefined, key: string, group: Group): void {
    const { now, isMixed } = this.context;
    if (rule !== undefined && this.isToBeSent(rule, group)) {
      this.step(rule, key, group, { kind: 'timer' });
      return;
    }
    const since = group.leftoverSince ?? now;
    if (now < since + (isMixed ? LEFTOVER_IF_MIXED_MS : LEFTOVER_MS)) {
      return this.put(key, { ...group, leftoverSince: since });
    }
    for (const alert of group.held?.ended ?? []) this.sendEnd(alert);
    this.step(rule ?? goneRule(group), key, group, { kind: 'leave' });
    this.put(key, newGroup({ ...group, kind: null }));
    if (rule !== undefined) this.beginAnew(rule, group.labels);
  }

  /** A rule that waits for what may be absent now waits for it in this group, too. */
  private beginAnew(rule: Rule, labels: Group['labels']): void {
    if (rule.condition.kind === 'absent' && makesLabels(rule, labels)) this.begin(rule, labels);
  }

  /** Whether only the source of a group is gone, and its alert has not said all yet. */
  private isToBeSent(rule: Rule, group: Group): boolean {
    const { open, labels, leftoverSince } = group;
    if (open === null || leftoverSince !== null) return false;
    const isUnsent = open.alert.state === 'pending' || open.waiting > 0;
    return isUnsent && isMade(group, rule, [labels['source'] ?? '']);
  }

  private groupOf(key: string): Group | undefined {
    return this.current.get(key) ?? this.stored.get(key);
  }

  /** Whether a group has an alert or waits, or may by an event of a source. */
  private hasRoomFor(rule: string, key: string, source: string): boolean {
    // What it counted for when it was read, it still counts for.
    const groups = [this.stored.get(key), this.groupOf(key)];
    const owners = new Set(groups.flatMap((group) => (group === undefined ? [] : ownersOf(group))));
    const bounds = boundsOf(rule, source, this.context.sources.length);
    if (owners.has(rule)) return true;
    return [...bounds].every(([owner, most]) => owners.has(owner) || this.countOf(owner) < most);
  }

  private countOf(owner: string): number {
    const opened = this.opened.get(owner)?.size ?? 0;
    return (this.context.groupCounts.get(owner) ?? 0) + opened;
  }

  private put(key: string, group: Group): void {
    this.current.set(key, group);
    const before = this.stored.get(key);
    const counted = new Set(before === undefined ? [] : ownersOf(before));
    for (const owner of ownersOf(group)) {
      if (counted.has(owner)) continue;
      this.opened.set(owner, (this.opened.get(owner) ?? new Set()).add(key));
    }
  }

  // What a mute holds back.

  private hold(rule: Rule, key: string, held: HeldAlert): void {
    const { now } = this.context;
    const digest = digestKey(rule.name);
    const there = this.groupOf(digest);
    const made = { rule: rule.name, labels: {}, source: '', kind: null };
    this.put(digest, {
      ...(there ?? newGroup(made)),
      held: withHeld(there?.held ?? emptyDigest(now, held.until), key, held),
    });
  }

  /** The mute of an alert may have ended while its rule did not make it: a digest of its own follows. */
  private holdAgain(rule: Rule, key: string, { open }: Group): void {
    if (open?.isHeld !== true) return;
    const held = this.groupOf(digestKey(rule.name))?.held?.open ?? {};
    if (valueOf(held, key) !== undefined) return;
    const { alert, notifiedAt, facts } = open;
    const { count } = alert;
    const until = this.context.now + LEAST_WAIT_MS;
    const byType = { [facts.type]: count };
    this.hold(rule, key, { alert, isNotified: notifiedAt !== null, count, until, byType });
  }

  /** The rule may be muted again, or for another time than when it began: a reload changes intervals. */
  private endMute(rule: Rule, key: string, group: Group & { held: MuteDigest }): void {
    const { held } = group;
    const again = this.mutedUntil(rule);
    if (again !== null) return this.put(key, { ...group, held: { ...held, until: again } });
    this.put(key, { ...group, held: null });
    for (const alert of held.ended) this.sendEnd(alert);
    const open = Object.keys(held.open).filter((one) => {
      const own = this.groupOf(one);
      if (own?.open?.isHeld !== true || !isMade(own, rule, this.context.sources)) return false;
      return this.step(rule, one, own, { kind: 'unmute' }).isInDigest;
    });
    this.sendDigest(rule, held, open);
  }

  /** One digest to people of all that was held; a pager has got the alerts themselves. */
  private sendDigest(rule: Rule, held: MuteDigest, keys: readonly string[]): void {
    const people = rule.notify.filter((name) => !rule.pagers.includes(name));
    if (people.length === 0) return;
    const open = keys.flatMap((key) => this.alertOf(key) ?? []);
    if (open.length === 0 && held.passedEvents === 0) return;
    const about = { isRepeat: false, digest: digestOf(held, open), escalation: null };
    const [alone] = open;
    if (open.length === 1 && held.passedEvents === 0 && alone !== undefined) {
      const knew = new Set(alone.notified.map(({ endpoint }) => endpoint));
      const more = people.filter((name) => !knew.has(name));
      const known = people.filter((name) => knew.has(name));
      this.notifyAlone(keys, { ...about, kind: 'firing', notify: more });
      this.notifyAlone(keys, { ...about, kind: 'updated', notify: known });
      return;
    }
    const { now } = this.context;
    const eventId = this.noteDigest(keys, people);
    const alert = together(rule, held, open, now);
    this.notifications.push({ ...about, eventId, kind: 'firing', alert, notify: people });
  }

  /** A digest that is about one alert is sent as that alert. */
  private notifyAlone(keys: readonly string[], one: Omit<Notification, 'eventId' | 'alert'>): void {
    if (one.notify.length === 0) return;
    const eventId = this.noteDigest(keys, one.notify);
    const [alert] = keys.flatMap((key) => this.alertOf(key) ?? []);
    if (alert !== undefined) this.notifications.push({ ...one, eventId, alert });
  }

  /**
   * Adds a digest to what has happened to its alerts.
   * @returns the id of its event
   */
  private noteDigest(keys: readonly string[], to: readonly string[]): string {
    const { now: at, newEventId } = this.context;
    const eventId = newEventId();
    for (const key of keys) {
      const group = this.groupOf(key);
      if (!group?.open) continue;
      const noted = withNotified(group.open.alert, { at, eventId }, to);
      const history = withMoment(noted.history ?? [], { kind: 'digested', at, eventId, to });
      this.put(key, { ...group, open: { ...group.open, alert: { ...noted, history } } });
    }
    return eventId;
  }

  private sendEnd(alert: Alert): void {
    const { now, newEventId } = this.context;
    const eventId = newEventId();
    const notify = alert.notified.map(({ endpoint }) => endpoint);
    const noted = withNotified(alert, { at: now, eventId }, notify);
    const about = { notify, isRepeat: false, digest: null, escalation: null };
    this.notifications.push({ eventId, kind: 'resolved', alert: noted, ...about });
  }

  // What a group goes by.

  private contextOf(rule: Rule, { labels }: Group): GroupContext {
    const { now, seenMs, cannotTell, silences, newEventId } = this.context;
    const { source = '' } = labels;
    return {
      now,
      rule,
      seenMs: seenMs(source),
      cannotTell: () => cannotTell(source),
      silencedUntil: (event) => silencedUntil(silences, event, now),
      inhibitorOf: (alert) =>
        inhibitorsOf(alert, this.context.inhibitRules, (name) => this.activeOf(name))[0]?.rule ??
        null,
      mutedUntil: () => this.mutedUntil(rule),
      newEventId,
    };
  }

  private mutedUntil(rule: Rule): number | null {
    const known = this.mutes.get(rule.name);
    if (known !== undefined) return known;
    const until = mutedUntil(rule.mute, this.context.now);
    this.mutes.set(rule.name, until);
    return until;
  }

  /** The alerts of a rule that go on, as the judgement has left them so far. */
  private activeOf(rule: string): Alert[] {
    // What is collected for a digest fires at no time.
    if (this.context.ruleNamed(rule)?.condition.kind === 'digest') return [];
    const stored = (this.context.active.get(rule) ?? []).filter(
      ({ labels }) => !this.current.has(groupKey(rule, labels)),
    );
    const changed = [...this.current.values()].flatMap(({ open }) =>
      open !== null && open.alert.rule === rule ? [open.alert] : [],
    );
    return [...stored, ...changed].filter(({ state }) => state !== 'resolved');
  }
}

function digestOf({ since, until, passed, byType }: MuteDigest, open: readonly Alert[]): Digest {
  const alerts = [...open, ...passed].slice(0, MOST_NAMED).map(itemOf);
  return { reason: 'muted', since, until, alerts, byType };
}

function emptyDigest(since: number, until: number): MuteDigest {
  return { since, until, open: {}, ended: [], passed: [], passedEvents: 0, byType: {} };
}

/** A digest with one more alert, or with the newer state of one that it has. */
function withHeld(digest: MuteDigest, key: string, held: HeldAlert): MuteDigest {
  const { alert, count, isNotified } = held;
  const byType = { ...digest.byType };
  for (const [type, more] of Object.entries(held.byType)) {
    byType[type] = (byType[type] ?? 0) + more;
  }
  const { [key]: earlier = 0, ...others } = digest.open;
  const events = earlier + count;
  const same = { ...digest, until: Math.max(digest.until, held.until), byType };
  if (alert.state !== 'resolved') return { ...same, open: { ...others, [key]: events } };
  if (isNotified) {
    const ended = { ...alert, runs: alert.runs.slice(0, RUNS_OF_ENDED), history: [] };
    return { ...same, open: others, ended: [...digest.ended, ended] };
  }
  return {
    ...same,
    open: others,
    passed: [...digest.passed, { ...alert, history: [] }].slice(0, MOST_PASSED),
    passedEvents: digest.passedEvents + events,
  };
}

/** Several alerts as one. */
function together(rule: Rule, held: MuteDigest, open: readonly Alert[], now: number): Alert {
  const { since, until } = held;
  const alerts = [...open, ...held.passed];
  const runs = alerts.flatMap((alert) => alert.runs).toSorted((a, b) => b.at - a.at);
  const runsTotal = alerts.reduce((total, alert) => total + alert.runsTotal, 0);
  const labels = {};
  return {
    id: alertId(rule.name, labels, `digest ${since} ${until}`),
    rule: rule.name,
    labels,
    state: open.length === 0 ? 'resolved' : 'firing',
    severity: rule.severity,
    owner: ownerOf(rule, labels, runs, ''),
    annotations: rule.annotations,
    count: Object.values(held.open).reduce((total, count) => total + count, held.passedEvents),
    runsTotal: Math.min(MOST_RUNS, runsTotal),
    runs: runs.slice(0, rule.maxRuns),
    startedAt: since,
    updatedAt: now,
    resolvedAt: null,
    reason: null,
    acknowledged: null,
    notified: [],
  };
}

/** A rule that is configured no more, as far as the end of its alerts needs it. */
function goneRule({ rule: name, kind }: Pick<Group, 'rule' | 'kind'>): Rule {
  const isDigest = kind === 'digest';
  return unconfiguredRule({
    name,
    condition: isDigest ? { kind, schedule: { minute: 0, location: 'UTC' } } : { kind: 'each' },
  });
}
