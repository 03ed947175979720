import { OPEN_STATES, type Alert, type AlertCounts } from '../core/alert/alert.ts';
import {
  Batch,
  digestKey,
  groupOwners,
  MOST_GROUPS,
  overflowKey,
  shareOfGroups,
  type ReadGroup,
} from '../core/alert/batch.ts';
import { alertedRun, type AlertEntry } from '../core/alert/entry.ts';
import type { Group } from '../core/alert/group.ts';
import { groupKey, isOfSources, labelsOf, type AlertEvent, type Rule } from '../core/alert/rule.ts';
import type { Silence } from '../core/alert/silence.ts';
import type { LinksOf } from '../core/run/links.ts';
import { parseWatchId, type StoredWatch, type Watch } from '../core/watch/watch.ts';
import { planAlertEvent } from './event.ts';
import type { AlertStore, LiveRules, SilenceStore, WatchReader } from './ports.ts';

/** How long a claim on the work lasts unless it is renewed, ms. */
const LEASE_MS = 5_000;

/** Entries and groups of one batch. */
const MOST = { entries: 500, groups: 200 };

/** The store's clock was set forward where it is ahead of the process's by more than this, ms. */
const STEP_MS = 2_000;

/** Alerts of one rule that are looked through for what they inhibit. */
export const MOST_INHIBITING = 1_000;

export interface JudgeDeps {
  alerts: AlertStore;
  silences: Pick<SilenceStore, 'all'>;
  watches: WatchReader;
  rules: LiveRules;
  /** The token by which this process claims the work. */
  token: string;
  newEventId: () => string;
  receivers: (type: string, named: readonly string[]) => string[];
  urlOf: (alert: Pick<Alert, 'id'>) => string | null;
  linksOf: LinksOf;
  /** Whether missing events of a source may be due to trouble with it. */
  cannotTell: (source: string | undefined) => boolean;
  dispatch: (pools: string[]) => void;
  /** The time by the store's clock as this process knows it, milliseconds since the epoch. */
  now: () => number;
  /** Reads the store's clock, and takes out a step by which it was set forward. */
  measureClock: () => Promise<void>;
  /** What became of matching events. */
  count: (counts: AlertCounts) => void;
  onUnreadable: (entry: string) => void;
  /** A rule has as many groups as it may have, and so many events of others were counted together. */
  onOverflow: (rule: string, events: number) => void;
}

type Work = Awaited<ReturnType<AlertStore['take']>>;
type Claimed = NonNullable<Work['claimed']>;

/** What a batch goes by, read once. */
interface BatchInput {
  work: Work;
  entries: AlertEntry[];
  groups: Map<string, ReadGroup>;
  groupCounts: ReadonlyMap<string, number>;
  silences: Silence[];
  /** Watches beyond a deadline, by the member that names it. */
  late: { member: string; rule: Rule | undefined; stored: StoredWatch | null }[];
}

/**
 * The use case that judges what the inbox holds and what is due. Each batch is one atomic step: alerts
 * move, their events are written with their deliveries, and what was judged leaves the inbox.
 * Returns a function that works until nothing is due.
 */
export function createJudge(deps: JudgeDeps) {
  /** @returns when something is due next, ms from now; null where nothing is */
  return async function judge(): Promise<number | null> {
    const { alerts, token } = deps;
    let isMeasured = false;
    for (;;) {
      const work = await alerts.take(token, { leaseMs: LEASE_MS, ...MOST });
      if (work.claimed === null) return work.nextMs;
      // Due times of a clock that is set right a moment later would be late by as much.
      if (work.now - deps.now() > STEP_MS && !isMeasured) {
        isMeasured = true;
        await deps.measureClock();
        continue;
      }
      await judgeBatch(deps, work, work.claimed);
    }
  };
}

async function judgeBatch(deps: JudgeDeps, work: Work, claimed: Claimed): Promise<void> {
  const input = await readBatch(deps, work, claimed);
  const batch = new Batch(groupsOf(input.groups), {
    now: work.now,
    uptimeMs: work.uptimeMs,
    cannotTell: deps.cannotTell,
    silences: input.silences,
    inhibitRules: deps.rules.inhibitRules,
    active: await inhibiting(deps, input),
    groupCounts: input.groupCounts,
    sources: deps.rules.sources.length,
    newEventId: deps.newEventId,
  });
  const deadlines = judgeEntries(deps, batch, input);
  judgeLate(deps, batch, input);
  judgeDue(deps, batch, { groups: input.groups, due: claimed.due });
  const events = batch.notifications.map((notification) =>
    planAlertEvent(notification, { ...deps, now: work.now }),
  );
  const pools = await deps.alerts.commit({
    token: deps.token,
    read: input.groups,
    changed: batch.changed(),
    resolved: [...batch.resolved.values()],
    counts: batch.counts,
    events,
    judged: claimed.entries,
    ...deadlines,
    endedDeadlines: [...claimed.deadlines, ...deadlines.endedDeadlines],
  });
  // After a conflict the next batch judges the same again.
  if (pools === null) return;
  deps.count(batch.counts);
  for (const [rule, number] of batch.overflowed) deps.onOverflow(rule, number);
  deps.dispatch(pools);
}

async function readBatch(
  { alerts, silences, watches, rules, linksOf, onUnreadable }: JudgeDeps,
  work: Work,
  claimed: Claimed,
): Promise<BatchInput> {
  const entries = claimed.entries.flatMap((text) => {
    try {
      return [JSON.parse(text) as AlertEntry];
    } catch {
      onUnreadable(text);
      return [];
    }
  });
  const stored = await watches.getMany(claimed.deadlines.map(watchOfDeadline));
  const late = claimed.deadlines.map((member, at) => ({
    member,
    rule: rules.book.named(member.slice(0, member.indexOf(' '))),
    stored: stored[at] ?? null,
  }));
  const wanted = new Map<string, WantedGroup>();
  for (const entry of entries) addKeysOf(wanted, rules, entry);
  for (const { rule, stored: watch } of late) {
    if (rule === undefined || watch === null) continue;
    addKeys(wanted, rule, lateEvent(rule, watch.watch, { at: 0, linksOf }));
  }
  const keys = new Set([...claimed.due, ...wanted.keys()]);
  const [groups, all] = await Promise.all([alerts.groups([...keys]), silences.all()]);
  await addDigests(alerts, rules, groups);
  const groupCounts = await addOverflow({ alerts, rules }, wanted, groups);
  return { work, entries, groups, groupCounts, silences: all, late };
}

/** A group that events may open: of a rule, and of the source of the event. */
interface WantedGroup {
  rule: string;
  source: string;
}

/** How many groups there are where one is new, and where no more may be, what counts those. */
async function addOverflow(
  { alerts, rules }: Pick<JudgeDeps, 'alerts' | 'rules'>,
  wanted: ReadonlyMap<string, WantedGroup>,
  groups: Map<string, ReadGroup>,
): Promise<ReadonlyMap<string, number>> {
  const opening = [...wanted].flatMap(([key, one]) =>
    (groups.get(key)?.group ?? null) === null ? [one] : [],
  );
  const counts = await alerts.groupCounts([...new Set(opening.flatMap(groupOwners))]);
  const share = Math.min(MOST_GROUPS, shareOfGroups(rules.sources.length));
  const mayOverflow = opening.filter((one) =>
    groupOwners(one).some(
      (owner, at) => (counts.get(owner) ?? 0) + wanted.size > (at === 0 ? MOST_GROUPS : share),
    ),
  );
  const keys = new Set(mayOverflow.map(({ rule, source }) => overflowKey(rule, source)));
  for (const [key, read] of await alerts.groups([...keys])) groups.set(key, read);
  return counts;
}

/** What the mute intervals of the rules of groups hold. */
async function addDigests(
  alerts: AlertStore,
  { book }: LiveRules,
  groups: Map<string, ReadGroup>,
): Promise<void> {
  const names = new Set([...groups.values()].flatMap(({ group }) => group?.rule ?? []));
  const digests = [...names]
    .filter((name) => (book.named(name)?.mute.length ?? 0) > 0)
    .map(digestKey)
    .filter((key) => !groups.has(key));
  for (const [key, read] of await alerts.groups(digests)) groups.set(key, read);
}

export function groupsOf(read: ReadonlyMap<string, ReadGroup>) {
  return new Map(
    [...read].flatMap(([key, { group }]) => (group === null ? [] : [[key, group] as const])),
  );
}

function watchOfDeadline(member: string) {
  return parseWatchId(member.slice(member.indexOf(' ') + 1));
}

/** Adds the groups that an entry is about, each with its rule. */
function addKeysOf(keys: Map<string, WantedGroup>, { book }: LiveRules, entry: AlertEntry): void {
  if (entry.kind !== 'event') return;
  for (const rule of entry.rules.map((name) => book.named(name))) {
    if (rule !== undefined) addKeys(keys, rule, entry.event);
  }
}

function addKeys(keys: Map<string, WantedGroup>, rule: Rule, event: AlertEvent): void {
  const wanted = { rule: rule.name, source: event.source };
  keys.set(groupKey(rule.name, labelsOf(rule, event)), wanted);
  if (rule.mute.length > 0) keys.set(digestKey(rule.name), { rule: rule.name, source: '' });
}

/** Alerts of the rules that inhibit others of this batch. */
async function inhibiting(
  { alerts, rules }: JudgeDeps,
  { entries, groups }: BatchInput,
): Promise<Map<string, Alert[]>> {
  const active = new Map<string, Alert[]>();
  if (rules.inhibitRules.length === 0) return active;
  const names = new Set([
    ...entries.flatMap((entry) => (entry.kind === 'event' ? entry.rules : [])),
    ...[...groups.values()].flatMap(({ group }) => group?.rule ?? []),
  ]);
  for (const { sourceRule, targetRule } of rules.inhibitRules) {
    if (!names.has(targetRule) || active.has(sourceRule)) continue;
    const found = await alerts.list({
      state: OPEN_STATES,
      rule: sourceRule,
      limit: MOST_INHIBITING,
    });
    active.set(sourceRule, found.items);
  }
  return active;
}

/** @returns deadlines that begin and end */
function judgeEntries({ rules }: JudgeDeps, batch: Batch, { entries }: BatchInput) {
  const deadlines: { member: string; at: number }[] = [];
  const endedDeadlines: string[] = [];
  for (const entry of entries) {
    if (entry.kind === 'deadlines') {
      for (const { rule, at } of entry.deadlines) {
        deadlines.push({ member: `${rule} ${entry.watch}`, at: Math.round(at) });
      }
      continue;
    }
    for (const name of entry.rules) {
      const rule = rules.book.named(name);
      if (rule === undefined) continue;
      batch.judge(rule, entry.event);
      if (rule.condition.kind !== 'deadline') continue;
      const { source, run } = entry.event;
      endedDeadlines.push(`${name} ${source}/${run?.runId ?? ''}`);
    }
  }
  return { deadlines, endedDeadlines };
}

function judgeLate({ linksOf }: JudgeDeps, batch: Batch, { late, work }: BatchInput): void {
  for (const { rule, stored } of late) {
    if (rule === undefined || stored?.watch.state !== 'active') continue;
    batch.judge(rule, lateEvent(rule, stored.watch, { at: work.now, linksOf }), 'late');
  }
}

/** What rules see of a run that is beyond its deadline. */
function lateEvent(
  rule: Rule,
  watch: Watch,
  { at, linksOf }: { at: number; linksOf: LinksOf },
): AlertEvent {
  const { source, runId, metadata, run } = watch;
  const { workflowName: name, runUrl: url } = linksOf(watch);
  return {
    id: `late ${rule.name} ${source}/${runId} ${at}`,
    type: 'run.late',
    at,
    source,
    metadata,
    run: alertedRun(runId, run, { name, url }),
  };
}

function judgeDue(
  { rules }: JudgeDeps,
  batch: Batch,
  { groups, due }: { groups: ReadonlyMap<string, ReadGroup>; due: readonly string[] },
): void {
  for (const key of due) {
    const group = groups.get(key)?.group ?? null;
    const rule = rules.book.named(group?.rule ?? '');
    if (rule === undefined || group === null || isLeftover(group, rules)) batch.orphan(key);
    else batch.tick(rule, key);
  }
}

/** Whether a group is of a source that is configured no more, and has nothing to notify of. */
function isLeftover({ labels, open }: Group, { sources }: LiveRules): boolean {
  return !isOfSources(labels, sources) && (open?.flushAt ?? null) === null;
}
